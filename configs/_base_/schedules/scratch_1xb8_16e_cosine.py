# scratch_1xb8_16e_steps.py with one cosine instead of steps.
_base_ = './scratch_1xb8_16e_steps.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=0,
        end={{_base_.max_iters}},
        T_max={{_base_.max_iters}},
        eta_min=3e-5,
    ),
]
