# YOLOX-tiny with a neck that is alike for every backbone. YOLOXPAFPN is as wide as what it is
# given, so all levels are brought to the head's 96 channels first.
_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'

# the network alone
list(map(_base_.pop, set(_base_) - {'model'}))

model = dict(
    neck=[
        dict(
            type='ChannelMapper',
            in_channels=[96, 192, 384],
            out_channels=96,
            kernel_size=1,
            norm_cfg=_base_.model.neck.norm_cfg,
            act_cfg=_base_.model.neck.act_cfg,
        ),
        {**_base_.model.neck, 'in_channels': [96, 96, 96]},
    ]
)
