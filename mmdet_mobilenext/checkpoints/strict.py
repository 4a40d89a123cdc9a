# SPDX-License-Identifier: Apache-2.0
"""Compare the keys of a checkpoint with those of a model, and say every difference.

mmengine loads with ``strict=False``: a key that does not match is a line in a long log, and the
layer stays as it was drawn. Here it is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmdet.models.backbones import ResNet
from mmengine.model import BaseTTAModel, PretrainedInit, is_model_wrapper
from mmengine.runner import CheckpointLoader, get_state_dict
from torch import nn

Shape = tuple[int, ...]


class CheckpointKeyError(ValueError):
    """Keys or shapes of a checkpoint and a model differ; the message lists all of them."""


@dataclass
class KeyReport:
    """Differences between the keys that a model has and those that a file has.

    Attributes:
        missing (list[str]): Keys of the model that the file lacks.
        unexpected (list[str]): Keys of the file that the model lacks.
        wrong_shape (list[tuple[str, tuple, tuple]]): Key, shape in the model, shape in the file.
        matched (int): Number of keys that are in both with the same shape.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    wrong_shape: list[tuple[str, Shape, Shape]] = field(default_factory=list)
    matched: int = 0

    @property
    def ok(self) -> bool:
        """bool: Whether there is no difference."""
        return not (self.missing or self.unexpected or self.wrong_shape)

    def describe(self) -> str:
        """List every difference, one key a line.

        Returns:
            str: The lists with their lengths, or an empty string if there is no difference.

        Example:
            >>> from mmdet_mobilenext.checkpoints.strict import KeyReport
            >>> print(KeyReport(missing=['conv.bias'], matched=3).describe())
            3 keys match
            1 missing (the model has it, the file does not):
              conv.bias
        """
        if self.ok:
            return ''
        shapes = [f'{key}: model {model}, file {file}' for key, model, file in self.wrong_shape]
        lines = [f'{self.matched} keys match']
        for title, keys in (
            ('missing (the model has it, the file does not)', self.missing),
            ('unexpected (the file has it, the model does not)', self.unexpected),
            ('with another shape', shapes),
        ):
            if keys:
                lines += [f'{len(keys)} {title}:', *(f'  {key}' for key in keys)]
        return '\n'.join(lines)

    def raise_if_bad(self, context: str) -> None:
        """Raise if there is a difference.

        Args:
            context (str): What was compared, such as ``'epoch_1.pth and the model'``.

        Raises:
            CheckpointKeyError: With the context and every key.

        Example:
            >>> from mmdet_mobilenext.checkpoints.strict import KeyReport
            >>> KeyReport().raise_if_bad('nothing')
        """
        if not self.ok:
            raise CheckpointKeyError(f'{context} do not match: {self.describe()}')


