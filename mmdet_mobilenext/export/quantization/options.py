# SPDX-License-Identifier: Apache-2.0
"""How a file is quantised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..errors import ExportError

__all__ = ['METHODS', 'QuantizationOptions', 'matching']

METHODS = {
    'onnx': ('minmax', 'percentile', 'entropy'),
    'openvino': ('minmax', 'mean_minmax', 'mean_quantile', 'histogram'),
}
"""How the ranges of activations are found in calibration, by format; the first is the default."""
BIAS_CORRECTIONS = ('fast', 'full', 'none')


@dataclass(frozen=True)
class QuantizationOptions:
    """How a file is quantised.

    Args:
        num_images (int): Images of the training set that ranges are taken from. Defaults to 300.
        method (str, optional): Of :data:`METHODS`. Defaults to ``'minmax'``: averages over images
            clip the inputs of depthwise convolutions, channel by channel.
        bias_correction (str, optional): ``'fast'``, ``'full'`` or ``'none'``. Defaults to
            ``'fast'`` with NNCF, and ONNX Runtime has none.
        keep_float (Sequence[str]): Convolutions that stay in float, by name, with ``*`` and ``?``.
            Defaults to none.
        search (bool): Find which convolutions must stay in float for the loss to be at most
            ``max_drop``. Defaults to False.
        max_drop (float): Largest loss in points of mAP, 0..100. Defaults to 1.0.
        allow_drop (bool): Write the file also if it loses more. Defaults to False.
        seed (int): Of the choice of images. Defaults to 0.

    Raises:
        ExportError: For a value that cannot be.

    Example:
        >>> QuantizationOptions(num_images=0)
        Traceback (most recent call last):
        ...
        mmdet_mobilenext.export.errors.ExportError: the number of images for calibration must be \
at least 1, but received 0
    """

    num_images: int = 300
    method: str | None = None
    bias_correction: str | None = None
    keep_float: Sequence[str] = ()
    search: bool = False
    max_drop: float = 1.0
    allow_drop: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        if self.num_images < 1:
            raise ExportError(
                'the number of images for calibration must be at least 1, but received '
                f'{self.num_images}'
            )
        if self.bias_correction not in (None, *BIAS_CORRECTIONS):
            raise ExportError(
                f'bias correction must be one of {BIAS_CORRECTIONS}, but received '
                f'{self.bias_correction!r}'
            )
        if self.seed < 0:
            raise ExportError(f'the seed must be at least 0, but received {self.seed}')
        if not 0 <= self.max_drop <= 100:
            raise ExportError(
                f'the largest loss must be 0..100 points of mAP, but received {self.max_drop}'
            )

    def bias_correction_for(self, file_format: str) -> str:
        """The correction of biases.

        Args:
            file_format (str): ``'onnx'`` or ``'openvino'``.

        Returns:
            str: ``'fast'``, ``'full'`` or ``'none'``.

        Raises:
            ExportError: If the format does not have it.
        """
        if file_format == 'openvino':
            return self.bias_correction or 'fast'
        if self.bias_correction in ('fast', 'full'):
            raise ExportError(
                f'{file_format} files have no bias correction, but received '
                f'{self.bias_correction!r}: leave --bias-correction away, or quantise an .xml file'
            )
        return 'none'

    def method_for(self, file_format: str) -> str:
        """The method of calibration.

        Args:
            file_format (str): ``'onnx'`` or ``'openvino'``.

        Returns:
            str: Of :data:`METHODS`.

        Raises:
            ExportError: If the format does not have it.
        """
        known = METHODS[file_format]
        if self.method is None:
            return known[0]
        if self.method not in known:
            raise ExportError(
                f'{file_format} files are calibrated with one of {known}, but received '
                f'{self.method!r}'
            )
        return self.method


def matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Names that patterns stand for.

    Args:
        names (Sequence[str]): Of all convolutions of a file.
        patterns (Sequence[str]): With ``*`` and ``?``.

    Returns:
        list[str]: In the order of ``names``.

    Raises:
        ExportError: If a pattern stands for none.

    Example:
        >>> matching(['backbone.conv1.conv', 'head.cls_convs.0.1'], ['head.*'])
        ['head.cls_convs.0.1']
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ExportError(
                f'no convolution is called {pattern!r}; there are ' + ', '.join(sorted(names))
            )
    return [name for name in names if any(fnmatchcase(name, p) for p in patterns)]
