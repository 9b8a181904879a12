"""A prior of one's own over a library with holes: where there are no spectra its density is zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specvit.errors import ConfigError, DomainError
from specvit.library import CoveredCells
from specvit.simulate.priors import CuttablePrior, DensityPrior, Prior, PriorWithHoles
from specvit.spectra import LabelSpace

#: Stars drawn to see whether a prior reaches beyond holes, and to measure its variance.
_TRIED, _MEASURED = 4096, 100_000


@dataclass(frozen=True)
class ConfinedPrior:
    """A prior of one's own, less what lies in the holes of a library (a `DensityPrior`).

    Args:
        prior: of the whole box.
        coverage: the covered part of the box.

    Raises:
        DomainError: if hardly anything of the prior is covered.
    """

    prior: DensityPrior
    coverage: CoveredCells

    def __post_init__(self) -> None:
        drawn = self.prior.sample(_TRIED, np.random.default_rng(0))
        if not self.coverage.covers(drawn).any():
            raise DomainError(
                f"prior: none of {_TRIED} stars drawn from it lies where the library has spectra around it; give another "
                "prior, or a library without this hole"
            )

    @property
    def label_space(self) -> LabelSpace:
        """That of the prior."""
        return self.prior.label_space

    def sample(self, count: int, generator: np.random.Generator) -> Tensor:
        """Return `count` label vectors, shape (count, P), float32; what falls into a hole is drawn again."""
        labels = self.prior.sample(count, generator)
        while not (inside := torch.from_numpy(self.coverage.covers(labels))).all():
            labels[~inside] = self.prior.sample(int((~inside).sum()), generator)
        return labels

    def variance(self, name: str) -> float:
        """Return the variance of many draws with a fixed seed."""
        drawn = self.sample(_MEASURED, np.random.default_rng(0)).double()
        return float(drawn[:, self.label_space.index(name)].var())

    def log_density(self, labels: Tensor) -> Tensor:
        """Return that of the prior, up to a constant, and -inf in holes, shape (...)."""
        covered = torch.from_numpy(self.coverage.covers(labels)).to(labels.device)
        return torch.where(covered, self.prior.log_density(labels), -torch.inf)


def confined(prior: Prior, coverage: CoveredCells | None) -> Prior:
    """Return a prior of one's own without what lies in the holes of a library.

    Args:
        prior: of any kind.
        coverage: of the library; None: it has no holes.

    Raises:
        ConfigError: for a lattice, or a prior without a density, over a box with holes.
        DomainError: if nothing of the box, or hardly anything of the prior, is covered.
    """
    covered = None if coverage is None else coverage.cut(prior.label_space)
    if covered is None:
        return prior
    if isinstance(prior, PriorWithHoles) and prior.coverage.to_dict() == covered.to_dict():
        return prior
    if isinstance(prior, CuttablePrior):
        return prior.within(covered)
    if not isinstance(prior, DensityPrior):
        raise ConfigError(
            f"prior: the library has no spectra around {1 - covered.share:.1%} of its box, and a {type(prior).__name__} "
            "has no density that could be zero there; choose 'uniform', or narrower bounds"
        )
    return ConfinedPrior(prior, covered)
