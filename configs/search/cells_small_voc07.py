# Train a small classifier of found cells from scratch, on objects of VOC2007.
_base_ = [
    '../_base_/models/cells_small.py',
    '../_base_/datasets/voc07_crops32.py',
    '../_base_/schedules/cells_1xb64_6e.py',
    '../_base_/search_runtime.py',
]
