# SPDX-License-Identifier: Apache-2.0
"""One line at the start of a run that says what is going to happen."""

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from .complexity import count_madds, count_parameters
from .initial_weights import describe_initial_weights

__all__ = ['RunHeaderHook', 'effective_batch_size', 'input_shape_of']


def effective_batch_size(runner: Runner) -> int:
    """Images per optimizer step, over all processes and accumulated steps.

    Args:
        runner (Runner): A runner with a built train loop.

    Returns:
        int: Images.
    """
    loader = runner.train_dataloader
    # a batch sampler, such as AspectRatioBatchSampler, has it instead of the loader
    batch_size = loader.batch_size or loader.batch_sampler.batch_size
    accumulated = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    return batch_size * runner.world_size * accumulated


def input_shape_of(pipeline: list) -> tuple[int, int] | None:
    """Height and width in pixels that a pipeline resizes to.

    Args:
        pipeline (list): Transform configs.

    Returns:
        tuple[int, int] | None: None if there is neither ``Resize`` nor ``CenterCrop``.

    Example:
        >>> input_shape_of([dict(type='Resize', scale=(320, 240))])
        (240, 320)
    """
    for transform in pipeline:
        if transform.get('type') == 'Resize' and 'scale' in transform:
            scale = transform['scale']
            return (scale, scale) if isinstance(scale, int) else (scale[1], scale[0])
        if transform.get('type') == 'CenterCrop':  # of a classifier
            size = transform['crop_size']
            return (size, size) if isinstance(size, int) else tuple(size)
        if transform.get('type') == 'FusedSSDAugment':
            return input_shape_of(transform['transforms'])
    return None


@HOOKS.register_module(force=True)
class RunHeaderHook(Hook):
    """Log data set sizes, device, parameters, multiply-adds, effective batch,
    learning rate, epochs and what it starts from in one line, before training or testing.

    Example:
        >>> RunHeaderHook().priority
        'LOW'
    """

    priority = 'LOW'

    def before_train(self, runner: Runner) -> None:
        """Log the line for a training run."""
        images = len(runner.train_dataloader.dataset)
        batch_size = effective_batch_size(runner)
        lr = next(iter(runner.optim_wrapper.get_lr().values()))[0]
        groups = runner.optim_wrapper.param_groups
        if isinstance(groups, dict):  # of several optimizers, the first
            groups = next(iter(groups.values()))
        base_lr = groups[0].get('initial_lr', lr)
        parts = [f'train {images:,} images']
        if runner.val_loop is not None:
            parts.append(f'val {len(runner.val_dataloader.dataset):,} images')
        parts += [*self._model_parts(runner), f'batch {batch_size}', f'lr {base_lr:g}']
        iterations = runner.max_iters
        parts.append(f'{iterations:,} iterations = {iterations * batch_size / images:.1f} epochs')
        parts.append(describe_initial_weights(runner))
        runner.logger.info(' | '.join(parts))

    def before_test(self, runner: Runner) -> None:
        """Log the line for a test run."""
        images = len(runner.test_dataloader.dataset)
        runner.logger.info(' | '.join([f'test {images:,} images', *self._model_parts(runner)]))

    def _model_parts(self, runner: Runner) -> list:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model = getattr(model, 'module', model)  # test-time augmentation
        if hasattr(model, 'describe'):  # an exported file
            return model.describe()
        device = next(model.parameters()).device
        if device.type == 'cuda':
            name = torch.cuda.get_device_name(device)
        else:
            name = f'{device.type}, {torch.get_num_threads()} threads'
        if runner.world_size > 1:
            name = f'{runner.world_size} x {name}'
        parts = [name, f'{count_parameters(model) / 1e6:.3f} M parameters']
        dataset = runner.cfg.get('test_dataloader') or runner.cfg.get('val_dataloader') or {}
        shape = input_shape_of(dataset.get('dataset', {}).get('pipeline', []))
        if shape is not None:
            try:
                madds = count_madds(model, shape)
            except Exception as error:  # a detector whose forward needs more than an image
                parts.append(f'multiply-adds not counted ({type(error).__name__}: {error})')
            else:
                parts.append(f'{madds / 1e6:.1f} M multiply-adds at {shape[1]}x{shape[0]}')
        return parts
