# SPDX-License-Identifier: Apache-2.0
"""What detectors cost: size, arithmetic, latency, training speed and memory.

``python -m mmdet_mobilenext.benchmark.cost SPEC.json OUT.json``: latency and training speed of all
detectors are measured in one process, in turn (A B A B), so that a machine that slows down
meanwhile hits all alike; memory in a process for each detector.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

# Before torch is loaded: threads that wait by spinning take the cores from others.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmdet_mobilenext.engine.complexity import count_madds, count_parameters
from mmdet_mobilenext.engine.fold_norm_hook import fold_frozen_norms, folds_norms
from mmdet_mobilenext.engine.keep_memory_hook import keep_freed_memory, keeps_memory
from mmdet_mobilenext.engine.memory_format_hook import to_channels_last, wants_channels_last
from mmdet_mobilenext.engine.model_checks import build_model, load_weights
from mmdet_mobilenext.engine.test_exported import is_exported
from mmdet_mobilenext.evaluation import ExportedDetector

from .exported_file import exported_cost, load_exported
from .folder import write_json
from .parent import die_with_parent
from .speed.batches import make_batch
from .speed.report import describe_machine
from .speed.timing import time_interleaved

__all__ = ['load_detector', 'measure_cost', 'measure_memory', 'peak_memory_mb']

IMAGES = 16
"""Test images that latency is measured on, one after the other."""


def load_detector(config: str | Config, checkpoint: str) -> tuple[Config, nn.Module]:
    """Build a detector and fill it with its weights, as testing does.

    Args:
        config (str | Config): Config file, or what it holds.
        checkpoint (str): Weights, or an exported file, which takes a config file alone.

    Returns:
        tuple[Config, nn.Module]: The config, and the detector in eval mode on the GPU if there is
            one, in channels_last if its config has the ``MemoryFormatHook``.

    Raises:
        CheckpointKeyError: If the weights do not fill it.
        OptionError: If a part of the model refuses its arguments.
    """
    if is_exported(checkpoint):
        return load_exported(config, checkpoint)
    cfg = config if isinstance(config, Config) else Config.fromfile(config)
    model = build_model(cfg)
    load_weights(model, checkpoint)
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    hook = (cfg.get('default_hooks') or {}).get('memory_format')
    if hook and wants_channels_last(hook.get('channels_last', 'auto'), model):
        to_channels_last(model)
    if folds_norms(cfg) and not torch.cuda.is_available():
        fold_frozen_norms(model)
    return cfg, model


def test_batches(cfg: Config, count: int = IMAGES) -> list[dict]:
    """Batches of one test image, loaded and resized beforehand.

    Args:
        cfg (Config): Config of the run.
        count (int): Images, spread over the test set. Defaults to 16.

    Returns:
        list[dict]: ``inputs`` and ``data_samples``.
    """
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    count = min(count, len(dataset))
    return [pseudo_collate([dataset[i * len(dataset) // count]]) for i in range(count)]


def train_batch(cfg: Config, size: Sequence[int], real: bool, num_classes: int) -> dict:
    """A training batch of the config's size, loaded beforehand.

    Args:
        cfg (Config): Config of the run.
        size (Sequence[int]): Height and width in pixels.
        real (bool): Take images of the training set; else random ones with three objects each.
        num_classes (int): Classes of the random objects.

    Returns:
        dict: ``inputs`` and ``data_samples``.
    """
    batch_size = cfg.train_dataloader.batch_size
    if not real:
        return make_batch(batch_size, max(size), num_classes)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    return pseudo_collate([dataset[i % len(dataset)] for i in range(batch_size)])


def _train_task(cfg: Config, model: nn.Module, batch: dict) -> Callable[[], None]:
    options = dict(cfg.optim_wrapper)
    # weights stay what they are: any rate costs the same time
    options['optimizer'] = dict(options['optimizer'], lr=1e-8)
    wrapper = build_optim_wrapper(model, options)

    def run() -> None:
        model.train()
        model.train_step(batch, wrapper)

    return run


def _test_task(model: nn.Module, batches: Sequence[dict]) -> Callable[[], None]:
    stream = itertools.cycle(batches)

    def run() -> None:
        with torch.inference_mode():
            model.test_step(next(stream))

    return run


def _spread(times: Sequence[float]) -> dict[str, float]:
    p95 = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
    return dict(median=statistics.median(times), p95=p95)


def measure_cost(spec: Mapping[str, Any]) -> dict[str, dict]:
    """Measure size, arithmetic, latency and training speed of all detectors.

    Args:
        spec (Mapping): ``models`` (list of dict with ``name``, ``config`` and ``checkpoint``),
            ``latency_runs``, ``train_runs``, ``real_training_data`` and ``num_classes``.

    Returns:
        dict[str, dict]: For each name ``cost`` (``parameters``, ``madds``, None where it cannot be
            counted, ``checkpoint_mb`` of the weights alone, 1 MB = 10**6 bytes, and ``input_size``
            in pixels), ``latency_ms`` and ``training``, None for exported files.
    """
    loaded = [(m['name'], *load_detector(m['config'], m['checkpoint'])) for m in spec['models']]
    results: dict[str, dict] = {}
    latency_tasks, batches = [], {}
    for name, cfg, model in loaded:
        batches[name] = test_batches(cfg)
        results[name] = dict(cost=_size_of(model, batches[name][0]), training=None)
        latency_tasks.append(_test_task(model, batches[name]))
    times = time_interleaved(latency_tasks, spec['latency_runs'], warm_up=IMAGES)
    for (name, _, model), spent in zip(loaded, times, strict=True):
        results[name]['latency_ms'] = dict(
            **_spread(spent),
            runs=len(spent),
            batch=1,
            threads=torch.get_num_threads(),
            device=next(model.parameters()).device.type,
            nms=True,
            input_size=results[name]['cost']['input_size'],
            order='interleaved',
        )
    loaded = [entry for entry in loaded if not isinstance(entry[2], ExportedDetector)]
    if any(keeps_memory(cfg) for _, cfg, _ in loaded):
        keep_freed_memory()  # as their training does; one setting for all, since they take turns
    train_tasks, sizes = [], []
    for name, cfg, model in loaded:
        size = results[name]['cost']['input_size']
        batch = train_batch(cfg, size, spec['real_training_data'], spec['num_classes'])
        sizes.append(cfg.train_dataloader.batch_size)
        train_tasks.append(_train_task(cfg, model, batch))
    times = time_interleaved(train_tasks, spec['train_runs'])
    for (name, _, _), batch_size, spent in zip(loaded, sizes, times, strict=True):
        median = statistics.median(spent)
        results[name]['training'] = dict(
            images_per_second=1000 * batch_size / median,
            batch=batch_size,
            median_ms=median,
            runs=len(spent),
        )
    return results


def _size_of(model: nn.Module, batch: dict) -> dict[str, Any]:
    if isinstance(model, ExportedDetector):
        return exported_cost(model)
    size = tuple(model.data_preprocessor(batch, False)['inputs'].shape[-2:])
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    try:
        madds = count_madds(model, size)
    except Exception:  # a detector whose forward needs more than an image
        madds = None
    return dict(
        parameters=count_parameters(model),
        madds=madds,
        checkpoint_mb=len(buffer.getvalue()) / 1e6,
        input_size=list(size),
    )


def peak_memory_mb() -> float:
    """The most memory that this process has had so far.

    Returns:
        float: MB (10**6 bytes): of the GPU if there is one, else resident memory.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return _peak_resident_mb()


