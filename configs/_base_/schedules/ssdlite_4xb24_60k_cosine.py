# This project's schedule for four GPUs, not the published one: the published optimizer, length and
# warm-up, but one cosine down to a hundredth of the rate instead of steps. See docs/recipe.md.
_base_ = './ssdlite_4xb24_60k.py'

_base_.param_scheduler[1] = dict(
    type='CosineAnnealingLR',
    by_epoch=False,
    begin=0,
    end=60000,
    T_max=60000,
    eta_min=4e-5,
)
