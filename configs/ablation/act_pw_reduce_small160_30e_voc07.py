# An activation behind the reduction as well: a non-linear bottleneck.
_base_ = './sandglass_small160_30e_voc07.py'

model = dict(
    backbone=dict(
        block_cfg=dict(
            type='SandglassVariantBlock',
            activations=('dw_in', 'pw_reduce', 'pw_expand'),
        )
    )
)
