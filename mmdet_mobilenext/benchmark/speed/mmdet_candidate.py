# SPDX-License-Identifier: Apache-2.0
"""Detectors of MMDetection as candidates."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hub import get_config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import FUNCTIONS, init_default_scope
from torch import nn
from torch.utils.data import Dataset

from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.fold_norm_hook import fold_frozen_norms, folds_norms
from mmdet_mobilenext.engine.keep_memory_hook import keep_gradients, keeps_memory
from mmdet_mobilenext.engine.memory_format_hook import to_channels_last, wants_channels_last

from .batches import make_batch, random_boxes
from .candidate import (
    CANDIDATES_FOR_NMS,
    CandidateSpec,
    CandidateState,
    CannotVaryError,
    Settings,
    background_shift,
)
from .config_edits import drop_pretrained, find, replace, resize, size_of
from .stock_head import let_predict

__all__ = ['MMDetCandidate']


class MMDetCandidate(CandidateState):
    """A config of MMDetection, with random weights, as its own training would run it.

    Args:
        spec (CandidateSpec): ``config`` is a file or ``mmdet::...``.
        settings (Settings): Shared settings.
        input_size (int, optional): Square input in pixels instead of the config's: sizes of the
            pipelines are replaced, and min and max sizes of the priors scaled along.
        num_classes (int, optional): Classes instead of the config's, for synthetic batches.
    """

    def __init__(
        self,
        spec: CandidateSpec,
        settings: Settings,
        input_size: int | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(spec, settings)
        self._wanted_size, self._wanted_classes = input_size, num_classes

    @property
    def keeps_memory(self) -> bool:
        """bool: Whether the config has the ``KeepMemoryHook`` and there is no GPU."""
        return keeps_memory(self.cfg)

    @cached_property
    def cfg(self) -> Config:
        """Config: With data root, size and classes that were asked for."""
        spec = self.spec
        options = dict(spec.cfg_options)
        if '::' in spec.config:
            cfg = get_config(spec.config)
            cfg.merge_from_dict(options)
        else:
            if self.settings.data_root:
                options.setdefault('data_root', self.settings.data_root)
            cfg = load_config(spec.config, options)
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        if spec.pipeline:
            replace(cfg.train_dataloader.dataset, 'pipeline', cfg[spec.pipeline])
        if spec.fused is not None:
            replace(cfg.train_dataloader.dataset, 'fused', spec.fused)
        drop_pretrained(cfg.model)
        if self._wanted_classes is not None and not replace(
            cfg.model, 'num_classes', self._wanted_classes
        ):
            raise CannotVaryError(f'the model of {spec.config} has no num_classes')
        if self._wanted_size is not None:
            resize(cfg, size_of(cfg, spec.config), self._wanted_size)
        return cfg

    @cached_property
    def input_size(self) -> tuple[int, int]:
        """tuple[int, int]: Height and width that the test pipeline resizes to."""
        return size_of(self.cfg, self.spec.config)

    @cached_property
    def num_classes(self) -> int:
        """int: Classes of the model, without background."""
        found = find(self.cfg.model, 'num_classes')
        if found is None:
            raise ValueError(f'the model of {self.spec.config} does not say its num_classes')
        return found

    @cached_property
    def model(self) -> nn.Module:
        """nn.Module: The detector on the device, in the memory format that training uses."""
        model = MODELS.build(self.cfg.model)
        model.init_weights()
        if hasattr(model, 'bbox_head'):
            let_predict(model.bbox_head)
        model.to(self.device)
        hook = (self.cfg.get('default_hooks') or {}).get('memory_format')
        if hook and wants_channels_last(hook.get('channels_last', 'auto'), model):
            to_channels_last(model)
        if folds_norms(self.cfg) and self.device.type == 'cpu':
            fold_frozen_norms(model)
        if self._wanted_size is not None:
            self._fit_strides(model)
        return model

    def _fit_strides(self, model: nn.Module) -> None:
        """Give the priors the strides of the feature maps that the new size has."""
        generator = getattr(getattr(model, 'bbox_head', None), 'prior_generator', None)
        if generator is None:
            return
        model.eval()
        with torch.no_grad():
            maps = model.extract_feat(torch.zeros(1, 3, *self.input_size, device=self.device))
        strides = []
        for stride, feature in zip(generator.strides, maps, strict=True):
            fitted = []
            # (width, height), as mmdet has strides
            for old, size, cells in zip(
                stride, self.input_size[::-1], feature.shape[:-3:-1], strict=True
            ):
                fits = math.ceil(size / old) == cells
                fitted.append(old if fits else math.ceil(size / cells))
            strides.append(tuple(fitted))
        centres = [((w / 2), (h / 2)) for w, h in strides]
        generator.strides, generator.centers = strides, centres
        generator.base_anchors = generator.gen_base_anchors()

    @cached_property
    def train_dataset(self) -> Dataset:
        """Dataset: Of the config's training loader."""
        return DATASETS.build(self.cfg.train_dataloader.dataset)

    @cached_property
    def test_dataset(self) -> Dataset:
        """Dataset: Of the config's test loader."""
        return DATASETS.build(self.cfg.test_dataloader.dataset)

    def paths(self, train: bool) -> list[str]:
        """Image file of each index, see the base class."""
        dataset = self.train_dataset if train else self.test_dataset
        return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]

    def collate(self, samples: list) -> Any:
        """Make a batch as the config's training loader does."""
        function = self.cfg.train_dataloader.get('collate_fn')
        if function is None:
            return pseudo_collate(samples)
        options = dict(function)
        return FUNCTIONS.get(options.pop('type'))(samples, **options)

    def with_boxes(self, index: int, num_boxes: int) -> dict:
        """A training sample with random boxes, see the base class."""
        dataset = self.train_dataset
        info = dataset.get_data_info(index)
        while not hasattr(dataset, 'pipeline'):  # RepeatDataset, ConcatDataset
            dataset = dataset.datasets[0] if hasattr(dataset, 'datasets') else dataset.dataset
        generator = torch.Generator().manual_seed(index)
        boxes = random_boxes(num_boxes, info['height'], info['width'], generator)
        info['instances'] = [
            dict(bbox=box, bbox_label=i % self.num_classes, ignore_flag=0)
            for i, box in enumerate(boxes.tolist())
        ]
        return dataset.pipeline(info)

    def synthetic_batch(self, batch_size: int, num_boxes: int = 3) -> dict:
        """A random batch, see the base class."""
        return make_batch(batch_size, self.input_size, self.num_classes, num_boxes)

    def train_task(
        self, distributed: bool = False, device_ids: list[int] | None = None
    ) -> Callable[[Any], object]:
        """A whole training step: preprocessing, forward, loss, backward, optimizer; compiled if
        the config says ``compile``.

        Args:
            distributed (bool): Wrap the model for the process group. Defaults to False.
            device_ids (list[int], optional): Device of this process, for DDP.

        Returns:
            Callable: Takes a batch.
        """
        options = dict(self.cfg.optim_wrapper)
        # Weights stay what they are: any rate costs the same time.
        options['optimizer'] = dict(options['optimizer'], lr=1e-8)
        wrapper = build_optim_wrapper(self.model, options)
        if self.keeps_memory:
            keep_gradients(wrapper)
        model = self.model
        if distributed:
            model = MMDistributedDataParallel(
                self.model, device_ids=device_ids, broadcast_buffers=False
            )

        train_step = model.train_step
        compile_cfg = self.cfg.get('compile')
        if compile_cfg is not None and compile_cfg is not False:  # as mmengine's Runner does
            train_step = torch.compile(train_step, **({} if compile_cfg is True else compile_cfg))

        def run(batch: Any) -> None:
            model.train()
            train_step(batch, wrapper)

        return run

    def loss_task(self, batch: Any) -> Callable[[], object]:
        """``loss_by_feat`` and its backward, see the base class."""
        model, head = self.model, getattr(self.model, 'bbox_head', None)
        if head is None or not hasattr(head, 'loss_by_feat'):
            raise CannotVaryError(
                f'the loss of {type(model).__name__} cannot be timed alone: it has no bbox_head '
                'with loss_by_feat'
            )
        model.train()
        data = model.data_preprocessor(batch, True)
        with torch.no_grad():
            outputs = head(model.extract_feat(data['inputs']))
        outputs = [[level.detach().requires_grad_() for level in part] for part in outputs]
        truth, ignored, metas = unpack_gt_instances(data['data_samples'])

        def run() -> None:
            losses = head.loss_by_feat(*outputs, truth, metas, batch_gt_instances_ignore=ignored)
            loss, _ = model.parse_losses(losses)
            loss.backward()
            for level in (level for part in outputs for level in part):
                level.grad = None

        return run

    def predict(self, batch: Any) -> object:
        """Preprocessing, forward, decoding and NMS."""
        self.model.eval()
        with torch.inference_mode():
            return self.model.test_step(batch)

    def calibrate(self, batch: Any) -> None:
        """Shift the background's bias, see the base class; only heads like SSD's have one."""
        model, head = self.model, getattr(self.model, 'bbox_head', None)
        if not hasattr(head, 'cls_convs') or getattr(head, 'use_sigmoid_cls', True):
            return
        model.eval()
        channels = head.cls_out_channels
        with torch.no_grad():
            data = model.data_preprocessor(batch, False)
            scores = head(model.extract_feat(data['inputs']))[0]
            logits = torch.cat(
                [s.permute(0, 2, 3, 1).reshape(-1, channels).float() for s in scores]
            )
            shift = background_shift(
                logits,
                channels - 1,
                model.test_cfg.get('score_thr', 0),
                CANDIDATES_FOR_NMS * len(data['inputs']),
            )
            for branch in head.cls_convs:
                branch[-1].bias.view(-1, channels)[:, -1] += shift

    def variant(
        self, input_size: int | None = None, num_classes: int | None = None
    ) -> MMDetCandidate:
        """The same at another size or with other classes, see the base class."""
        varied = MMDetCandidate(self.spec, self.settings, input_size, num_classes)
        varied.shared = self.shared
        return varied
