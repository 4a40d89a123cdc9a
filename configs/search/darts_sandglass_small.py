# Search cells with the sandglass block among DARTS' operations, on generated
# objects: weights of the network on one half of the training images, weights of
# the operations on the other.
_base_ = [
    '../_base_/models/darts_small.py',
    '../_base_/datasets/generated_crops32.py',
    '../_base_/schedules/darts_1xb64_2e.py',
    '../_base_/search_runtime.py',
]

model = dict(
    network=dict(
        data_preprocessor=dict(num_classes={{_base_.num_classes}}),
        head=dict(num_classes={{_base_.num_classes}}),
    )
)
train_dataloader = dict(dataset=dict(ann_file='meta/weights.txt'))
# nothing is selected by accuracy: the cells are read off in the end
val_cfg = None
test_cfg = None
val_dataloader = None
test_dataloader = None
val_evaluator = None
test_evaluator = None
default_hooks = dict(genotype=dict(type='GenotypeHook'))
