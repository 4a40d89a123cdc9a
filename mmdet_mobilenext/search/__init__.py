# SPDX-License-Identifier: Apache-2.0
"""Differentiable architecture search with the sandglass block among the operations."""

from .darts import Darts, DartsOptimWrapperConstructor
from .relaxed_cells import RelaxedCells
from .searched_cells import SearchedCells
from .train_loop import DartsTrainLoop, GenotypeHook, TrainingTimeHook

__all__ = [
    'Darts',
    'DartsOptimWrapperConstructor',
    'DartsTrainLoop',
    'GenotypeHook',
    'RelaxedCells',
    'SearchedCells',
    'TrainingTimeHook',
]
