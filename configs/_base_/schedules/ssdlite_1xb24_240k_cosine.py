# This project's schedule for one GPU, not the published one: the published optimizer, length and
# warm-up, but one cosine down to a hundredth of the rate instead of steps. See docs/recipe.md.
_base_ = './ssdlite_1xb24_240k.py'

_base_.param_scheduler[1] = dict(
    type='CosineAnnealingLR',
    by_epoch=False,
    begin=0,
    end=240000,
    T_max=240000,
    eta_min=1e-5,
)
