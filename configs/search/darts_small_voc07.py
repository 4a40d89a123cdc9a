# The same search in the space of DARTS, without the sandglass block, on objects of
# VOC2007 train.
_base_ = './darts_sandglass_small_voc07.py'

model = dict(
    network=dict(
        backbone=dict(
            operations=(
                'none', 'max_pool_3x3', 'avg_pool_3x3', 'skip_connect',
                'sep_conv_3x3', 'sep_conv_5x5', 'dil_conv_3x3', 'dil_conv_5x5',
            )
        )
    )
)  # fmt: skip
