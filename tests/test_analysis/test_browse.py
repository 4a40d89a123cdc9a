# SPDX-License-Identifier: Apache-2.0
"""Pictures of training images: what is on them, and that they are those of the training."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import set_random_seed
from PIL import Image
from small_voc import ROOT

from mmdet_mobilenext.analysis.browse import browse, draw_snapshot, snapshots_of
from mmdet_mobilenext.analysis.objects import build_dataset
from mmdet_mobilenext.datasets.checks import DataCheckError
from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.environment import OptionError


def test_the_last_snapshot_is_what_the_training_gets(demo):
    dataset = build_dataset(demo, 'train')
    snapshot = snapshots_of(dataset, 2, 'final', seed=5)[-1]
    set_random_seed(5)
    item = dataset[2]
    assert np.array_equal(snapshot.image, item['inputs'].permute(1, 2, 0).float().numpy())
    boxes = item['data_samples'].gt_instances.bboxes
    assert torch.equal(torch.from_numpy(snapshot.boxes), getattr(boxes, 'tensor', boxes))
    assert not snapshot.ignored.any()


def test_difficult_objects_are_on_the_annotated_picture_alone(demo):
    dataset = build_dataset(demo, 'train')
    number = next(
        i
        for i in range(len(dataset))
        if any(instance['ignore_flag'] for instance in dataset.get_data_info(i)['instances'])
    )
    annotated, final = snapshots_of(dataset, number)
    assert annotated.ignored.any() and not final.ignored.any()
    assert len(annotated.boxes) == len(dataset.get_data_info(number)['instances'])
    plain = annotated.__class__(
        annotated.title, annotated.image, annotated.boxes[:0], annotated.labels[:0], []
    )
    classes = dataset.metainfo['classes']
    drawn, empty = (draw_snapshot(s, classes).astype(int) for s in (annotated, plain))
    assert drawn.shape == empty.shape and np.abs(drawn - empty).max() > 50


def test_steps_end_with_the_boxes_of_the_fused_augmentation(demo):
    """Transforms one by one, with the same seed."""
    *steps, final = snapshots_of(build_dataset(demo, 'train'), 1, 'steps', seed=3)
    assert [s.title for s in steps] == [
        'LoadAnnotations',
        'DropDifficult',
        'SSDRandomCrop',
        'RandomFlip',
        'Resize',
    ]
    assert np.allclose(steps[-1].boxes, final.boxes, atol=1e-3)
    assert steps[-1].image.shape == final.image.shape == (128, 128, 3)
    assert np.abs(steps[-1].image - final.image).mean() < 8


def test_values_beyond_the_range_are_not_wrapped():
    none = np.zeros(0, np.int64)
    image = np.full((40, 40, 3), 300.0)
    image[:, 20:] = -40
    from mmdet_mobilenext.analysis.browse import Snapshot

    drawn = draw_snapshot(Snapshot('', image, np.zeros((0, 4)), none, none > 0), ['a'], side=40)
    assert drawn[20, 5].min() == 255 and drawn[20, 35].max() == 0


def test_joined_data_sets_are_looked_through(voc):
    cfg = load_config(str(ROOT / 'configs/ssdlite_mobilenext_demo.py'), {'data_root': str(voc)})
    one = cfg.train_dataloader.dataset.to_dict()
    joined = dict(type='ConcatDataset', datasets=[one, one])
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=joined)
    dataset = build_dataset(cfg, 'train')
    first, repeated = (snapshots_of(dataset, i)[0] for i in (3, 3 + len(dataset) // 4 * 3))
    assert np.array_equal(first.image, repeated.image)


def test_pictures_are_written_and_the_same_for_a_seed(demo, tmp_path):
    sheet, *pictures = browse(demo, tmp_path / 'a', number=3, seed=1, columns=2)
    assert [path.exists() for path in (sheet, *pictures)] == [True] * 4
    with Image.open(sheet) as image:
        assert image.size == (2 * 2 * 320, 2 * 344)
        pixels = np.asarray(image)
    assert pixels.std() > 30
    assert (pixels[344:, 640:] == 255).all()  # three images on four places
    again = browse(demo, tmp_path / 'b', number=3, seed=1, columns=2)[0]
    assert again.read_bytes() == sheet.read_bytes()
    other = browse(demo, tmp_path / 'c', number=3, seed=2, columns=2)[0]
    assert other.read_bytes() != sheet.read_bytes()


@pytest.mark.parametrize('stock', [False, True])
def test_broken_image_leaves_nothing(demo, tmp_path, stock):
    root = tmp_path / 'voc'
    shutil.copytree(demo.data_root, root)
    image = Path(build_dataset(demo, 'train').get_data_info(1)['img_path'])
    (root / image.relative_to(demo.data_root)).write_bytes(b'no image')
    cfg = load_config(str(ROOT / 'configs/ssdlite_mobilenext_demo.py'), {'data_root': str(root)})
    cfg.data_check = None  # as for a COCO set, whose images are not checked before
    if stock:
        cfg.train_dataloader.dataset.pipeline = [
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs'),
        ]
    with pytest.raises(DataCheckError, match=f'image 1 .*{image.name}'):
        browse(cfg, tmp_path / 'out', number=100, mode='final')
    assert [path.name for path in tmp_path.iterdir()] == ['voc']


def test_pictures_come_beside_what_is_there(demo, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/mine.txt').write_text('kept')
    browse(demo, tmp_path / 'out', number=1, mode='final')
    assert sorted(path.suffix for path in (tmp_path / 'out').iterdir()) == ['.png', '.png', '.txt']
    assert [path.name for path in tmp_path.iterdir()] == ['out']


def test_wrong_arguments_are_named(demo, tmp_path):
    with pytest.raises(OptionError, match='1 column or more, but received 0'):
        browse(demo, tmp_path, columns=0)
    with pytest.raises(OptionError, match='1 or more, but received 0'):
        browse(demo, tmp_path, number=0)
    with pytest.raises(OptionError, match="received 'film'"):
        snapshots_of(build_dataset(demo, 'train'), 0, 'film')
    assert list(tmp_path.iterdir()) == []
