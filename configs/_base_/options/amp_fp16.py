# Mixed precision in float16, with a loss scale that adapts. The same as --amp.
optim_wrapper = dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic')
