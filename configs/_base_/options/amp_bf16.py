# Mixed precision in bfloat16, which has float32's range and so needs no loss scale to speak of;
# for GPUs of compute capability 8.0 or more.
optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=1.0)
