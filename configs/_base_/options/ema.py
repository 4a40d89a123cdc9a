# Exponential moving average of the weights over about 5,000 iterations, as in MMDetection's
# RTMDet and YOLOX. Validation and the state_dict of checkpoints are of the average; the weights
# that training goes on with are in ema_state_dict.
default_hooks = dict(
    ema=dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.0002,
        # statistics of batch norm are averaged as well
        update_buffers=True,
    )
)
