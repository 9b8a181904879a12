"""From the options to what gathers training spectra and makes experts of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from specvit.models.experts.conditional import fit_conditional
from specvit.models.experts.linear_experts import HeldOut, RidgeFitter
from specvit.models.experts.network_experts import fit_networks
from specvit.models.experts.options import ExpertsOptions
from specvit.models.experts.row_experts import Experts, RowsFitter, fit_trees
from specvit.models.linear import DEFAULT_ALPHAS

#: Of LightGBM as an expert: smaller than on its own, as a bin has a tenth of the spectra.
TREES = {
    **{"objective": "regression", "metric": "l2", "learning_rate": 0.05, "num_leaves": 15},
    **{"feature_fraction": 0.2, "bagging_fraction": 0.8, "bagging_freq": 5, "max_bin": 63},
    **{"deterministic": True, "force_col_wise": True, "verbose": -1},
}
PATIENCE = 30


class Fitter(Protocol):
    """Gathers spectra, and gives the experts of those it has."""

    def add(self, values: Tensor, labels: Tensor, bins: Tensor) -> None:
        """Add B spectra: values (B, D), labels (B, P), and the bin of each (B,)."""

    def fitted(self, held: HeldOut) -> Experts:
        """Return the experts of the spectra so far."""


def make_fitter(
    options: ExpertsOptions, standardise: bool, bins: int, labels: Sequence[str], seed: int, threads: int
) -> RidgeFitter | RowsFitter:
    """Return what fits the experts of an option.

    Args:
        options: of the mixture.
        standardise: divide the inputs of Ridge by their spread.
        bins: K bins and, as the last, the stars outside.
        labels: that are learnt, in order.
        seed, threads: of networks and trees.
    """
    outside_is_all = options.outside != "expert"
    alphas = options.alphas or DEFAULT_ALPHAS
    if options.expert == "ridge":
        return RidgeFitter(bins, alphas, standardise, outside_is_all)
    if options.expert == "conditional":
        knows = options.routing == "oracle"
        fit = fit_conditional(alphas, standardise, list(labels).index(options.condition), knows)
    elif options.expert == "lightgbm":
        settings = {**TREES, "seed": seed, "num_threads": threads}
        fit = fit_trees(settings, options.rounds, PATIENCE, bins, threads)
    else:
        fit = fit_networks(bins, options.width, options.expert == "trunk", seed)
    return RowsFitter(bins, outside_is_all, fit)
