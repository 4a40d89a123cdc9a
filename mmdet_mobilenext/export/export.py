# SPDX-License-Identifier: Apache-2.0
"""From a config and a checkpoint to a file that runs without PyTorch: ``tools/export.py``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mmdet_mobilenext.engine.config import load_config
from mmdet_mobilenext.engine.model_checks import build_model, load_weights
from mmdet_mobilenext.engine.train import check_load_from
from mmdet_mobilenext.runtime.backends import COMPANIONS, model_files
from mmdet_mobilenext.runtime.spec import COLORS, ModelSpec
from mmdet_mobilenext.work_folder import work_folder

from .errors import ExportError
from .network import DeployableDetector, check_exportable
from .packages import PACKAGES, check_packages
from .provenance import provenance
from .self_check import check_export
from .settings import (
    check_nms_pre,
    class_names,
    input_size,
    resize_priors,
    selection,
)

__all__ = ['FORMATS', 'Deployable', 'deployable', 'export']

FORMATS = {'onnx': '.onnx', 'openvino': '.xml', 'ncnn': '.param'}
"""Formats and the suffixes of their files."""


@dataclass(frozen=True)
class Deployable:
    """A detector that is ready to be written in any format.

    Attributes:
        network (DeployableDetector): From pixels to boxes and scores.
        spec (ModelSpec): What the file will say of itself, thresholds among it.
    """

    network: DeployableDetector
    spec: ModelSpec


def deployable(
    config: str,
    checkpoint: str,
    size: tuple[int, int] | None = None,
    color: str = 'bgr',
    kind: str = 'detections',
    batch: int | None = 1,
    classes: Sequence[str] | None = None,
    score_thr: float | None = None,
    cfg_options: Mapping | None = None,
) -> Deployable:
    """Load a detector and make it one function of images.

    Args:
        config (str): Config file, or ``package::file``.
        checkpoint (str): Weights, which must match key by key.
        size (tuple[int, int], optional): Width and height of the input in pixels. Defaults to that
            of the test pipeline, which the detector was trained for.
        color (str): Order of the input's channels. Defaults to ``'bgr'``, as OpenCV reads.
        kind (str): ``'detections'`` or ``'raw'``. Defaults to ``'detections'``.
        batch (int, optional): Images of a run, None for any number. Defaults to 1.
        classes (Sequence[str], optional): Names, if neither checkpoint nor data set has them.
        score_thr (float, optional): Instead of the config's.
        cfg_options (Mapping, optional): Overrides of the config.

    Returns:
        Deployable: The detector.

    Raises:
        ExportError: If the detector is of an unknown kind or asks for what a file cannot do.
        CheckpointKeyError, FileNotFoundError, OptionError: Before any work.
    """
    if color not in COLORS:
        raise ExportError(f'the order of channels must be one of {COLORS}, but received {color!r}')
    if batch is not None and batch < 1:
        raise ExportError(f'--batch must be at least 1, but received {batch}')
    if score_thr is not None and not 0 <= score_thr < 1:
        raise ExportError(f'--score-thr must be in [0, 1), but received {score_thr}')
    cfg = load_config(config, cfg_options)
    check_load_from(checkpoint)
    model = build_model(cfg)
    check_exportable(model)
    trained_size, chosen = input_size(cfg), selection(cfg)
    if score_thr is not None:
        chosen = replace(chosen, score_thr=score_thr)
    meta = load_weights(model, checkpoint).get('meta')
    size = tuple(size or trained_size)
    divisor = model.data_preprocessor.pad_size_divisor
    if min(size) < 1 or any(side % divisor for side in size):
        raise ExportError(
            f'the size must be positive multiples of {divisor}, which the config pads to, but '
            f'received {size[0]}x{size[1]}'
        )
    if size != trained_size:
        with torch.no_grad():
            levels = model.extract_feat(torch.zeros(1, 3, size[1], size[0]))
        resize_priors(model.bbox_head, cfg, size, [tuple(x.shape[-2:]) for x in levels])
    network = DeployableDetector(model, size, color).eval()
    check_nms_pre(cfg, max(network.level_priors) * network.num_classes)
    names = tuple(classes) if classes else class_names(cfg, meta, network.num_classes)
    if len(names) != network.num_classes:
        raise ExportError(
            f'--classes has {len(names)} names, but the head has {network.num_classes} classes'
        )
    origin = provenance(cfg, config, checkpoint, meta)
    if size != trained_size:
        origin['trained_size'] = list(trained_size)
    spec = ModelSpec(
        names,
        size,
        color,
        kind,
        chosen.score_thr,
        chosen.iou_thr,
        min(chosen.max_per_img, len(network.priors) * network.num_classes),
        batch,
        provenance=origin,
    )
    return Deployable(network, spec)


def export(
    config: str,
    checkpoint: str,
    out: str | os.PathLike,
    file_format: str | None = None,
    with_nms: bool = True,
    force: bool = False,
    **options: object,
) -> Path:
    """Export a detector, and compare the file with PyTorch before it gets its name.

    Args:
        config (str): Config file, or ``package::file``.
        checkpoint (str): Weights, which must match key by key.
        out (str | PathLike): File to write.
        file_format (str, optional): Of :data:`FORMATS`. Defaults to what the suffix of ``out``
            stands for.
        with_nms (bool): With NMS inside; ncnn has no such operator, and NMS is the runtime's work.
            Defaults to True.
        force (bool): Overwrite ``out``. Defaults to False.
        **options: See :func:`deployable`.

    Returns:
        Path: The file.

    Raises:
        ExportError: See :func:`deployable`; for a suffix that does not fit; if the file computes
            something else than PyTorch.
        FileExistsError: If ``out`` is there, without ``force``.
    """
    path, file_format = check_target(out, file_format, force)
    check_packages(file_format, PACKAGES[file_format])
    kind = 'detections' if with_nms and file_format != 'ncnn' else 'raw'
    if file_format == 'ncnn' and options.get('batch', 1) != 1:
        raise ExportError('ncnn runs one image at a time: leave --dynamic-batch and --batch away')
    ready = deployable(config, checkpoint, kind=kind, **options)
    return write(ready, path, file_format)


def check_target(out: str | os.PathLike, file_format: str | None, force: bool) -> tuple[Path, str]:
    """Find the format of a file to write, and whether it may be written.

    Args:
        out (str | PathLike): File to write.
        file_format (str, optional): Of :data:`FORMATS`.
        force (bool): Whether it may exist.

    Returns:
        tuple[Path, str]: File and format.

    Raises:
        ExportError: If format and suffix do not fit.
        FileExistsError: If it, or one that is written beside it, is there, without ``force``; if it
            is a folder; if the weights beside it are those of a file of another format.

    Example:
        >>> check_target('work/small.v2', 'openvino', force=False)
        (PosixPath('work/small.v2.xml'), 'openvino')
    """
    path = Path(out)
    by_suffix = {suffix: name for name, suffix in FORMATS.items()}
    found = by_suffix.get(path.suffix.lower())
    wanted = file_format or found
    if wanted not in FORMATS or found not in (wanted, None):
        raise ExportError(
            f'{path} does not fit {file_format or "any format"}: the file must end in '
            + ', '.join(f'{suffix} ({name})' for name, suffix in FORMATS.items())
        )
    suffix = FORMATS[wanted]
    path = path.with_suffix(suffix) if found else Path(f'{path}{suffix}')
    for name in FORMATS.keys() - {wanted}:
        other = path.with_suffix(FORMATS[name])
        for beside in set(COMPANIONS[FORMATS[name]]) & set(COMPANIONS[suffix]):
            if other.exists() and path.with_suffix(beside).exists():
                raise FileExistsError(
                    f'{path.with_suffix(beside)} belongs to {other}: give another name'
                )
    for file in model_files(path):
        if file.is_dir():
            raise FileExistsError(f'{file} is a folder: give another name')
        if file.exists() and not force:
            raise FileExistsError(f'{file} exists: --force overwrites it')
    return path, wanted


def write(ready: Deployable, path: Path, file_format: str) -> Path:
    """Write a detector in a format, check it and move it to its place.

    Args:
        ready (Deployable): The detector.
        path (Path): File to write.
        file_format (str): Of :data:`FORMATS`.

    Returns:
        Path: The file.

    Raises:
        ExportError: If it computes something else than PyTorch, or a package is missing.
    """
    from .onnx_file import write_onnx
    from .selection import WithSelection

    with work_folder(path) as folder:
        folder.mkdir()
        target = folder / path.name
        if file_format == 'ncnn':
            from .ncnn_file import write_ncnn

            write_ncnn(ready.network, ready.spec, target)
        else:
            network = ready.network
            if ready.spec.kind == 'detections':
                network = WithSelection(
                    network, ready.spec.score_thr, ready.spec.iou_thr, ready.spec.max_per_img
                )
            width, height = ready.spec.size
            images = torch.zeros(ready.spec.batch or 1, height, width, 3, dtype=torch.uint8)
            onnx_path = target.with_suffix('.onnx')
            write_onnx(network, images, ready.spec, onnx_path)
            if file_format == 'openvino':
                from .openvino_file import write_openvino

                write_openvino(onnx_path, ready.spec, target)
                onnx_path.unlink()
        check_export(target, ready.network, ready.spec)
        put_in_place(target, path)
    return path


def put_in_place(written: Path, path: Path) -> None:
    """Move a file and those beside it to their places, so that a kill leaves no mixed model.

    Args:
        written (Path): The file, in a folder with its companions alone.
        path (Path): Where it goes, in the same file system.
    """
    parts = sorted(written.parent.iterdir(), key=lambda p: p == written)
    # the file with the name last, and none of before: an old one with new weights would run
    if len(parts) > 1:
        path.unlink(missing_ok=True)
    for part in parts:
        os.replace(part, path.parent / part.name)