def _peak_resident_mb() -> float:
    # not getrusage: its maximum is inherited from the process that started this one
    with open('/proc/self/status', encoding='ascii') as file:
        line = next(line for line in file if line.startswith('VmHWM'))
    return int(line.split()[1]) * 1024 / 1e6


def measure_memory(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Measure the memory of one detector; to be called in a fresh process.

    Args:
        spec (Mapping): ``models`` with one entry, ``real_training_data`` and ``num_classes``.

    Returns:
        dict: ``inference`` (batch 1) and ``training`` (the config's batch, None for an exported
            file) in MB, and ``how``.
    """
    cfg, model = load_detector(spec['models'][0]['config'], spec['models'][0]['checkpoint'])
    batches = test_batches(cfg, 4)
    run = _test_task(model, batches)
    for _ in batches:
        run()
    inference = peak_memory_mb()
    if isinstance(model, ExportedDetector):
        how = (
            'peak resident memory of the process, libraries included, also PyTorch, which the '
            'file does not need'
        )
        return dict(inference=_peak_resident_mb(), training=None, how=how)
    size = model.data_preprocessor(batches[0], False)['inputs'].shape[-2:]
    batch = train_batch(cfg, size, spec['real_training_data'], spec['num_classes'])
    run = _train_task(cfg, model, batch)
    for _ in range(3):
        run()
    how = 'peak memory allocated on the GPU'
    if not torch.cuda.is_available():
        how = 'peak resident memory of the process, libraries included'
    return dict(inference=inference, training=peak_memory_mb(), how=how)


def main() -> None:
    """Measure what a file asks for and write the results to another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('spec', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--memory', action='store_true')
    args = parser.parse_args()
    die_with_parent()
    from mmengine.logging import MMLogger

    MMLogger.get_instance('cost', log_level='WARNING')
    spec = json.loads(args.spec.read_text())
    result = measure_memory(spec) if args.memory else measure_cost(spec)
    where = dict(machine=describe_machine(), finished=date.today().isoformat())
    write_json(dict(spec=spec, result=result, **where), args.out)


if __name__ == '__main__':
    main()
