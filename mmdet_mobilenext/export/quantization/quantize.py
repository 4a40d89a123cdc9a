# SPDX-License-Identifier: Apache-2.0
"""Quantise a file, measure what it costs, and write it if that is not too much."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from mmengine.config import Config

from mmdet_mobilenext.checksum import sha256_of
from mmdet_mobilenext.runtime import Detector, ModelSpec
from mmdet_mobilenext.work_folder import work_folder

from ..errors import ExportError
from ..export import check_target, put_in_place
from ..packages import check_packages
from .calibration import calibration_images
from .errors import AccuracyDropError
from .layers import Precisions
from .options import METHODS, QuantizationOptions
from .validation import Validation

__all__ = ['Quantized', 'quantize']


@dataclass(frozen=True)
class Quantized:
    """What was written.

    Attributes:
        path (Path): The file.
        record (dict): What its metadata say of the quantisation.
        num_convolutions (int): Of the file.
        notes (tuple[str, ...]): Warnings.
    """

    path: Path
    record: dict
    num_convolutions: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        before, after = (self.record['map'][key] for key in ('before', 'after'))
        kept = self.record['float_layers']
        lines = [
            *(f'warning: {note}' for note in self.notes),
            f'{self.num_convolutions - len(kept)} of {self.num_convolutions} convolutions in int8; '
            f'in float: {", ".join(kept) or "none of them"}; softmax, decoding and NMS always',
            f'mAP on the validation data: {before:.2f} before, {after:.2f} after, '
            f'{after - before:+.2f}',
            f'wrote {self.path}',
        ]
        return '\n'.join(lines)


def quantize(
    model: str | os.PathLike,
    cfg: Config,
    out: str | os.PathLike,
    options: QuantizationOptions | None = None,
    force: bool = False,
) -> Quantized:
    """Quantise an exported file after training.

    Ranges come from images of the training set, and mAP before and after from the validation data
    of the config. Nothing is written if the loss is larger than allowed, or if the work is
    interrupted.

    Args:
        model (str | PathLike): ``.onnx`` or ``.xml`` of ``tools/export.py``.
        cfg (Config): Config of the detector, see
            :func:`~mmdet_mobilenext.engine.config.load_config`.
        out (str | PathLike): File to write, of the same format.
        options (QuantizationOptions, optional): How. Defaults to its defaults.
        force (bool): Overwrite ``out``. Defaults to False.

    Returns:
        Quantized: What was written.

    Raises:
        AccuracyDropError: If the loss is larger than ``options.max_drop``.
        ExportError: For a file that cannot be quantised, options that do not fit it, or packages
            that are not installed.
        FileExistsError: If ``out`` is there, without ``force``.
        DataCheckError, FileNotFoundError, ImageError, ModelFileError, OptionError: Before any work.
    """
    options = options or QuantizationOptions()
    source = Path(model)
    path, file_format = check_target(out, None, force)
    _check_formats(source, path, file_format)
    check_packages(f'int8 in {file_format}', _PACKAGES[file_format])
    options.method_for(file_format), options.bias_correction_for(file_format)
    before_file = Detector(source)
    spec = before_file.spec
    if spec.precision != 'float32':
        raise ExportError(f'{source} is {spec.precision} already: give the file in float')
    images = calibration_images(cfg, before_file, options.num_images, options.seed)
    validation = Validation(cfg, source)
    if options.search and validation.is_test_set:
        raise ExportError(
            '--search chooses layers by their mAP, but the validation data of the config are its '
            'test data: give others with --cfg-options val_dataloader.dataset.ann_file=...'
        )
    with work_folder(path) as folder:
        work, target = folder / 'work', folder / 'out' / path.name
        work.mkdir(parents=True)
        target.parent.mkdir()
        quantization = _quantization(file_format)(source, work, images, options)
        if len(quantization.kept) == len(quantization.convolutions):
            raise ExportError(
                f'--keep-float {" ".join(options.keep_float)} keeps all '
                f'{len(quantization.kept)} convolutions in float: there is nothing to quantise'
            )

        def measure(file: Path) -> float:
            return validation(Detector(file, threads=validation.threads))

        before = measure(source)
        draft = replace(spec, precision='int8')
        if not options.search:
            quantization.write(target, draft)
        elif file_format == 'onnx':
            quantization.search(target, draft, lambda f: before - measure(f), options.max_drop)
        else:
            quantization.search(target, draft, validation, options.max_drop)
        after = measure(target)
        found = quantization.precisions(target)
        warnings = list(_notes(before, after, options, validation))
        if len(images.paths) < options.num_images:
            warnings.append(f'the training set has {len(images.paths)} images, and no more')
        record = dict(
            format='int8, per-channel weights',
            calibration=dict(
                images=len(images.paths),
                set=images.source,
                method=options.method_for(file_format),
                seed=options.seed,
            ),
            bias_correction=options.bias_correction_for(file_format),
            searched=options.search,
            float_layers=list(found.float32),
            map=dict(before=round(before, 4), after=round(after, 4)),
            max_drop=options.max_drop,
            float_sha256=sha256_of(source),
            quantized=datetime.now(timezone.utc).isoformat(timespec='seconds'),
            versions={name: version(name) for name in _PACKAGES[file_format]},
        )
        if file_format == 'openvino':
            record['float_bin_sha256'] = sha256_of(source.with_suffix('.bin'))
        if warnings:
            record['warnings'] = warnings
        _guard(source, before, after, found, options)
        _set_metadata(
            target,
            replace(draft, provenance={**spec.provenance, 'quantization': record}),
            file_format,
        )
        put_in_place(target, path)
    notes = (*validation.notes, *warnings)
    return Quantized(path, record, len(quantization.convolutions), notes)


_PACKAGES = dict(onnx=('onnx', 'onnxruntime'), openvino=('openvino', 'nncf'))


def _check_formats(source: Path, path: Path, file_format: str) -> None:
    if file_format not in METHODS or source.suffix.lower() != path.suffix:
        raise ExportError(
            f'{source} cannot be quantised to {path}: .onnx files are by ONNX Runtime and .xml '
            'files by NNCF, each to a file of its own format'
        )
    if path.exists() and source.exists() and path.samefile(source):
        raise ExportError(f'{path} is the file in float itself: give another name for OUT')


def _quantization(file_format: str) -> type:
    """Imported late: these packages are needed here alone."""
    if file_format == 'onnx':
        from .onnx_int8 import OnnxQuantization

        return OnnxQuantization
    from .openvino_int8 import OpenVinoQuantization

    return OpenVinoQuantization


def _set_metadata(path: Path, spec: ModelSpec, file_format: str) -> None:
    if file_format == 'onnx':
        from ..onnx_file import add_metadata

        add_metadata(path, spec)
        return
    from mmdet_mobilenext.runtime.openvino_core import shared_core

    from ..openvino_file import save_openvino

    model = shared_core().read_model(str(path))
    final = path.with_name(f'final.{path.name}')
    save_openvino(model, spec, final)
    del model  # it has the weights' file open
    os.replace(final.with_suffix('.bin'), path.with_suffix('.bin'))
    os.replace(final, path)


def _notes(
    before: float, after: float, options: QuantizationOptions, validation: Validation
) -> Iterator[str]:
    if validation.is_test_set:
        yield (
            'the validation data of the config are its test data: do not choose options by these '
            'numbers'
        )
    if not before - after <= options.max_drop:
        yield (
            f'the loss of {before - after:.2f} points is larger than the {options.max_drop:g} '
            'that are allowed'
        )


def _guard(
    source: Path, before: float, after: float, found: Precisions, options: QuantizationOptions
) -> None:
    if options.allow_drop:
        return
    if not before > 0:
        raise AccuracyDropError(
            f'{source} has mAP {before:.2f} on the validation data: there is no loss to be '
            'measured. Nothing was written; --allow-drop writes it all the same'
        )
    if not before - after <= options.max_drop:
        hints = ['another --method', 'more --images', '--keep-float NAME for convolutions']
        if not options.search:
            hints.append('--search, which finds such convolutions')
        raise AccuracyDropError(
            f'int8 costs {before - after:.2f} points of mAP ({before:.2f} before, {after:.2f} '
            f'after), more than the {options.max_drop:g} of --max-drop, with {len(found.int8)} '
            f'convolutions in int8. Nothing was written; try {", ".join(hints)}; --allow-drop '
            'writes it all the same'
        )