def unwrap_model(model: nn.Module) -> nn.Module:
    """Take a model out of distributed and test-time-augmentation wrappers.

    Args:
        model (nn.Module): Any model.

    Returns:
        nn.Module: The model whose keys a checkpoint has.

    Example:
        >>> from torch import nn
        >>> from mmdet_mobilenext.checkpoints.strict import unwrap_model
        >>> unwrap_model(nn.Linear(2, 3))
        Linear(in_features=2, out_features=3, bias=True)
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def compare_state_dicts(
    model_or_state_dict: nn.Module | Mapping[str, Any], state_dict: Mapping[str, Any]
) -> KeyReport:
    """Compare keys and shapes.

    As in mmengine, a missing ``num_batches_tracked`` of batch normalisation is no difference
    (checkpoints older than it lack it), and as in PyTorch a shape of ``(1,)`` fits a scalar.

    Args:
        model_or_state_dict (nn.Module | Mapping[str, Tensor]): What shall be filled.
        state_dict (Mapping[str, Tensor]): What it shall be filled with.

    Returns:
        KeyReport: All differences, in the order of the model and of the file.

    Example:
        >>> from torch import nn
        >>> from mmdet_mobilenext.checkpoints.strict import compare_state_dicts
        >>> compare_state_dicts(nn.Linear(2, 3), nn.Linear(2, 4).state_dict()).wrong_shape
        [('weight', (3, 2), (4, 2)), ('bias', (3,), (4,))]
    """
    ours = model_or_state_dict
    if isinstance(ours, nn.Module):
        ours = get_state_dict(unwrap_model(ours))
    report = KeyReport(unexpected=[key for key in state_dict if key not in ours])
    for key, value in ours.items():
        if key not in state_dict:
            if key.rsplit('.', 1)[-1] != 'num_batches_tracked':
                report.missing.append(key)
            continue
        shape, other = _shape(value), _shape(state_dict[key])
        if shape == other or (shape == () and other == (1,)):
            report.matched += 1
        else:
            report.wrong_shape.append((key, shape, other))
    return report


def _shape(value: Any) -> Shape:
    return tuple(getattr(value, 'shape', ()))


def weights_in_checkpoint(checkpoint: Any, filename: str) -> dict[str, Any]:
    """Find the weights that mmengine would load: under ``state_dict`` or at the top.

    Args:
        checkpoint (dict): A loaded checkpoint.
        filename (str): Its name, for the message.

    Returns:
        dict[str, Tensor]: Weights, without the ``module.`` that DataParallel puts before keys.

    Raises:
        CheckpointKeyError: If there are no weights in either place.

    Example:
        >>> import torch
        >>> from mmdet_mobilenext.checkpoints.strict import weights_in_checkpoint
        >>> list(weights_in_checkpoint({'module.bias': torch.zeros(1)}, 'model.pth'))
        ['bias']
    """
    weights = checkpoint
    if isinstance(checkpoint, Mapping) and 'state_dict' in checkpoint:
        weights = checkpoint['state_dict']
    if not isinstance(weights, Mapping) or not any(hasattr(v, 'shape') for v in weights.values()):
        has = ', '.join(map(str, weights)) if isinstance(weights, Mapping) else type(weights)
        raise CheckpointKeyError(
            f'{filename} has no weights at its top or under "state_dict"; it has '
            f'{has or "nothing"}. Convert a checkpoint of another project first, with '
            'tools/convert_checkpoint.py'
        )
    return {re.sub(r'^module\.', '', str(key)): value for key, value in weights.items()}


def ema_weights_in_checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Second set of weights that mmengine's ``EMAHook`` keeps in a checkpoint.

    Args:
        checkpoint (dict): A loaded checkpoint.

    Returns:
        dict[str, Tensor] | None: Weights with the keys of the model, or None without EMA.

    Example:
        >>> import torch
        >>> from mmdet_mobilenext.checkpoints.strict import ema_weights_in_checkpoint
        >>> ema = {'steps': torch.tensor(3), 'module.bias': torch.zeros(1)}
        >>> list(ema_weights_in_checkpoint({'ema_state_dict': ema}))
        ['bias']
    """
    weights = checkpoint.get('ema_state_dict')
    if weights is None:
        return None
    prefix = 'module.'  # keys without it (`steps`) are the averaging's own
    return {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}


def check_checkpoint_for_model(
    model: nn.Module, filename: str, allow_partial: bool = False
) -> KeyReport:
    """Check that a checkpoint fills a model, before it is loaded.

    Args:
        model (nn.Module): The model, wrapped or not.
        filename (str): Anything that ``load_from`` takes.
        allow_partial (bool): Whether to return the differences instead of raising, as long as one
            key fits. Defaults to False.

    Returns:
        KeyReport: Differences of ``state_dict`` (or of the top level of the file).

    Raises:
        CheckpointKeyError: If a key or shape differs, in the weights or in the ``EMAHook``'s.

    Example:
        >>> import os, tempfile, torch
        >>> from torch import nn
        >>> from mmdet_mobilenext.checkpoints.strict import check_checkpoint_for_model
        >>> path = os.path.join(tempfile.mkdtemp(), 'weights.pth')
        >>> torch.save(dict(state_dict=nn.Linear(2, 3).state_dict()), path)
        >>> check_checkpoint_for_model(nn.Linear(2, 3), path).matched
        2
    """
    checkpoint = CheckpointLoader.load_checkpoint(filename, 'cpu', logger='silent')
    report = compare_state_dicts(model, weights_in_checkpoint(checkpoint, filename))
    if not (allow_partial and report.matched):
        report.raise_if_bad(f'{filename} and {type(unwrap_model(model)).__name__}')
    ema = ema_weights_in_checkpoint(checkpoint)
    if ema is not None and not allow_partial:
        compare_state_dicts(model, ema).raise_if_bad(
            f'{filename} (ema_state_dict) and {type(unwrap_model(model)).__name__}'
        )
    return report


