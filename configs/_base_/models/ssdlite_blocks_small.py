# The small detector of the block comparison (docs/blocks.md): it reads the three
# levels at expansion tensors, which have the same shapes whatever the blocks are,
# so that configs differ in block_cfg alone. The priors are for 128x128.
_base_ = './ssdlite_mobilenext_small.py'

model = dict(
    backbone=dict(
        # 144, 288 and 1280 channels at strides 8, 16 and 32, in front of any
        # stride: the same three shapes whatever the blocks are
        out_indices=(3, 5, 7),
        taps='expansion',
    ),
    neck=dict(
        in_channels=(144, 288, 1280),
        out_channels=(144, 288, 1280, 256),
        expand_ratios=(0.1,),
    ),
    bbox_head=dict(in_channels=(144, 288, 1280, 256)),
)
