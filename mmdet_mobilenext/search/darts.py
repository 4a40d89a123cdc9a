# SPDX-License-Identifier: Apache-2.0
"""The search: weights of the operations and weights of the network, in turn.

Source: Liu et al., DARTS, ICLR 2019, section 2.3 and algorithm 1, https://arxiv.org/abs/1806.09055.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import Tensor, nn

from .genotype import CELLS, Genotype
from .relaxed_cells import RelaxedCells

__all__ = ['Darts', 'DartsOptimWrapperConstructor']

ORDERS = ('first', 'second')


@MODELS.register_module(force=True)
class Darts(BaseModel):
    """Differentiable architecture search on any model with the backbone :class:`RelaxedCells`.

    Each step first moves the weights of the operations (``alphas``) by the loss on images of their
    own, and then the weights of the network by the loss on the training images.

    Args:
        network (dict): Config of a classifier or a detector with the backbone ``RelaxedCells``.
        order (str): ``'first'`` takes the loss at the present weights; ``'second'`` at the weights
            one step of SGD further, with the product of Hessian and vector by finite differences
            (equations 7 and 8), at about twice the time. That step has the rate, the momentum and
            the weight decay of the first param group; dampening, Nesterov's momentum and clipping
            are ignored. Defaults to ``'first'``.
        cost (str): What is penalised: ``'madds'`` or ``'parameters'`` that the relaxed network is
            expected to cost (all edges, each operation by its weight; stem, first layers of the
            cells and head are the same for all). Defaults to ``'madds'``.
        cost_weight (float): Added to the loss of the alphas is ``cost_weight`` times the expected
            cost as a multiple of that with equal weights (an expectation over operations, as in
            ProxylessNAS, section 3.3, https://arxiv.org/abs/1812.00332). Defaults to 0, no penalty.
        input_size (int): Side of the images in pixels, for ``madds``. Defaults to 32.
        init_cfg (dict or list[dict], optional): Initialization config.

    Raises:
        ValueError: For an argument out of its range, another backbone, or frozen weights with
            ``order='second'``.

    Example:
        >>> import mmdet_mobilenext.classification
        >>> from mmengine.registry import init_default_scope
        >>> init_default_scope('mmpretrain')
        >>> model = Darts(dict(
        ...     type='ImageClassifier',
        ...     backbone=dict(type='RelaxedCells', num_nodes=1, base_channels=12, num_cells=3),
        ...     neck=dict(type='GlobalAveragePooling'),
        ...     head=dict(type='LinearClsHead', num_classes=2, in_channels=48)))
        >>> round(model.expected_cost().item(), 2), len(model.architecture_parameters())
        (1.0, 2)
    """

    difference_width = 0.01
    """Length of the step of the finite differences; that of the authors."""

    def __init__(
        self,
        network: dict,
        order: str = 'first',
        cost: str = 'madds',
        cost_weight: float = 0.0,
        input_size: int = 32,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if order not in ORDERS:
            raise ValueError(f'order must be one of {ORDERS}, but received {order!r}')
        if cost_weight < 0:
            raise ValueError(f'cost_weight must not be negative, but received {cost_weight}')
        self.network = MODELS.build(network)
        self.order = order
        self.cost_weight = cost_weight
        if not isinstance(getattr(self.network, 'backbone', None), RelaxedCells):
            raise ValueError(
                'network must have the backbone RelaxedCells, but it is '
                f'{type(getattr(self.network, "backbone", None)).__name__}'
            )
        frozen = sum(not param.requires_grad for param in self.network_parameters())
        if order == 'second' and frozen:
            raise ValueError(
                f"order='second' needs the gradient of all weights, but {frozen} are frozen: set "
                "frozen_stages=-1, or order='first'"
            )
        costs = self.backbone.operation_costs(cost, input_size)
        mean = sum(float(costs[cell].mean(1).sum()) for cell in CELLS)
        for cell in CELLS:
            # what follows from the config is not part of a checkpoint
            self.register_buffer(f'cost_{cell}', costs[cell] / (mean or 1.0), persistent=False)

    @property
    def backbone(self) -> RelaxedCells:
        """RelaxedCells: The relaxed cells."""
        return self.network.backbone

    def genotype(self) -> Genotype:
        """The cells that the present weights of the operations stand for.

        Returns:
            Genotype: Of the backbone.
        """
        return self.backbone.genotype()

    def architecture_parameters(self) -> list[nn.Parameter]:
        """The weights of the operations, before softmax."""
        return list(self.backbone.alphas.values())

    def network_parameters(self) -> list[nn.Parameter]:
        """All other weights."""
        alphas = {id(alpha) for alpha in self.architecture_parameters()}
        return [p for p in self.network.parameters() if id(p) not in alphas]

    def expected_cost(self) -> Tensor:
        """Expected cost of the edges as a multiple of that with equal weights, differentiable.

        Returns:
            Tensor: A scalar.
        """
        return sum(
            (self.backbone.alphas[cell].softmax(-1) * getattr(self, f'cost_{cell}')).sum()
            for cell in CELLS
        )

    def forward(
        self, inputs: Tensor, data_samples: Sequence | None = None, mode: str = 'tensor'
    ) -> Any:
        """Run the network; see its own ``forward``."""
        return self.network(inputs, data_samples, mode=mode)

    def train_step(
        self, data: Mapping[str, Any], optim_wrapper: OptimWrapperDict
    ) -> dict[str, Tensor]:
        """One step of the weights of the operations, and one of the network's.

        Args:
            data (Mapping): A batch for each, ``architecture`` and ``weights``, no image in both.
            optim_wrapper (OptimWrapperDict): An optimizer for each, by the same names.

        Returns:
            dict[str, Tensor]: What to log.
        """
        weights, architecture = optim_wrapper['weights'], optim_wrapper['architecture']
        data = {name: self.network.data_preprocessor(data[name], True) for name in data}

        gradient, logged = self._architecture_gradient(data, weights)
        for alpha, value in zip(self.architecture_parameters(), gradient, strict=True):
            alpha.grad = value
        architecture.step()

        with weights.optim_context(self):
            losses = self.network._run_forward(data['weights'], mode='loss')
        loss, log_vars = self.network.parse_losses(losses)
        weights.update_params(loss)
        architecture.zero_grad()  # the loss of the weights is not theirs
        return {**log_vars, **logged}

    def val_step(self, data: Any) -> list:
        """Predict with the relaxed network; see mmengine's ``BaseModel``."""
        return self.network.val_step(data)

    def test_step(self, data: Any) -> list:
        """Predict with the relaxed network; see mmengine's ``BaseModel``."""
        return self.network.test_step(data)

    def _loss(self, batch: Any) -> Tensor:
        return self.network.parse_losses(self.network._run_forward(batch, mode='loss'))[0]

    def _architecture_gradient(
        self, data: Mapping[str, Any], weights: OptimWrapper
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Gradient of the alphas' loss, and what to log of it."""
        alphas = self.architecture_parameters()
        if self.order == 'first':
            loss = self._loss(data['architecture'])
            gradient = list(torch.autograd.grad(loss, alphas))
        else:
            loss, gradient = self._unrolled_gradient(data, weights)
        logged = {
            'architecture_loss': loss.detach(),
            'expected_cost': self.expected_cost().detach(),
        }
        if self.cost_weight:
            penalty = torch.autograd.grad(self.cost_weight * self.expected_cost(), alphas)
            gradient = [g + p for g, p in zip(gradient, penalty, strict=True)]
        return gradient, logged

    def _unrolled_gradient(
        self, data: Mapping[str, Any], weights: OptimWrapper
    ) -> tuple[Tensor, list[Tensor]]:
        """Gradient through one step of SGD (equations 7 and 8)."""
        if not isinstance(weights.optimizer, torch.optim.SGD):
            raise ValueError(
                "order='second' looks one step of SGD ahead, but the optimizer of the weights is "
                f'{type(weights.optimizer).__name__}'
            )
        alphas, params = self.architecture_parameters(), self.network_parameters()
        kept = [p.detach().clone() for p in params]

        @torch.no_grad()
        def move(steps: Sequence[Tensor] = (), factor: float = 0.0) -> None:
            """From where they were; without steps back to there."""
            for index, (param, start) in enumerate(zip(params, kept, strict=True)):
                param.copy_(start + factor * steps[index] if steps else start)

        group = weights.optimizer.param_groups[0]
        steps = []
        for param, g in zip(
            params, torch.autograd.grad(self._loss(data['weights']), params), strict=True
        ):
            step = g + group['weight_decay'] * param.detach()
            momentum = weights.optimizer.state.get(param, {}).get('momentum_buffer')
            steps.append(step if momentum is None else step + group['momentum'] * momentum)
        move(steps, -group['lr'])
        loss = self._loss(data['architecture'])
        both = torch.autograd.grad(loss, [*alphas, *params])
        gradient, vector = both[: len(alphas)], both[len(alphas) :]

        width = (
            self.difference_width
            / torch.cat([v.flatten() for v in vector]).norm().clamp(min=1e-12).item()
        )
        sides = []
        for sign in (1, -1):
            move(vector, sign * width)
            sides.append(torch.autograd.grad(self._loss(data['weights']), alphas))
        move()
        return loss, [
            g - group['lr'] * (above - below) / (2 * width)
            for g, above, below in zip(gradient, *sides, strict=True)
        ]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class DartsOptimWrapperConstructor:
    """Build the two optimizers of :class:`Darts`.

    Args:
        optim_wrapper_cfg (dict): Config of an optimizer wrapper for each of ``weights`` and
            ``architecture``.
        paramwise_cfg (dict, optional): Must be None.

    Raises:
        ValueError: If one is missing, or there is something else.

    Example:
        >>> constructor = DartsOptimWrapperConstructor(dict(weights=dict(), alphas=dict()))
        Traceback (most recent call last):
        ...
        ValueError: optim_wrapper needs 'weights' and 'architecture', but has ['alphas', 'weights']
    """

    names = ('weights', 'architecture')

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if set(optim_wrapper_cfg) != set(self.names) or paramwise_cfg:
            found = sorted(optim_wrapper_cfg) + ['paramwise_cfg'] * bool(paramwise_cfg)
            raise ValueError(f"optim_wrapper needs 'weights' and 'architecture', but has {found}")
        self.optim_wrapper_cfg = optim_wrapper_cfg

    def __call__(self, model: Darts) -> OptimWrapperDict:
        """Build them.

        Args:
            model (Darts): The model to be searched.

        Returns:
            OptimWrapperDict: By the names ``weights`` and ``architecture``.

        Raises:
            TypeError: If it is another model, or one wrapped for several processes.
        """
        if not isinstance(model, Darts):
            raise TypeError(
                f'a search needs the model Darts in one process, but has {type(model).__name__}'
            )
        params = dict(
            weights=model.network_parameters(), architecture=model.architecture_parameters()
        )
        wrappers = {}
        for name in self.names:
            cfg = dict(type='OptimWrapper', **self.optim_wrapper_cfg[name])
            optimizer = OPTIMIZERS.build(dict(cfg.pop('optimizer'), params=params[name]))
            wrappers[name] = OPTIM_WRAPPERS.build(dict(cfg, optimizer=optimizer))
        return OptimWrapperDict(**wrappers)
