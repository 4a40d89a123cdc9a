# Search cells with the sandglass block among DARTS' operations, on generated
# objects: weights of the network on one half of the training images, weights of
# the operations on the other.
_base_ = [
    '../_base_/models/darts_small.py',
    '../_base_/datasets/generated_crops32.py',
    '../_base_/schedules/darts_1xb64_2e.py',
    '../_base_/darts_runtime.py',
]

model = dict(
    network=dict(
        data_preprocessor=dict(num_classes={{_base_.num_classes}}),
        head=dict(num_classes={{_base_.num_classes}}),
    )
)
train_dataloader = dict(dataset=dict(ann_file='meta/weights.txt'))
# a search has no test
val_dataloader = test_dataloader = val_evaluator = test_evaluator = None
