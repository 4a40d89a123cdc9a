# The baseline with an exponential moving average of the weights over about 250
# iterations, a twentieth of the run.
_base_ = './steps_small160_voc07.py'

default_hooks = dict(
    ema=dict(
        type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.004, gamma=250, update_buffers=True
    )
)
