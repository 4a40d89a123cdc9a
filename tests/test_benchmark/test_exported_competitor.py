# SPDX-License-Identifier: Apache-2.0
"""Exported files in a comparison, beside the config that they were exported from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_benchmark import benchmark

from mmdet_mobilenext.benchmark.errors import BenchmarkError, MixedRunsError
from mmdet_mobilenext.benchmark.exported_file import ExportedFile, open_exported, weights_digest
from mmdet_mobilenext.benchmark.folder import prepare_folder
from mmdet_mobilenext.benchmark.page import render_markdown
from mmdet_mobilenext.benchmark.plan import make_plan
from mmdet_mobilenext.benchmark.results_schema import validate
from mmdet_mobilenext.engine.environment import OptionError
from mmdet_mobilenext.runtime.spec import KEY, ModelSpec

onnx = pytest.importorskip('onnx')


@pytest.fixture
def changed(small_onnx, tmp_path):
    """Writes the file with other metadata under its name."""

    def change(**values) -> str:
        model = onnx.load(small_onnx)
        entry = next(entry for entry in model.metadata_props if entry.key == KEY)
        entry.value = replace(ModelSpec.from_json(entry.value), **values).to_json()
        path = tmp_path / 'small.onnx'
        onnx.save(model, path)
        return str(path)

    return change


def test_plan(small_detector, small_onnx, tmp_path, capsys):
    plan = make_plan([small_detector[0], small_onnx, small_detector[0]], tmp_path)
    assert [model.name for model in plan.models] == ['small', 'small.onnx', 'small-2']
    baseline, model, _ = plan.models
    assert model.checkpoints == (small_onnx,) and not baseline.checkpoints and plan.trained_here
    assert model.backbone == baseline.backbone == 'MobileNeXt'
    assert model.cfg.test_dataloader == baseline.cfg.test_dataloader
    assert model.cfg.model == dict(type='ExportedDetector', backend='onnxruntime')
    assert not {'train_dataloader', 'optim_wrapper', 'val_dataloader'} & set(model.cfg)
    assert plan.data['train']['images'] == 2 and 'instead of' not in capsys.readouterr().out


def test_plan_with_checkpoints_counts_configs(small_detector, small_onnx, tmp_path):
    plan = make_plan([small_detector[0], small_onnx], tmp_path, checkpoints=[small_detector[1]])
    assert [model.checkpoints for model in plan.models] == [(small_detector[1],), (small_onnx,)]
    with pytest.raises(BenchmarkError, match='1 configs and 1 seeds need 1 checkpoints'):
        make_plan(
            [small_detector[0], small_onnx], tmp_path, checkpoints=[small_detector[1], small_onnx]
        )


def test_another_size_is_said(small_detector, changed, tmp_path, capsys):
    plan = make_plan([small_detector[0], changed(size=(96, 64))], tmp_path)
    assert 'exported for 96x64: images are resized to that' in capsys.readouterr().out
    scales = [
        [t.scale for t in model.cfg.test_dataloader.dataset.pipeline if t.type == 'Resize']
        for model in plan.models
    ]
    assert [tuple(scale) for (scale,) in scales] == [(128, 128), (96, 64)]


def test_refused(small_detector, small_onnx, changed, tmp_path):
    config = small_detector[0]
    with pytest.raises(BenchmarkError, match=r'small\.onnx is an exported file, but the first'):
        make_plan([small_onnx, config], tmp_path)
    with pytest.raises(BenchmarkError, match=r'of one training.*\[0, 1\]'):
        make_plan([config, small_onnx], tmp_path, seeds=(0, 1))
    with pytest.raises(FileNotFoundError, match=r'nothing\.onnx'):
        make_plan([config, 'nothing.onnx'], tmp_path)
    classes = ModelSpec.from_json(onnx.load(small_onnx).metadata_props[0].value).classes
    with pytest.raises(OptionError, match='classes in another order'):
        make_plan([config, changed(classes=classes[::-1])], tmp_path)


def test_another_file_or_runtime_is_refused(
    small_detector, small_onnx, changed, tmp_path, monkeypatch
):
    folder = tmp_path / 'wd'
    run = prepare_folder(make_plan([small_detector[0], small_onnx], folder))[1]
    run.predictions.write_bytes(b'')
    prepare_folder(make_plan([small_detector[0], small_onnx], folder))
    with pytest.raises(MixedRunsError, match=r'config small\.onnx: file small\.onnx: sha256'):
        prepare_folder(make_plan([small_detector[0], changed(max_per_img=5)], folder))
    monkeypatch.setattr(ExportedFile, 'runtime', 'onnxruntime 0.1')
    with pytest.raises(MixedRunsError, match=r'runtime: onnxruntime \S+ -> onnxruntime 0\.1'):
        prepare_folder(make_plan([small_detector[0], small_onnx], folder))


def test_all_files_of_a_format_count(tmp_path):
    for name, content in (('a.xml', b'x'), ('a.bin', b'y'), ('b.onnx', b'z')):
        (tmp_path / name).write_bytes(content)
    before = weights_digest(tmp_path / 'a.xml')
    (tmp_path / 'a.bin').write_bytes(b'other')
    assert weights_digest(tmp_path / 'a.xml') != before
    assert weights_digest(tmp_path / 'b.onnx') == hashlib.sha256(b'z').hexdigest()


def test_record(small_onnx):
    record = open_exported(small_onnx).record()
    assert (record['format'], record['precision'], record['kind']) == (
        'ONNX', 'float32', 'detections',
    )  # fmt: skip
    content = Path(small_onnx).read_bytes()
    assert record['files'] == [
        dict(name='small.onnx', bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    ]
    assert record['provenance']['checkpoint'] == 'weights.pth'


@pytest.mark.slow
def test_whole_comparison_with_its_own_export(small_detector, small_onnx, tmp_path):
    folder = tmp_path / 'wd'
    arguments = (
        small_detector[0],
        small_onnx,
        '--checkpoints',
        small_detector[1],
        '--work-dir',
        folder,
    )
    done = benchmark(*arguments)
    results = json.loads((folder / 'report' / 'results.json').read_text())
    validate(results)
    comparison, (config, exported) = results['comparisons'][0], results['models']
    assert comparison['verdict'] == 'no difference shown' in done.stdout
    assert abs(comparison['difference']) < 1e-3
    assert config['exported'] is None and exported['exported']['files'][0]['name'] == 'small.onnx'
    assert exported['seeds'][0]['metrics'] == pytest.approx(config['seeds'][0]['metrics'], abs=1e-3)
    assert exported['seeds'][0]['curves'] == dict(loss=[], val_map=[])
    assert exported['cost'] == dict(
        parameters=None,
        madds=None,
        checkpoint_mb=Path(small_onnx).stat().st_size / 1e6,
        input_size=[128, 128],
    )
    measured = results['volatile']['models']['small.onnx']
    latency = results['volatile']['models']['small']['latency_ms']
    alike = ('runs', 'batch', 'threads', 'nms', 'input_size', 'order')
    assert {k: measured['latency_ms'][k] for k in alike} == {k: latency[k] for k in alike}
    assert measured['training'] is None and measured['memory_mb']['training'] is None
    assert measured['memory_mb']['inference'] > 50
    page = (folder / 'report' / 'index.html').read_text()
    runtime = exported['exported']['runtime']
    assert f'MobileNeXt, ONNX float32, {runtime}' in page and 'not counted' in page
    assert weights_digest(small_onnx) in page and weights_digest(small_onnx) in render_markdown(
        results
    )

    predictions = folder / 'runs' / 'small.onnx' / 'seed0' / 'predictions.npz'
    before = {p: p.stat().st_mtime_ns for p in (predictions, folder / 'profile' / 'cost.json')}
    assert '2 done already' in benchmark(*arguments).stdout
    assert {p: p.stat().st_mtime_ns for p in before} == before
