# The baseline with a warm-up ten times as long: a tenth of the run.
_base_ = './steps_small160_voc07.py'

_base_.param_scheduler[0].end = 500
