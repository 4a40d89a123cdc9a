# SPDX-License-Identifier: Apache-2.0
"""Parameters, multiply-adds and activations of each module, and the memory that they add up to."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from mmdet_mobilenext.benchmark.speed.batches import make_batch
from mmdet_mobilenext.engine.complexity import count_parameters
from mmdet_mobilenext.engine.environment import OptionError

__all__ = ['Costs', 'ModuleCost', 'PeakMemory', 'costs_of', 'peak_memory']

TRAINING_IMAGES = 2
"""Images of the training step: batch norm needs two where a level has a single cell."""
REST = '(between modules)'
SUMMED = ('parameters', 'madds', 'saved')


@dataclass
class ModuleCost:
    """What a module takes with all modules in it, for one image.

    Attributes:
        name (str): As in ``named_modules``.
        kind (str): Class.
        parameters (int): Scalars.
        madds (int): Multiply-adds of convolutions and linear layers.
        saved (int): Bytes that are kept for the backward pass.
        output (tuple[int, ...]): Shape of the last output, without the batch; empty if it is no
            tensor.
        is_leaf (bool): Whether there is no module in it.
    """

    name: str
    kind: str = ''
    parameters: int = 0
    madds: int = 0
    saved: int = 0
    output: tuple[int, ...] = ()
    is_leaf: bool = True


@dataclass(frozen=True)
class Costs:
    """Costs of a model.

    Attributes:
        modules (tuple[ModuleCost, ...]): In the order of ``named_modules``, without the model.
        parameters (int): Of the whole model.
        madds (int): Of the whole model and one image.
        saved (int): Bytes kept for backward of one image; 0 if training was not looked at.
        size (tuple[int, int]): Height and width of the input in pixels.
    """

    modules: tuple[ModuleCost, ...]
    parameters: int
    madds: int
    saved: int
    size: tuple[int, int]

    def at_depth(self, depth: int | None = None) -> list[ModuleCost]:
        """Modules that share nothing, so that they add up to the model.

        Args:
            depth (int, optional): 1 for backbone, neck and head, 2 for what is in them, and so
                on; modules above it that have none in them are there too. Defaults to None, the
                innermost ones.

        Returns:
            list[ModuleCost]: In the order of the model; what no such module does is
            ``'(between modules)'``, the last one.
        """

        def wanted(module: ModuleCost) -> bool:
            level = module.name.count('.') + 1
            return level == depth or (module.is_leaf and (depth is None or level < depth))

        chosen = [module for module in self.modules if wanted(module)]
        rest = ModuleCost(
            REST,
            parameters=self.parameters - sum(module.parameters for module in chosen),
            madds=self.madds - sum(module.madds for module in chosen),
            saved=self.saved - sum(module.saved for module in chosen),
        )
        return [*chosen, *([rest] if rest.parameters or rest.madds or rest.saved else [])]


class _Recorder:
    """Gives what happens in a module, but not in the modules that it calls, to it.

    Args:
        model (nn.Module): Its modules are watched.
    """

    def __init__(self, model: nn.Module) -> None:
        self.counter: FlopCounterMode | None = None
        self.own = {
            name: ModuleCost(
                name,
                type(module).__name__,
                sum(p.numel() for p in module.parameters(recurse=False)),
                is_leaf=not any(True for _ in module.children()),
            )
            for name, module in model.named_modules()
        }
        self._modules = dict(model.named_modules())
        self._running = ['']
        self._counted = 0

    @property
    def running(self) -> ModuleCost:
        """ModuleCost: The innermost module that is running, '' for the model."""
        return self.own[self._running[-1]]

    def _settle(self) -> None:
        """Give what was counted since the last time to the module that was running."""
        if self.counter is not None:
            flops = self.counter.get_total_flops()
            self.running.madds += (flops - self._counted) // 2
            self._counted = flops

    def _before(self, name: str) -> None:
        self._settle()
        self._running.append(name)

    def _after(self, name: str, output: object) -> None:
        self._settle()
        self._running.pop()
        if self.counter is not None and isinstance(output, Tensor):
            self.own[name].output = tuple(output.shape[1:])

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Watch all modules while the block runs."""
        handles = []
        for name, module in self._modules.items():
            if name:
                handles += [
                    module.register_forward_pre_hook(lambda m, i, n=name: self._before(n)),
                    module.register_forward_hook(lambda m, i, o, n=name: self._after(n, o)),
                ]
        try:
            yield
            self._settle()
        finally:
            for handle in handles:
                handle.remove()

    def totals(self) -> tuple[ModuleCost, ...]:
        """Each module with all modules in it."""
        found = []
        for name, own in self.own.items():
            inside = [c for n, c in self.own.items() if n == name or n.startswith(f'{name}.')]
            if name:
                sums = {k: sum(getattr(c, k) for c in inside) for k in SUMMED}
                found.append(replace(own, **sums))
        return tuple(found)


