# SPDX-License-Identifier: Apache-2.0
"""Batches of workers arrive as they were."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from torch.utils.data import DataLoader, Dataset

from mmdet_mobilenext.datasets import light_collate


class Samples(Dataset):
    """Images with 0, 1, 2, ... boxes."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        sample = DetDataSample(metainfo=dict(img_id=str(index), img_shape=(4, 4)))
        sample.gt_instances = InstanceData(
            bboxes=HorizontalBoxes(torch.arange(4.0 * index).reshape(-1, 4)),
            labels=torch.arange(index),
        )
        return dict(inputs=torch.full((3, 4, 4), index), data_samples=sample)


def loaded(collate, workers, context=None):
    loader = DataLoader(
        Samples(), 2, num_workers=workers, collate_fn=collate, multiprocessing_context=context
    )
    return list(loader)


@pytest.mark.parametrize(('workers', 'context'), [(0, None), (1, 'fork')])
def test_the_same_arrives(workers, context):
    expected = loaded(pseudo_collate, 0)
    found = loaded(light_collate, workers, context)
    assert len(found) == len(expected) == 2
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys() and type(ours['data_samples']) is list
        assert all(torch.equal(a, b) for a, b in zip(ours['inputs'], theirs['inputs'], strict=True))
        for a, b in zip(ours['data_samples'], theirs['data_samples'], strict=True):
            assert a.metainfo == b.metainfo
            assert torch.equal(a.gt_instances.labels, b.gt_instances.labels)
            assert type(a.gt_instances.bboxes) is HorizontalBoxes
            assert torch.equal(a.gt_instances.bboxes.tensor, b.gt_instances.bboxes.tensor)


def test_only_images_take_shared_memory():
    found = loaded(light_collate, 1, 'fork')
    for batch in found:
        assert all(image.is_shared() for image in batch['inputs'])
        for sample in batch['data_samples']:
            assert not sample.gt_instances.labels.is_shared()
    with_mmengine = loaded(pseudo_collate, 1, 'fork')
    assert with_mmengine[1]['data_samples'][1].gt_instances.labels.is_shared()
