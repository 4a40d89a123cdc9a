# SPDX-License-Identifier: Apache-2.0
"""docs/own_data.md as it stands: import, check, train and test with own classes."""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from small_voc import small_options

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / 'docs' / 'own_data.md').read_text(encoding='utf-8')
CLASSES = ('Blue tit', 'Zaunkönig')


def make_birds(folder):
    """Coloured rectangles on noise, as COCO."""
    (folder / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, number in (('train', 8), ('val', 3)):
        images, annotations = [], []
        for k in range(number):
            pixels = rng.integers(0, 90, (90, 120, 3), dtype=np.uint8)
            name = f'Vogel {split} ä{k}.jpg'
            images.append(dict(id=k, file_name=name, width=120, height=90))
            for category in (3, 8):
                x, y = rng.integers(0, 60), rng.integers(0, 40)
                pixels[y : y + 40, x : x + 50] = (40, 90, 250) if category == 3 else (140, 90, 40)
                box = dict(image_id=k, category_id=category, bbox=[int(x), int(y), 50, 40])
                annotations.append(dict(box, id=len(annotations), iscrowd=0))
            Image.fromarray(pixels).save(folder / 'images' / name)
        categories = [dict(id=i, name=n) for i, n in zip((3, 8), CLASSES, strict=True)]
        content = dict(images=images, annotations=annotations, categories=categories)
        (folder / f'{split}.json').write_text(json.dumps(content), encoding='utf-8')


def commands(birds):
    """Tool and arguments of each command of the guide."""
    lines = [line for block in re.findall(r'```bash\n(.*?)```', GUIDE, re.S) for line in [block]]
    parsed = [shlex.split(line.replace('/data/birds', str(birds))) for line in lines]
    assert all(words[0] == 'python' and words[1].startswith('tools/') for words in parsed)
    return {Path(words[1]).stem: words[2:] for words in parsed}


def config_of_the_guide(birds):
    [block] = re.findall(r'```python\n(.*?)```', GUIDE, re.S)
    return block.replace('/path/to/checkout', str(ROOT)).replace('/data/birds', str(birds))


def tool(name):
    """A script of tools/ as a module."""
    sys.path.insert(0, str(ROOT / 'tools'))
    try:
        return __import__(name)
    finally:
        sys.path.pop(0)


def run_here(monkeypatch, script, *args):
    """A script of tools/ in this process: torch is imported already."""
    monkeypatch.setattr(sys, 'argv', [script, *map(str, args)])
    runpy.run_path(str(ROOT / 'tools' / script), run_name='__main__')


@pytest.fixture
def birds(tmp_path):
    make_birds(tmp_path / 'birds')
    return tmp_path / 'birds'


def test_import_prints_the_config_of_the_guide(birds, capsys):
    tool('import_dataset').main(commands(birds)['import_dataset'])
    printed = capsys.readouterr().out
    lines = config_of_the_guide(birds).split('\n', 2)[2]
    assert lines.startswith('data_root') and lines in printed
    assert len(config_of_the_guide(birds).splitlines()) <= 15


@pytest.mark.parametrize('name', ['ssdlite_mobilenext_small160_own', 'ssdlite_mobilenext_own'])
def test_both_configs_take_own_classes(birds, name):
    text = config_of_the_guide(birds).replace('ssdlite_mobilenext_small160_own', name)
    (birds / 'birds.py').write_text(text, encoding='utf-8')
    cfg = Config.fromfile(birds / 'birds.py')
    assert cfg.model.bbox_head.num_classes == 2
    for role, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{role}_dataloader'].dataset
        assert dataset.type == 'XMLDataset'
        assert (dataset.data_root, dataset.metainfo.classes) == (str(birds / 'voc'), CLASSES)
        assert dataset.ann_file == f'ImageSets/Main/{split}.txt'


@pytest.mark.slow
def test_guide_from_folder_to_detector(birds, capsys, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')  # the tools set it
    todo = commands(birds)
    assert list(todo) == ['import_dataset', 'check_voc', 'train', 'test']
    (birds / 'birds.py').write_text(config_of_the_guide(birds), encoding='utf-8')
    tool('import_dataset').main(todo['import_dataset'])
    assert tool('check_voc').main(todo['check_voc']) == 0
    assert 'Zaunkönig' in capsys.readouterr().out

    options = small_options(birds / 'voc', **{'train_cfg.max_epochs': 1})
    options = [o for o in options if not o.startswith('data_root')]
    # KeepMemoryHook would change this process for good
    options.append('default_hooks.keep_memory.type=EmptyCacheHook')
    run_here(monkeypatch, 'train.py', *todo['train'], '--cfg-options', *options)
    capsys.readouterr()
    words = [word.replace('epoch_30', 'epoch_1') for word in todo['test']]
    words += ['--work-dir', birds / 'run']  # of the log
    run_here(monkeypatch, 'test.py', *words, '--cfg-options', *options)
    out = ''.join(capsys.readouterr())
    assert 'Zaunkönig' in out and 'pascal_voc/mAP' in out
    assert len([p for p in (birds / 'pictures').rglob('*.jpg') if 'Vogel val' in p.name]) == 3
    log = min((birds / 'run').glob('*/vis_data/scalars.json'))
    losses = [json.loads(line).get('loss') for line in log.read_text().splitlines()]
    losses = [loss for loss in losses if loss is not None]
    assert len(losses) == 2 and all(np.isfinite(losses))
    checkpoint = torch.load(birds / 'run' / 'epoch_1.pth', weights_only=False)
    assert tuple(checkpoint['meta']['dataset_meta']['classes']) == CLASSES
