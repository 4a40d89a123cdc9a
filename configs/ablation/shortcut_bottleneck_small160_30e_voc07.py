# Sandglass blocks whose shortcut is between bottlenecks: the same layers, cut into
# blocks elsewhere.
_base_ = './sandglass_small160_30e_voc07.py'

model = dict(
    backbone=dict(
        block_cfg=dict(
            type='SandglassVariantBlock',
            shortcut='bottleneck',
        )
    )
)