def costs_of(model: nn.Module, size: tuple[int, int], training: bool = True) -> Costs:
    """Count what each module of a model takes.

    Multiply-adds are those of :func:`~mmdet_mobilenext.engine.complexity.count_madds`
    (convolutions and linear layers, without norms, activations and biases), module by module. Bytes
    for backward are those of the tensors that autograd saves in a training step of two images
    with three objects each, halved; a tensor that several modules save counts for the first, and
    weights do not count.

    Args:
        model (nn.Module): A detector, or with ``training=False`` any module of one image.
        size (tuple[int, int]): Height and width of the input in pixels.
        training (bool): Whether to look at a training step. Defaults to True.

    Returns:
        Costs: Of all modules.

    Raises:
        OptionError: If the model needs more than an image, as detectors of two stages do, or its
            priors are made for another size.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())
        >>> costs = costs_of(net, (10, 10), training=False)
        >>> [(m.name, m.parameters, m.madds, m.output) for m in costs.modules]
        [('0', 32, 2400, (8, 10, 10)), ('1', 0, 0, (8, 10, 10))]
    """
    recorder = _Recorder(model)
    was_training = model.training
    model.eval()
    parameter = next(model.parameters())
    image = torch.zeros(1, 3, *size, device=parameter.device, dtype=parameter.dtype)
    forward = model._forward if hasattr(model, '_forward') else model
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as recorder.counter, recorder.watch():
            try:
                forward(image)
            except TypeError as error:
                raise OptionError(
                    f'{type(model).__name__} does not run on an image alone: {error}'
                ) from error
        madds = recorder.counter.get_total_flops() // 2
        recorder.counter = None
        saved = _saved_bytes(model, recorder, size) if training else 0
    finally:
        model.train(was_training)
    return Costs(recorder.totals(), count_parameters(model), madds, saved, size)


@contextlib.contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Leave running statistics of norms as they were."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])


def _training_losses(model: nn.Module, size: tuple[int, int]) -> dict[str, Tensor]:
    """Losses of a made-up batch."""
    batch = make_batch(TRAINING_IMAGES, size, num_classes=1)
    # as in a test: augmentation of batches, such as that of YOLOX, would change the size
    batch = model.data_preprocessor(batch, False)
    try:
        # through the model itself: MemTracker refuses modules without a parent that run twice
        return model(**batch, mode='loss')
    except ValueError as error:  # such as priors that are made for another size
        raise OptionError(
            f'{type(model).__name__} makes no training step of {size[1]}x{size[0]} (width x '
            f'height): {error}'
        ) from error


def _saved_bytes(model: nn.Module, recorder: _Recorder, size: tuple[int, int]) -> int:
    """Bytes of one image that autograd saves, given to the modules that are running."""
    weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: list[Tensor] = []  # alive, so that no address is used twice
    seen: set[int] = set()
    total = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        if address not in weights and address not in seen:
            seen.add(address)
            kept.append(tensor)
            total += storage.nbytes()
            recorder.running.saved += storage.nbytes() // TRAINING_IMAGES
        return tensor

    model.train()
    with _buffers_kept(model), recorder.watch():
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            _training_losses(model, size)
    return total // TRAINING_IMAGES


@dataclass(frozen=True)
class PeakMemory:
    """Estimated peak of the memory of tensors, in bytes.

    The libraries, the data loader and what an allocator wastes come on top.

    Attributes:
        weights (int): Parameters and buffers.
        inference (int): What else there is at the peak of a forward pass of one image.
        training (int): The same for one image of a training step (activations, gradients of
            activations).
        gradients (int): Gradients of the parameters.
    """

    weights: int
    inference: int
    training: int
    gradients: int

    def of_training(self, batch_size: int, momentum: bool = True) -> int:
        """Peak of a training step.

        Args:
            batch_size (int): Images.
            momentum (bool): Whether the optimizer keeps a value for each parameter.
                Defaults to True.

        Returns:
            int: Bytes.

        Example:
            >>> PeakMemory(10, 5, 100, 8).of_training(4)
            426
        """
        return self.weights + batch_size * self.training + self.gradients * (2 if momentum else 1)


def peak_memory(model: nn.Module, size: tuple[int, int]) -> PeakMemory:
    """Follow the tensors of a forward pass and of a training step with PyTorch's ``MemTracker``.

    Args:
        model (nn.Module): A detector.
        size (tuple[int, int]): Height and width of the input in pixels.

    Returns:
        PeakMemory: For one image; the training step has two and is halved.
    """
    # only now: it loads torch.distributed
    from torch.distributed._tools.mem_tracker import MemTracker

    def run(step: Callable[[], None]) -> tuple[int, int, int]:
        tracker = MemTracker()
        tracker.track_external(model)
        with tracker:
            step()
        (snapshot,) = tracker.get_tracker_snapshot('peak').values()
        by_kind = {str(kind).rsplit('.', 1)[-1]: count for kind, count in snapshot.items()}
        weights = by_kind['PARAM'] + by_kind['BUFFER']
        return weights, by_kind['GRAD'], by_kind['Total'] - weights - by_kind['GRAD']

    was_training = model.training

    def forward() -> None:
        with torch.no_grad():
            model(torch.zeros(1, 3, *size))

    def train() -> None:
        model.parse_losses(_training_losses(model, size))[0].backward()

    try:
        model.eval()
        weights, _, inference = run(forward)
        model.train()
        with _buffers_kept(model):
            _, _, training = run(train)
    finally:
        model.zero_grad()
        model.train(was_training)
    gradients = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return PeakMemory(weights, inference, math.ceil(training / TRAINING_IMAGES), gradients)
