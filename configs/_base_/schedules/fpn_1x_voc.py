# The length of MMDetection's VOC configs, which go through a data set repeated three times in four
# epochs: 12 epochs in batches of 16, with a tenth of the learning rate after nine. The warm-up is
# that of fpn_1x.py; they have none.
_base_ = './fpn_1x.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[9], gamma=0.1),
]
