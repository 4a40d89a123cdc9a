# SPDX-License-Identifier: Apache-2.0
"""The SSDLite head.

Sources: SSD (https://arxiv.org/abs/1512.02325), section 2.2, for matching, loss
and hard negative mining; MobileNetV2 (https://arxiv.org/abs/1801.04381),
section 6.2, for the separable prediction layers; RetinaNet
(https://arxiv.org/abs/1708.02002), sections 3 and 4.1, for the focal loss.
"""

import warnings
from collections.abc import Sequence

import torch
import torch.nn as nn
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import SSDHead
from mmdet.models.losses import FocalLoss
from mmdet.registry import MODELS
from mmdet.utils import InstanceList, OptConfigType, OptInstanceList, reduce_mean
from mmengine.dist import get_world_size
from mmengine.model import ModuleList
from torch import Tensor

from .ssdlite_predict import can_predict_batch, predict_batch
from .ssdlite_targets import DenseTargets, dense_targets, hard_negatives
from .tracing import is_traced

__all__ = ['SSDLiteHead']

# In every convolution of the classification branches, as the MobileNeXt authors
# have it; RetinaNet's is of the last one alone.
FOCAL_INIT = dict(type='Normal', layer='Conv2d', std=0.01, bias_prob=0.01)


@MODELS.register_module(force=True)
class SSDLiteHead(SSDHead):
    """SSDLite head as the published detectors use it.

    Built on mmdet's :class:`SSDHead`, from which it differs in that

    - it can predict (``SSDHead`` of mmdet 3.2 and later never sets the
      ``loss_cls`` that its base class reads);
    - the depthwise convolutions of the prediction layers have a bias, and the
      **last level is one plain 1x1 convolution** (its map is 1x1);
    - the losses are computed for the whole batch at once and divided by the
      number of positives of the batch: an image without boxes adds none
      (``SSDHead`` counts it as one);
    - it can be trained with the focal loss, as the MobileNeXt authors trained
      on COCO: a sigmoid for each class, no background, and all negatives
      instead of the hard ones;
    - feature maps that do not fit the priors are an error.

    As everywhere in mmdet 3.x, the last class channel is the background; with
    a sigmoid there is none.

    Args:
        num_classes (int): Number of classes without background.
        in_channels (Sequence[int]): Channels of each level.
        anchor_generator (dict): Config of the priors.
        bbox_coder (dict): Config of the box coder. Defaults to SSD's
            variances 0.1 and 0.2, without clipping boxes at the border.
        loss_cls (dict): Config of the classification loss, per prior: a
            softmax loss, or ``FocalLoss``. Defaults to cross entropy.
        loss_bbox (dict): Config of the regression loss, summed over the
            coordinates of the positives. Defaults to smooth L1, beta 1.
        sync_num_pos (bool): Over how many positives the losses are divided in
            distributed training: the mean over all processes (True), so that
            two processes equal one with the double batch, or those of the
            process alone (False), as the MobileNeXt authors trained.
            Defaults to True.
        conv_cfg (dict, optional): Config of the convolutions.
        norm_cfg (dict): Config of the norms. Defaults to ``dict(type='BN')``.
        act_cfg (dict): Config of the activations.
            Defaults to ``dict(type='ReLU6')``.
        train_cfg (dict, optional): ``assigner``, and ``neg_pos_ratio``: how
            many negatives an image has for each positive, or None, all of
            them, which is the only one with the focal loss. Defaults to 3
            with a softmax and to None with the focal loss.
        test_cfg (dict, optional): ``score_thr``, ``nms``, ``max_per_img``.
        init_cfg (dict or list[dict]): Initialization config. Defaults to
            xavier uniform with bias 0.
        cls_init_cfg (dict or list[dict], optional): Initialization config of
            the classification branches, after ``init_cfg``. Defaults to
            normal(0, 0.01) and a bias of score 0.01, in all their
            convolutions, with the focal loss, and to ``init_cfg`` without.

    Raises:
        ValueError: If levels and priors do not fit together, a sigmoid is asked
            for with another loss than ``FocalLoss``, or hard negatives with it.

    Example:
        >>> import torch
        >>> head = SSDLiteHead(
        ...     num_classes=20, in_channels=(96, 64),
        ...     anchor_generator=dict(
        ...         type='SSDLitePriorGenerator', strides=[160, 320], min_sizes=[100, 200],
        ...         max_sizes=[200, 300], ratios=[[2], [2]], input_size=320)).eval()
        >>> cls_scores, bbox_preds = head((torch.rand(1, 96, 2, 2), torch.rand(1, 64, 1, 1)))
        >>> [tuple(s.shape) for s in cls_scores]
        [(1, 84, 2, 2), (1, 84, 1, 1)]
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        anchor_generator: dict,
        bbox_coder: dict = dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2],
            clip_border=False,
        ),
        loss_cls: dict = dict(type='CrossEntropyLoss'),
        loss_bbox: dict = dict(type='SmoothL1Loss', beta=1.0),
        sync_num_pos: bool = True,
        conv_cfg: OptConfigType = None,
        norm_cfg: dict = dict(type='BN'),
        act_cfg: dict = dict(type='ReLU6'),
        train_cfg: OptConfigType = None,
        test_cfg: OptConfigType = None,
        init_cfg: dict = dict(type='Xavier', layer='Conv2d', distribution='uniform', bias=0),
        cls_init_cfg: dict | list[dict] | None = None,
    ) -> None:
        loss = MODELS.build(loss_cls)
        is_focal = getattr(loss, 'use_sigmoid', False)
        if is_focal and not isinstance(loss, FocalLoss):
            raise ValueError(
                'SSD has one softmax over all classes and the background, or the focal loss: '
                f'loss_cls must not use a sigmoid unless it is FocalLoss, but received {loss_cls}'
            )
        if train_cfg is not None:
            defaults = dict(allowed_border=-1, pos_weight=-1, neg_pos_ratio=None if is_focal else 3)
            train_cfg = dict(defaults, **train_cfg)
            if is_focal and train_cfg['neg_pos_ratio'] is not None:
                raise ValueError(
                    'the focal loss weighs all negatives, and needs none to be chosen, but received'
                    f' neg_pos_ratio={train_cfg["neg_pos_ratio"]}: set '
                    'train_cfg.neg_pos_ratio=None'
                )
        # Read by _init_layers, which SSDHead calls before it can be told.
        self._is_focal = is_focal
        self._cls_init_cfg = cls_init_cfg or (FOCAL_INIT if is_focal else None)
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            use_depthwise=True,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            anchor_generator=anchor_generator,
            bbox_coder=bbox_coder,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        self.use_sigmoid_cls = is_focal
        self.loss_cls = loss
        self.loss_bbox = MODELS.build(loss_bbox)
        self.sync_num_pos = sync_num_pos

    def _init_layers(self) -> None:
        """Build a classification and a regression branch for each level."""
        if len(self.in_channels) != len(self.num_base_priors):
            raise ValueError(
                f'in_channels has {len(self.in_channels)} levels, but the priors have '
                f'{len(self.num_base_priors)}'
            )
        if self._is_focal:
            self.cls_out_channels = self.num_classes
        self.cls_convs = ModuleList(init_cfg=self._cls_init_cfg)
        self.reg_convs = nn.ModuleList()
        last_level = len(self.in_channels) - 1
        for level, (channels, num_priors) in enumerate(
            zip(self.in_channels, self.num_base_priors, strict=False)
        ):
            separable = level != last_level
            self.cls_convs.append(
                self._make_branch(channels, num_priors * self.cls_out_channels, separable)
            )
            self.reg_convs.append(self._make_branch(channels, num_priors * 4, separable))

    def _make_branch(self, channels: int, out_channels: int, separable: bool) -> nn.Sequential:
        layers: list[nn.Module] = []
        if separable:
            with warnings.catch_warnings():
                # A bias before a norm has no effect, but was published.
                warnings.filterwarnings('ignore', message='Unnecessary conv bias')
                layers.append(
                    ConvModule(
                        channels,
                        channels,
                        3,
                        padding=1,
                        groups=channels,
                        bias=True,
                        conv_cfg=self.conv_cfg,
                        norm_cfg=self.norm_cfg,
                        act_cfg=self.act_cfg,
                    )
                )
        layers.append(nn.Conv2d(channels, out_channels, 1))
        return nn.Sequential(*layers)

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Predict class scores and box offsets.

        Args:
            x (tuple[Tensor]): Levels, (N, in_channels[i], H_i, W_i).

        Returns:
            tuple[list[Tensor], list[Tensor]]: Class scores before the softmax,
            (N, num_base_priors[i] * (num_classes + 1), H_i, W_i), background
            last, or before the sigmoid, without the + 1; and box offsets,
            (N, num_base_priors[i] * 4, H_i, W_i).

        Raises:
            ValueError: If the number of levels differs from that of the head.
        """
        if len(x) != len(self.cls_convs):
            raise ValueError(
                f'the head was built for {len(self.cls_convs)} levels, but received {len(x)}'
            )
        return super().forward(x)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            cls_scores (list[Tensor]): Class scores, see :meth:`forward`.
            bbox_preds (list[Tensor]): Box offsets, see :meth:`forward`.
            batch_gt_instances (list[InstanceData]): ``bboxes``, (n, 4) xyxy in
                pixels of the input, and ``labels``, (n,), of each image.
            batch_img_metas (list[dict]): Meta of each image.
            batch_gt_instances_ignore (list[InstanceData], optional): Boxes to
                ignore, if the assigner knows such.

        Returns:
            dict[str, Tensor]: ``loss_cls`` and ``loss_bbox``, scalars.
        """
        featmap_sizes = [tuple(s.shape[-2:]) for s in cls_scores]
        self._check_featmap_sizes(featmap_sizes, batch_img_metas)
        labels, label_weights, bbox_targets = self._targets(
            featmap_sizes,
            batch_gt_instances,
            batch_img_metas,
            batch_gt_instances_ignore,
            device=cls_scores[0].device,
        )
        # Losses in float32 also under mixed precision.
        cls_score = self._flatten(cls_scores, self.cls_out_channels).float()
        bbox_pred = self._flatten(bbox_preds, 4).float()

        is_pos = labels < self.num_classes
        num_pos = is_pos.sum().float()
        if self.sync_num_pos:
            num_pos = reduce_mean(num_pos)
        # Without any positive, as with one: hard negatives are none then, but the
        # focal loss has all of them.
        avg_factor = num_pos.clamp(min=1 / get_world_size() if self.sync_num_pos else 1)
        loss_cls = self._loss_cls_sum(cls_score, labels, label_weights, is_pos) / avg_factor

        # Dense, as picking the positives would wait for the device. Elsewhere the
        # target against itself: no loss and no gradient, whatever was predicted.
        loss_bbox = self.loss_bbox(
            torch.where(is_pos[..., None], bbox_pred, bbox_targets).reshape(-1, 4),
            bbox_targets.reshape(-1, 4),
            reduction_override='none',
        )
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox.sum() / avg_factor)

    def _loss_cls_sum(
        self, cls_score: Tensor, labels: Tensor, label_weights: Tensor, is_pos: Tensor
    ) -> Tensor:
        """Classification loss of the priors that count, before it is divided."""
        args = cls_score.reshape(-1, self.cls_out_channels), labels.reshape(-1)
        if self.use_sigmoid_cls:
            return self.loss_cls(*args, label_weights.reshape(-1), reduction_override='sum')
        loss = self.loss_cls(*args, reduction_override='none').reshape(labels.shape) * label_weights
        neg_pos_ratio = self.train_cfg['neg_pos_ratio']
        if neg_pos_ratio is None:
            return loss.sum()
        is_hard_neg = hard_negatives(loss.detach(), is_pos, label_weights > 0, neg_pos_ratio)
        return (loss * (is_pos | is_hard_neg)).sum()

    def _targets(
        self,
        featmap_sizes: list[tuple[int, int]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList,
        device: torch.device,
    ) -> DenseTargets:
        """What the head should say, by this project's or any other assigner."""
        if hasattr(self.assigner, 'assign_padded'):
            priors = torch.cat(self.prior_generator.grid_priors(featmap_sizes, device=device))
            return dense_targets(
                self.assigner, self.bbox_coder, priors, batch_gt_instances, self.num_classes
            )
        # Any other assigner of mmdet, image by image.
        anchor_list, valid_flag_list = self.get_anchors(
            featmap_sizes, batch_img_metas, device=device
        )
        targets = self.get_targets(
            anchor_list,
            valid_flag_list,
            batch_gt_instances,
            batch_img_metas,
            batch_gt_instances_ignore=batch_gt_instances_ignore,
        )
        return DenseTargets(*(torch.cat(levels, 1) for levels in targets[:3]))

    @staticmethod
    def _flatten(levels: list[Tensor], channels: int) -> Tensor:
        """Level maps (N, A * C, H, W) to one tensor (N, priors, C)."""
        return torch.cat([m.permute(0, 2, 3, 1).reshape(len(m), -1, channels) for m in levels], 1)

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        score_factors: list[Tensor] | None = None,
        batch_img_metas: list[dict] | None = None,
        cfg: OptConfigType = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Turn the head's outputs into detections.

        All images at once, if ``test_cfg`` asks for nothing that
        :func:`can_predict_batch` does not know; otherwise, for a trace and
        without NMS as in mmdet, image by image. The detections are the same.

        Args:
            cls_scores (list[Tensor]): Class scores, see :meth:`forward`.
            bbox_preds (list[Tensor]): Box offsets, see :meth:`forward`.
            score_factors (list[Tensor], optional): Not used by SSD.
            batch_img_metas (list[dict], optional): Meta of each image.
            cfg (dict, optional): Replaces ``test_cfg``.
            rescale (bool): Return boxes in pixels of the original image.
                Defaults to False.
            with_nms (bool): Defaults to True.

        Returns:
            list[InstanceData]: ``bboxes`` (n, 4) xyxy in pixels, ``scores``
            (n,) and ``labels`` (n,) of each image.
        """
        featmap_sizes = [tuple(s.shape[-2:]) for s in cls_scores]
        self._check_featmap_sizes(featmap_sizes, batch_img_metas)
        # float32 also under mixed precision: NMS knows nothing else on the CPU.
        cls_scores = [s.float() for s in cls_scores]
        bbox_preds = [p.float() for p in bbox_preds]
        used_cfg = self.test_cfg if cfg is None else cfg
        cells = [height * width for height, width in featmap_sizes]
        most = max(n * c for n, c in zip(self.num_base_priors, cells, strict=True))
        if (
            score_factors is not None
            or not with_nms
            or is_traced()
            or getattr(self.bbox_coder, 'use_box_type', False)
            or getattr(self.loss_cls, 'custom_cls_channels', False)
            or not can_predict_batch(used_cfg, most * self.num_classes)
        ):
            return super().predict_by_feat(
                cls_scores, bbox_preds, score_factors, batch_img_metas, cfg, rescale, with_nms
            )
        priors = self.prior_generator.grid_priors(featmap_sizes, device=cls_scores[0].device)
        return predict_batch(
            self._flatten(cls_scores, self.cls_out_channels),
            self._flatten(bbox_preds, 4),
            torch.cat(priors),
            self.bbox_coder,
            batch_img_metas,
            used_cfg,
            rescale,
            self.use_sigmoid_cls,
        )

    def _check_featmap_sizes(
        self, featmap_sizes: Sequence[tuple[int, int]], batch_img_metas: Sequence[dict]
    ) -> None:
        meta = batch_img_metas[0]
        shape = meta.get('batch_input_shape') or meta.get('pad_shape') or meta['img_shape']
        check = getattr(self.prior_generator, 'check_featmap_sizes', None)
        if check is not None:
            check(featmap_sizes, tuple(shape[:2]))
