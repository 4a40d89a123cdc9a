# Train a small classifier of found cells from scratch, on generated objects.
_base_ = [
    '../_base_/models/cells_small.py',
    '../_base_/datasets/generated_crops32.py',
    '../_base_/schedules/cells_1xb64_6e.py',
    '../_base_/search_runtime.py',
]

model = dict(
    data_preprocessor=dict(num_classes={{_base_.num_classes}}),
    head=dict(num_classes={{_base_.num_classes}}),
)