def check_pretrained_init(model: nn.Module) -> dict[str, KeyReport]:
    """Check every ``init_cfg=dict(type='Pretrained', ...)`` in a model, before it is used.

    Each file is read once. A key of the module that the file lacks, or that has another shape, is
    an error, and so is a key below the prefix that the module lacks, unless the module says that
    it may be there: through ``optional_pretrained_keys`` (a set of keys, or a method that returns
    one) or through ``is_optional_pretrained_key(key)``, without the prefix. An ImageNet
    classifier's last layer and the stages behind the last one in use are such keys. MMDetection's
    ResNet declares nothing: for it the ``fc`` of torchvision's classifiers may be there.

    Args:
        model (nn.Module): The model, wrapped or not, not yet initialised.

    Returns:
        dict[str, KeyReport]: What was compared, by the module's name and file; in its
        ``unexpected`` are the optional keys only. Empty if nothing is pretrained.

    Raises:
        CheckpointKeyError: With every difference of every module, or the prefixes that a file has
            if it has not the one that was asked for.

    Example:
        >>> import os, tempfile, torch
        >>> from mmengine.model import Sequential
        >>> from torch import nn
        >>> from mmdet_mobilenext.checkpoints.strict import check_pretrained_init
        >>> path = os.path.join(tempfile.mkdtemp(), 'weights.pth')
        >>> weights = {'backbone.0.weight': torch.ones(3, 2), 'backbone.0.bias': torch.ones(3)}
        >>> torch.save(weights, path)
        >>> model = Sequential(nn.Linear(2, 3), init_cfg=dict(
        ...     type='Pretrained', checkpoint=path, prefix='backbone.'))
        >>> [report.matched for report in check_pretrained_init(model).values()]
        [2]
    """
    files: dict[str, dict[str, Any]] = {}
    reports: dict[str, KeyReport] = {}
    problems: list[str] = []
    for name, module in unwrap_model(model).named_modules():
        for init in _pretrained_cfgs(module):
            filename, prefix = init['checkpoint'], init.get('prefix')
            if filename not in files:
                checkpoint = CheckpointLoader.load_checkpoint(filename, 'cpu', logger='silent')
                files[filename] = checkpoint
            label = f'{name or "the model"} ({type(module).__name__})'
            try:
                weights = _weights_for_init(files[filename], filename, prefix)
            except CheckpointKeyError as error:
                problems.append(f'{label}: {error}')
                continue
            report = compare_state_dicts(module, weights)
            bad = KeyReport(
                report.missing,
                _not_optional(module, report.unexpected),
                report.wrong_shape,
                report.matched,
            )
            reports[f'{name}: {filename}'] = report
            if not bad.ok:
                below = f' below {prefix!r}' if prefix else ''
                problems.append(f'{label} and {filename}{below} do not match: {bad.describe()}')
    if problems:
        raise CheckpointKeyError('Pretrained weights do not fit.\n' + '\n'.join(problems))
    return reports


def _pretrained_cfgs(module: nn.Module) -> list[dict]:
    """The ``Pretrained`` entries of mmengine's ``init_cfg``, which is a dict, a list or None."""
    init_cfg = getattr(module, 'init_cfg', None) or []
    init_cfgs = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg
    return [
        cfg
        for cfg in init_cfgs
        if isinstance(cfg, Mapping) and cfg.get('type') in ('Pretrained', PretrainedInit)
    ]


def _weights_for_init(checkpoint: Any, filename: str, prefix: str | None) -> dict[str, Any]:
    """The keys that mmengine's ``PretrainedInit`` takes; with a prefix it keeps ``module.``."""
    weights = weights_in_checkpoint(checkpoint, filename)
    if prefix is None:
        return weights
    kept = checkpoint.get('state_dict', checkpoint)
    prefix = prefix if prefix.endswith('.') else f'{prefix}.'
    below = {key[len(prefix) :]: kept[key] for key in kept if key.startswith(prefix)}
    if not below:
        found = ', '.join(_prefixes(kept))
        raise CheckpointKeyError(f'{filename} has no key below {prefix!r}; it has {found}')
    return below


def _prefixes(keys: Iterable[str]) -> list[str]:
    """First parts of keys, each once; the first two parts below ``module.``."""
    found: dict[str, None] = {}
    for key in keys:
        match = re.match(r'(module\.)?[^.]+(\.|$)', key)
        found[repr(match.group() if match else key)] = None
    return list(found)


def _not_optional(module: nn.Module, keys: list[str]) -> list[str]:
    """Those of the keys that a module does not declare as optional in a pretrained file."""
    if not keys:
        return keys
    test: Callable[[str], bool] | None = getattr(module, 'is_optional_pretrained_key', None)
    declared = getattr(module, 'optional_pretrained_keys', ())
    optional = set(declared() if callable(declared) else declared)
    if isinstance(module, ResNet):
        optional |= {'fc.weight', 'fc.bias'}
    return [key for key in keys if key not in optional and not (test and test(key))]
