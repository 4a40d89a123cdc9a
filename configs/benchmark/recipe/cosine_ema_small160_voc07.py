# One cosine and the average of the weights together.
_base_ = './cosine_small160_voc07.py'

default_hooks = dict(
    ema=dict(
        type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.004, gamma=250, update_buffers=True
    )
)
