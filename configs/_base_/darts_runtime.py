# Runtime of a search: the cells are written after every epoch, and nothing is selected
# by accuracy.
_base_ = './search_runtime.py'

val_cfg = None
test_cfg = None
default_hooks = dict(genotype=dict(type='GenotypeHook'))
