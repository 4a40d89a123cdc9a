# Runtime of search and training of cells: that of the classifiers, quiet, since
# a random search makes many short runs.
_base_ = './imagenet_runtime.py'

custom_imports = dict(imports=['mmdet_mobilenext.classification'], allow_failed_imports=False)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20),
    checkpoint=dict(max_keep_ckpts=1, save_best=None),
    training_time=dict(type='TrainingTimeHook'),
)
log_processor = dict(type='LogProcessor', window_size=20, by_epoch=True)
