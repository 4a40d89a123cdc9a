# SPDX-License-Identifier: Apache-2.0
"""The repository itself: lint, README, and the config lines that the README tells."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


@pytest.mark.parametrize('command', [('check',), ('format', '--check')])
def test_ruff_is_clean(command):
    ruff = Path(sys.executable).with_name('ruff')
    assert ruff.exists() or shutil.which('ruff'), 'ruff is in the extra `tests`'
    done = subprocess.run(
        [ruff if ruff.exists() else 'ruff', *command, '.'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_of_the_readme_exist():
    links = [link for link in re.findall(r'\]\(([^)#]+)', README) if '://' not in link]
    paths = re.findall(r'\b((?:configs|tools|tests|docs|mmdet_mobilenext)/[\w./-]*\w)', README)
    assert links and paths
    assert [p for p in {*links, *paths} if not (ROOT / p).exists()] == []


def test_readme_has_no_placeholder():
    assert not re.findall(r'^\W*[A-Z]+_[A-Z_]+\W*$|TODO|TBD', README, flags=re.MULTILINE)


def own_config_lines():
    block = next(b for b in re.findall(r'```python\n(.*?)```', README, re.S) if 'backbone' in b)
    names = {}
    exec(block, names)
    return names['model']


@pytest.mark.parametrize(
    'name',
    [
        'retinanet/retinanet_r50_fpn_1x_coco.py',
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'atss/atss_r50_fpn_1x_coco.py',
    ],
)
def test_backbone_swap_of_the_readme(name):
    """The levels of the neck have the strides that the config's priors expect."""
    import torch

    cfg = get_config(f'mmdet::{name}')
    cfg.model.backbone.init_cfg = None
    cfg.model.backbone.pop('init_cfg')
    cfg.merge_from_dict({})
    model_cfg = Config._merge_a_into_b(own_config_lines(), cfg.model)
    detector = MODELS.build(model_cfg).eval()
    with torch.no_grad():
        features = detector.extract_feat(torch.rand(1, 3, 256, 256))
    dense_head = detector.rpn_head if hasattr(detector, 'rpn_head') else detector.bbox_head
    strides = [256 // f.shape[-1] for f in features]
    assert strides == [s[0] for s in dense_head.prior_generator.strides]
