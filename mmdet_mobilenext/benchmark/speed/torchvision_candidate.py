# SPDX-License-Identifier: Apache-2.0
"""torchvision's SSDLite320 with MobileNetV3-Large as a candidate, where torchvision is installed.

Source: https://github.com/pytorch/vision/tree/main/references/detection: model, preset ``ssdlite``
of the augmentation (PIL, transforms v2) and SGD. The network resizes by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from mmdet.registry import DATASETS
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils.data import Dataset

from .batches import random_boxes
from .candidate import CANDIDATES_FOR_NMS, CandidateState, CannotVaryError, background_shift

__all__ = ['TorchvisionCandidate', 'torchvision_problem']


def torchvision_problem() -> str | None:
    """Why torchvision's detector cannot be timed.

    Returns:
        str | None: The reason, or None if it can.

    Example:
        >>> torchvision_problem() is None or 'torchvision' in torchvision_problem()
        True
    """
    try:
        import torchvision.models.detection
        import torchvision.transforms.v2  # noqa: F401
    except Exception as error:  # one built for another torch raises RuntimeError
        return f'torchvision cannot be imported ({type(error).__name__}: {error})'
    return None


class _VOC(Dataset):
    """Images and targets in torchvision's form."""

    def __init__(self, source: Any, transform: Callable) -> None:
        self.source, self.transform = source, transform

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict]:
        info = self.source.get_data_info(index)
        kept = [i for i in info['instances'] if not i['ignore_flag']]
        boxes = torch.tensor([i['bbox'] for i in kept], dtype=torch.float32).reshape(-1, 4)
        labels = torch.tensor([i['bbox_label'] for i in kept], dtype=torch.int64)
        return self.load(info['img_path'], boxes, labels)

    def load(
        self, path: str, boxes: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, dict]:
        """Read and transform an image with these boxes; label 0 is the background's."""
        from PIL import Image
        from torchvision import tv_tensors

        with Image.open(path) as file:
            image = file.convert('RGB')
        boxes = tv_tensors.BoundingBoxes(boxes, format='XYXY', canvas_size=image.size[::-1])
        return self.transform(image, dict(boxes=boxes, labels=labels + 1))


