"""Bounds on one label from a Fisher matrix: marginal CRLB, Schur decay and the R² it allows.

The Cramér-Rao bound holds for unbiased estimators. A regressor trained on a prior shrinks towards its mean
and can go below the bound when the bound is not small against the prior variance; `van_trees` and the Bayes
ceiling hold for every estimator.
"""

from __future__ import annotations

import torch
from torch import Tensor

from specvit.errors import ConfigError, ShapeError
from specvit.limits.fisher import covariance_matrix
from specvit.simulate.priors import LatticePrior, UniformPrior
from specvit.spectra import LabelSpace


def marginal_crlb(fisher: Tensor, index: int) -> Tensor:
    """Return the smallest variance of an unbiased estimate of label `index`, all others free, shape (B,).

    [F⁻¹]_gg = 1 / (F_gg - F_gη F_ηη⁻¹ F_ηg), in label units squared. `inf` where the matrix is singular in
    float64: nothing is regularised; `condition_number` tells how close the others are.
    """
    _check_square(fisher)
    return covariance_matrix(fisher)[..., index, index]


def schur_decay(fisher: Tensor, index: int) -> Tensor:
    """Return the share of a label's information left after marginalising the others, shape (B,), in [0, 1].

    (F_gg - F_gη F_ηη⁻¹ F_ηg) / F_gg; 0 where the matrix is singular or the label has no information.
    """
    own = fisher[..., index, index].to(torch.float64)
    # A singular matrix has an infinite bound, so nothing is left: 1 / inf = 0 without a special case.
    left = 1.0 / marginal_crlb(fisher, index)
    return torch.where(own > 0, left / torch.where(own > 0, own, 1.0), 0.0)


def r2_max(crlb: Tensor, variance: float) -> Tensor:
    """Return clip(1 - CRLB / variance, 0, 1), shape (B,): the reference work's ceiling of each star.

    Args:
        crlb: shape (B,), label units squared; `inf` gives 0.
        variance: prior variance of the label; see `variance_choices` for the named ones.
    """
    return (1.0 - crlb.to(torch.float64) / _positive(variance)).clamp(0.0, 1.0)


def r2_shrunk(crlb: Tensor, variance: float) -> Tensor:
    """Return V / (V + CRLB), shape (B,): the R² of the best estimator if prior and likelihood were Gaussian.

    An approximation, not a bound, for other priors; unlike `r2_max` its mean over stars is comparable with
    the pooled R² of a regressor.
    """
    v = _positive(variance)
    return v / (v + crlb.to(torch.float64))


def variance_choices(label_space: LabelSpace, label: str) -> dict[str, float]:
    """Return the prior variances in use for `label`, by name.

    - "uniform": width²/12 of the box, 1.3333 for log g from 1 to 5; the default world.
    - "lattice": the reference work's training labels, snapped on all axes but one (1.3667).
    - "reference": equal weight on all nodes, what the published ceiling used (1.6667).

    "lattice" and "reference" are left out for a box that is not a whole number of the reference's steps.
    """
    choices = {"uniform": UniformPrior(label_space).variance(label)}
    try:
        lattice = LatticePrior.reference(label_space)
    except (ConfigError, KeyError):
        return choices
    # The published ceiling took the variance of the nodes themselves, end nodes at full weight; the labels it
    # was set beside have end nodes at half weight.
    nodes = lattice.nodes(label)
    return choices | {"lattice": lattice.variance(label), "reference": float(nodes.var())}


def _check_square(fisher: Tensor) -> None:
    if fisher.ndim < 2 or fisher.shape[-1] != fisher.shape[-2]:
        raise ShapeError(f"expected Fisher matrices (B, P, P); got {tuple(fisher.shape)}")


def _positive(variance: float) -> float:
    if not variance > 0:
        raise ConfigError(f"prior variance must be positive; got {variance}")
    return float(variance)
