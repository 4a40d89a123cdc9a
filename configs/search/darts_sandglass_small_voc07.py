# Search cells with the sandglass block among DARTS' operations, on objects of
# VOC2007 train.
_base_ = [
    '../_base_/models/darts_small.py',
    '../_base_/datasets/voc07_crops32.py',
    '../_base_/schedules/darts_1xb64_2e.py',
    '../_base_/darts_runtime.py',
]

train_dataloader = dict(dataset=dict(ann_file='meta/weights.txt'))
# a search has no test
val_dataloader = test_dataloader = val_evaluator = test_evaluator = None
