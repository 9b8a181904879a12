"""Where in a spectrum the information on a label lies, for estimators that are to see those pixels alone."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from specvit.estimators.spec import Setting
from specvit.limits.density import star_densities
from specvit.models.view import Density
from specvit.simulate import splits
from specvit.spectra import WavelengthGrid

#: Training stars over which the density is averaged, and how many are done at once.
STARS, PIECE = 256, 16


def density_of(setting: Setting, who: str) -> Density:
    """Return what tells the Fisher information density on the first label, computed when it is first asked for.

    The mean over training stars of the share of the information on the label that each pixel holds.

    Args:
        setting: of the estimator.
        who: what an error names.
    """

    def density(grid: WavelengthGrid) -> Tensor:
        simulator = setting.world(f"{who}: seen")
        simulator.grid.check_matches(grid, who)
        target = (setting.labels or simulator.prior.label_space.names)[0]
        source = simulator.source(splits.TRAIN, setting.seed, STARS, truth=True)
        observed = copy.deepcopy(simulator.observed).double()
        total = torch.zeros(grid.size, dtype=torch.float64)
        for start in range(0, STARS, PIECE):
            found = star_densities(observed, source.draw(start, start + PIECE), target)
            total += (found / found.sum(dim=1, keepdim=True)).sum(dim=0)
        return total / STARS

    return density
