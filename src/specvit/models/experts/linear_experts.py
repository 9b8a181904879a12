"""Ridge experts: one linear model per bin, one for the stars outside, one for all; fitted from one pass of moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from specvit.documents.tensors import Tensors
from specvit.errors import DataError
from specvit.models.experts.pools import BinPools, RidgePath
from specvit.models.moments import Pool

#: Spectra without which a bin has no expert of its own, and held-out ones without which it takes the penalty of all.
LEAST_SPECTRA, LEAST_HELD = 30, 30


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out spectra: values (V, D), labels (V, P), bins (V,)."""

    values: Tensor
    labels: Tensor
    bins: Tensor


@dataclass(frozen=True, eq=False)
class LinearExperts:
    """M linear models of D inputs and P labels; the last is that of all spectra.

    Args:
        weights: shape (M, D, P), float64.
        means: of the inputs, shape (M, D).
        mean_labels: shape (M, P).
        facts: penalties by component and label.
        missing: component -> why the model of all spectra answers for it.
    """

    weights: Tensor
    means: Tensor
    mean_labels: Tensor
    facts: dict[str, Any] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)

    def __call__(self, values: Tensor) -> Tensor:
        """Return the estimates of all components, shape (B, M, P), float64, for values (B, D)."""
        values = values.double()
        # Centred first: weights of noisy pixels are large and cancel.
        columns = [
            (values - mean) @ weights + offset
            for mean, weights, offset in zip(self.means, self.weights, self.mean_labels, strict=True)
        ]
        return torch.stack(columns, dim=1)

    @property
    def parameters(self) -> int:
        """Number of fitted numbers."""
        return self.weights.numel() + self.mean_labels.numel()

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the arrays by the names they are stored under."""
        return {"weights": self.weights, "means": self.means, "mean_labels": self.mean_labels}

    def texts(self) -> dict[str, str]:
        """Return no files: arrays are all there is."""
        return {}

    @classmethod
    def read(cls, tensors: Tensors) -> LinearExperts:
        """Return the experts that `to_tensors` gave, of axes M, D and P; DataError for what does not fit."""
        return cls(
            tensors.take("weights", "MDP", torch.float64),
            tensors.take("means", "MD", torch.float64),
            tensors.take("mean_labels", "MP", torch.float64),
        )


class RidgeFitter:
    """Gathers moments of spectra as they come, and gives the experts they make.

    Args:
        bins: K bins and, as the last, the stars outside.
        alphas: penalties to choose from.
        standardise: divide inputs by their spread in each bin.
        outside_is_all: whether the model of all spectra answers for the stars outside.
    """

    def __init__(self, bins: int, alphas: Sequence[float], standardise: bool, outside_is_all: bool) -> None:
        self.pools, self.alphas, self.standardise = BinPools(bins), tuple(alphas), standardise
        self.outside_is_all = outside_is_all

    def add(self, values: Tensor, labels: Tensor, bins: Tensor) -> None:
        """Add B spectra, see `BinPools.add`."""
        self.pools.add(values, labels, bins)

    def fitted(self, held: HeldOut) -> LinearExperts:
        """Return the experts of the spectra so far, penalties chosen by held-out ones of each bin.

        Raises:
            DataError: if no bin has enough spectra, or the model of all cannot be fitted.
        """
        held = HeldOut(held.values.double(), held.labels.double(), held.bins)
        whole = self.pools.whole()
        path = RidgePath.of(whole, self.standardise)
        errors = path.squared_errors(held.values, held.labels, self.alphas)
        chosen = errors.argmin(dim=0)
        of_all = self._model(path, chosen)
        if not all(bool(part.isfinite().all()) for part in of_all):
            raise DataError(
                "moe: the model of all spectra has no finite weights; look at the training spectra"
            )
        models, missing, penalties = [], {}, {}
        for k, pool in enumerate(self.pools.pools):
            found, reason, alphas = self._expert(k, pool, held, chosen)
            if found is None:
                missing[k] = reason
            else:
                penalties[k] = alphas
            models.append(of_all if found is None else found)
        if not penalties:
            raise DataError(
                f"moe: no bin of the partition has {LEAST_SPECTRA} training spectra; take wider bins or more spectra"
            )
        facts = {"all": self._penalties(chosen), **{str(k): alphas for k, alphas in penalties.items()}}
        weights, means, labels = (torch.stack(part) for part in zip(*models, of_all, strict=True))
        return LinearExperts(weights, means, labels, facts, missing)

    def _expert(
        self, k: int, pool: Pool, held: HeldOut, of_all: Tensor
    ) -> tuple[tuple[Tensor, Tensor, Tensor] | None, str, list[float]]:
        """Return the model of a bin, or None and why there is none; and its penalties."""
        if k == self.pools.bins - 1 and self.outside_is_all:
            return None, "outside the partition", []
        if pool.count < LEAST_SPECTRA:
            return None, f"{pool.count} training spectra, fewer than {LEAST_SPECTRA}", []
        try:
            path = RidgePath.of(pool, self.standardise)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            return None, f"its fit failed ({error})", []
        inside = held.bins == k
        chosen = of_all
        if int(inside.sum()) >= LEAST_HELD:
            chosen = path.squared_errors(held.values[inside], held.labels[inside], self.alphas).argmin(dim=0)
        model = self._model(path, chosen)
        if not all(bool(part.isfinite().all()) for part in model):
            return None, "its fit has no finite weights", []
        return model, "", self._penalties(chosen)

    def _model(self, path: RidgePath, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return path.weights(self._penalties(chosen)), path.mean, path.mean_labels

    def _penalties(self, chosen: Tensor) -> list[float]:
        return [self.alphas[k] for k in chosen.tolist()]
