# The baseline with statistics of batch norm over about 33 batches instead of 10.
_base_ = './steps_small160_voc07.py'

model = dict(
    backbone=dict(norm_cfg=dict(type='BN', momentum=0.03)),
    neck=dict(norm_cfg=dict(type='BN', momentum=0.03)),
    bbox_head=dict(norm_cfg=dict(type='BN', momentum=0.03)),
)
