# The search: as published (https://arxiv.org/abs/1806.09055, appendix A.1.1), but 2
# epochs instead of 50 and, since the steps are so few, ten times the rate for the
# weights of the operations.
max_epochs = 2
train_cfg = dict(
    type='DartsTrainLoop',
    max_epochs=max_epochs,
    # the other half of the training images; all else as in train_dataloader
    architecture_dataloader=dict(dataset=dict(ann_file='meta/architecture.txt')),
)
optim_wrapper = dict(
    constructor='DartsOptimWrapperConstructor',
    weights=dict(
        optimizer=dict(type='SGD', lr=0.025, momentum=0.9, weight_decay=3e-4),
        clip_grad=dict(max_norm=5),
    ),
    architecture=dict(optimizer=dict(type='Adam', lr=3e-3, betas=(0.5, 0.999), weight_decay=1e-3)),
)
param_scheduler = dict(
    weights=[
        dict(
            type='CosineAnnealingLR',
            T_max=max_epochs,
            end=max_epochs,
            eta_min=1e-3,
            convert_to_iter_based=True,
        )
    ],
    architecture=[],
)
