# SPDX-License-Identifier: Apache-2.0
"""A training of mmengine that takes a second, for the tests in this directory."""

import uuid
from typing import ClassVar

import numpy as np
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

import mmdet_mobilenext  # noqa: F401  (registers the hooks and the loaders)


class ToyData(Dataset):
    metainfo: ClassVar = dict(classes=('a', 'b'), palette=[(1, 2, 3), (4, 5, 6)])

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(inputs=torch.full((3,), float(index)))


class ToyNet(BaseModel):
    def __init__(self, classes=2, init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.stem = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, classes)

    def forward(self, inputs, mode='tensor'):
        out = self.head(self.norm(self.stem(inputs)))
        return dict(loss=out.pow(2).mean()) if mode == 'loss' else [out]


class ToyMetric(BaseMetric):
    """A score that grows, as a numpy number, so that each validation finds a new best."""

    default_prefix = 'toy'
    score = 0.0

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        ToyMetric.score += 0.125
        return dict(mAP=np.float64(ToyMetric.score), mAP32=np.float32(0.5))


def toy_runner(work_dir, epochs=2, model=None, checkpoint=None, **changes):
    """Build a runner: SGD with momentum, two schedules, validation after each epoch."""
    loader = dict(
        dataset=ToyData(),
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    config = dict(
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, begin=0, end=2, by_epoch=False),
            dict(type='CosineAnnealingLR', T_max=8),
        ],
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=Evaluator(ToyMetric()),
        default_hooks=dict(checkpoint=checkpoint or dict(type='AtomicCheckpointHook', interval=1)),
        randomness=dict(seed=0),
        log_level='WARNING',
        # mmengine finds a runner's log and message hub by this name, and it has but a second
        experiment_name=uuid.uuid4().hex,
    )
    config.update(changes)
    if model is None:
        torch.manual_seed(0)  # the runner seeds later
        model = ToyNet()
    return Runner(model, str(work_dir), **config)
