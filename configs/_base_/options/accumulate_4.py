# One optimizer step for four batches, with the mean of their gradients. Schedules by iterations
# count batches: multiply max_iters, milestones and warm-up by four for as many optimizer steps.
optim_wrapper = dict(accumulative_counts=4)
