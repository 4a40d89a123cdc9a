default_scope = 'mmdet'
custom_imports = dict(imports=['mmdet_mobilenext'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='AtomicCheckpointHook',
        interval=1,
        max_keep_ckpts=3,
        save_best='pascal_voc/mAP',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='PictureHook'),
    # Named here rather than in custom_hooks, so that a config with hooks of its
    # own keeps them.
    run_header=dict(type='RunHeaderHook'),
    non_finite_loss=dict(type='NonFiniteLossHook'),
    memory_format=dict(type='MemoryFormatHook'),
    initial_weights=dict(type='InitialWeightsHook'),
    strict_load=dict(type='StrictLoadHook'),
    keep_memory=dict(type='KeepMemoryHook'),
    fold_norm=dict(type='FoldNormHook'),
)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='DetLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)

# What tools/train.py and tools/test.py check before any work;
# `data_check = None` switches it off.
data_check = dict(unknown_classes='error', decode='sample', sample_size=64)

randomness = dict(seed=0)
log_level = 'INFO'
load_from = None
resume = False
