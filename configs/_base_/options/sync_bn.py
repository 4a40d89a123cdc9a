# Batch norm over the batches of all processes. Needs GPUs: torch has it for no CPU. In a run of
# one process it is plain batch norm.
sync_bn = 'torch'
