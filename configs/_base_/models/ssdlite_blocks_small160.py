# ssdlite_blocks_small.py with priors for 160x160.
_base_ = './ssdlite_blocks_small.py'

model = dict(
    bbox_head=dict(
        anchor_generator=dict(
            input_size=160,
            # 20x20, 10x10, 5x5 and 3x3 cells
            strides=[8, 16, 32, 54],
            min_sizes=[20, 45, 85, 122],
            max_sizes=[45, 85, 122, 152],
        )
    )
)
