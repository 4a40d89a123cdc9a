# SPDX-License-Identifier: Apache-2.0
"""Hook that refuses a checkpoint whose keys are not the model's."""

from __future__ import annotations

import logging

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner

from mmdet_mobilenext.checkpoints.strict import (
    CheckpointKeyError,
    check_pretrained_init,
    compare_state_dicts,
    ema_weights_in_checkpoint,
    unwrap_model,
    weights_in_checkpoint,
)


@HOOKS.register_module(force=True)
class StrictLoadHook(Hook):
    """Stop if a checkpoint does not fill the model exactly.

    mmengine calls it after a checkpoint is read and before its weights are copied, for
    ``load_from``, ``--resume``, validation and testing.

    Args:
        allow_partial (bool): Whether a training may start from a checkpoint that fills the model
            in part, for example one trained on other classes. The keys that stay as initialised
            are then logged, all of them. Resuming and testing are strict all the same.
            Defaults to False.

    Raises:
        CheckpointKeyError: While loading, with every key that is missing, unexpected or of
            another shape.

    Example:
        >>> from mmdet_mobilenext.engine.strict_load_hook import StrictLoadHook
        >>> custom_hooks = [dict(type='StrictLoadHook', allow_partial=False)]
        >>> StrictLoadHook(allow_partial=True).allow_partial
        True
    """

    priority = 'VERY_HIGH'  # before EMAHook exchanges the two sets of weights

    def __init__(self, allow_partial: bool = False) -> None:
        self.allow_partial = allow_partial

    def before_run(self, runner: Runner) -> None:
        """Check the ``Pretrained`` parts of the model, whose weights mmengine loads next.

        Args:
            runner (Runner): The runner that starts to train.

        Raises:
            CheckpointKeyError: If one of the files does not fill its module.
        """
        if isinstance(runner._train_loop, BaseLoop):
            check_pretrained_init(unwrap_model(runner.model))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare a checkpoint with ``runner.model``.

        Args:
            runner (Runner): The runner that loads.
            checkpoint (dict): What it has read.

        Raises:
            CheckpointKeyError: If they differ, and that is not allowed.
        """
        model = unwrap_model(runner.model)
        name = type(model).__name__
        report = compare_state_dicts(model, weights_in_checkpoint(checkpoint, 'The checkpoint'))
        # the loop is built only by the call that trains
        starts_training = isinstance(runner._train_loop, BaseLoop) and not runner._resume
        if self.allow_partial and starts_training:
            if not report.matched:
                raise CheckpointKeyError(
                    f'No key of the checkpoint fits {name}, so loading it would do nothing: '
                    f'{report.describe()}'
                )
            if not report.ok:
                kept = report.missing + [key for key, _, _ in report.wrong_shape]
                print_log(
                    f'{len(kept)} keys of {name} stay as initialised (allow_partial=True):\n  '
                    + '\n  '.join(kept)
                    + f'\nAll differences: {report.describe()}',
                    logger='current',
                    level=logging.WARNING,
                )
            return
        advice = ''
        if starts_training:
            advice = (
                '\nTo start from the keys that fit, for example with other classes, pass '
                '--allow-partial, or set allow_partial=True of the StrictLoadHook in custom_hooks'
            )
        try:
            report.raise_if_bad(f'The checkpoint and {name}')
            ema = ema_weights_in_checkpoint(checkpoint)
            if ema is not None and runner._resume:
                compare_state_dicts(model, ema).raise_if_bad(
                    f'The ema_state_dict of the checkpoint and {name}'
                )
        except CheckpointKeyError as error:
            raise CheckpointKeyError(f'{error}{advice}') from None
