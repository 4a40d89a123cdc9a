# Runtime of the classifiers. Needs the extra `imagenet` (onedl-mmpretrain) and
# the torchvision that belongs to the torch: see docs/imagenet.md.
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmdet_mobilenext.classification'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='AtomicCheckpointHook',
        interval=1,
        max_keep_ckpts=3,
        save_best='accuracy/top1',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False),
    # registered with MMDetection, which is no parent of mmpretrain's scope
    run_header=dict(type='mmdet.RunHeaderHook'),
    non_finite_loss=dict(type='mmdet.NonFiniteLossHook'),
    memory_format=dict(type='mmdet.MemoryFormatHook'),
    strict_load=dict(type='StrictLoadHook'),
    keep_memory=dict(type='KeepMemoryHook'),
    fold_norm=dict(type='FoldNormHook'),
    # head and data set have the same number of classes
    num_classes=dict(type='ClassNumCheckHook'),
)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)

randomness = dict(seed=0)
log_level = 'INFO'
load_from = None
resume = False
