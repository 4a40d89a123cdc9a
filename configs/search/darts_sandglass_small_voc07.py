# Search cells with the sandglass block among DARTS' operations, on objects of
# VOC2007 train.
_base_ = [
    '../_base_/models/darts_small.py',
    '../_base_/datasets/voc07_crops32.py',
    '../_base_/schedules/darts_1xb64_2e.py',
    '../_base_/search_runtime.py',
]

train_dataloader = dict(dataset=dict(ann_file='meta/weights.txt'))
# nothing is selected by accuracy: the cells are read off in the end
val_cfg = None
test_cfg = None
val_dataloader = None
test_dataloader = None
val_evaluator = None
test_evaluator = None
default_hooks = dict(genotype=dict(type='GenotypeHook'))