class TorchvisionCandidate(CandidateState):
    """``ssdlite320_mobilenet_v3_large`` with random weights, on VOC2007."""

    input_size = (320, 320)
    num_classes = 20

    @cached_property
    def model(self) -> nn.Module:
        """nn.Module: The detector on the device."""
        from torchvision.models.detection import ssdlite320_mobilenet_v3_large

        model = ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=self.num_classes + 1
        )
        return model.to(self.device)

    def _dataset(self, split: str, transforms: list) -> _VOC:
        from torchvision.transforms import v2

        init_default_scope('mmdet')
        source = DATASETS.build(
            dict(
                type='VOCDataset',
                data_root=self.settings.data_root,
                ann_file=f'VOC2007/ImageSets/Main/{split}.txt',
                data_prefix=dict(sub_data_root='VOC2007/'),
                test_mode=split == 'test',
                pipeline=[],
            )
        )
        to_tensor = [v2.PILToTensor(), v2.ToDtype(torch.float, scale=True)]
        finish = [v2.SanitizeBoundingBoxes(), v2.ToPureTensor()]
        return _VOC(source, v2.Compose([*transforms, *to_tensor, *finish]))

    @cached_property
    def train_dataset(self) -> Dataset:
        """Dataset: trainval with the reference augmentation, without difficult objects."""
        from torchvision.transforms import v2

        return self._dataset('trainval', [v2.RandomIoUCrop(), v2.RandomHorizontalFlip(p=0.5)])

    @cached_property
    def test_dataset(self) -> Dataset:
        """Dataset: test, as float images."""
        return self._dataset('test', [])

    def paths(self, train: bool) -> list[str]:
        """Image file of each index, see the base class."""
        source = (self.train_dataset if train else self.test_dataset).source
        return [source.get_data_info(i)['img_path'] for i in range(len(source))]

    def collate(self, samples: list) -> tuple:
        """Images and targets, as the reference does."""
        return tuple(zip(*samples, strict=True))

    def with_boxes(self, index: int, num_boxes: int) -> Any:
        """A training sample with random boxes, see the base class."""
        dataset = self.train_dataset
        info = dataset.source.get_data_info(index)
        generator = torch.Generator().manual_seed(index)
        boxes = random_boxes(num_boxes, info['height'], info['width'], generator)
        return dataset.load(info['img_path'], boxes, torch.arange(num_boxes) % self.num_classes)

    def synthetic_batch(self, batch_size: int, num_boxes: int = 3) -> tuple:
        """A random batch, see the base class."""
        generator = torch.Generator().manual_seed(0)
        images, targets = [], []
        for _ in range(batch_size):
            images.append(torch.rand(3, *self.input_size, generator=generator))
            targets.append(
                dict(
                    boxes=random_boxes(num_boxes, *self.input_size, generator=generator),
                    labels=torch.randint(1, 1 + self.num_classes, (num_boxes,)),
                )
            )
        return images, targets

    def _to_device(self, batch: Any) -> tuple[list, list]:
        images, targets = batch
        return (
            [image.to(self.device) for image in images],
            [{k: v.to(self.device) for k, v in t.items()} for t in targets],
        )

    def train_task(
        self, distributed: bool = False, device_ids: list[int] | None = None
    ) -> Callable[[Any], object]:
        """A whole training step, see the base class."""
        optimizer = torch.optim.SGD(
            # any rate costs the same time
            self.model.parameters(),
            lr=1e-8,
            momentum=0.9,
            weight_decay=2e-5,
        )
        wrapper, model = OptimWrapper(optimizer), self.model
        if distributed:
            model = nn.parallel.DistributedDataParallel(model, device_ids=device_ids)

        def run(batch: Any) -> None:
            model.train()
            wrapper.update_params(sum(model(*self._to_device(batch)).values()))

        return run

    def loss_task(self, batch: Any) -> Callable[[], object]:
        """Anchors, matching, ``compute_loss`` and its backward, as ``SSD.forward`` calls them."""
        from torchvision.ops import box_iou

        model = self.model.train()
        with torch.no_grad():
            images, targets = model.transform(*self._to_device(batch))
            features = list(model.backbone(images.tensors).values())
            outputs = model.head(features)
        outputs = {key: value.detach().requires_grad_() for key, value in outputs.items()}

        def run() -> None:
            anchors = model.anchor_generator(images, features)
            matched = []
            for priors, target in zip(anchors, targets, strict=True):
                if target['boxes'].numel() == 0:
                    matched.append(torch.full((len(priors),), -1, device=priors.device))
                else:
                    matched.append(model.proposal_matcher(box_iou(target['boxes'], priors)))
            sum(model.compute_loss(targets, outputs, anchors, matched).values()).backward()
            for value in outputs.values():
                value.grad = None

        return run

    def predict(self, batch: Any) -> object:
        """Forward, decoding and NMS."""
        self.model.eval()
        with torch.inference_mode():
            return self.model(self._to_device(batch)[0])

    def calibrate(self, batch: Any) -> None:
        """Shift the background's bias, see the base class."""
        model = self.model.eval()
        with torch.no_grad():
            images, _ = model.transform(self._to_device(batch)[0])
            logits = model.head(list(model.backbone(images.tensors).values()))['cls_logits']
            shift = background_shift(
                logits.flatten(0, 1), 0, model.score_thresh, CANDIDATES_FOR_NMS * len(logits)
            )
            for branch in model.head.classification_head.module_list:
                branch[-1].bias.view(-1, self.num_classes + 1)[:, 0] += shift

    def variant(
        self, input_size: int | None = None, num_classes: int | None = None
    ) -> TorchvisionCandidate:
        """With other classes; the size is fixed by torchvision's function."""
        if input_size not in (None, 320):
            raise CannotVaryError('torchvision builds ssdlite320 at 320 pixels only')
        varied = TorchvisionCandidate(self.spec, self.settings)
        varied.num_classes, varied.shared = num_classes or self.num_classes, self.shared
        return varied
