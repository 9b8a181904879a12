"""Experts that need their spectra in memory, small networks and boosted trees: gathered as they come, fitted at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from specvit.documents.tensors import Tensors
from specvit.errors import DataError
from specvit.models.bundle import StoredBundle
from specvit.models.experts.linear_experts import LEAST_SPECTRA, HeldOut
from specvit.models.tree_files import load_lightgbm, read_trees


class Experts(Protocol):
    """M models of D inputs and P labels: of K bins, of the stars outside, and of all spectra."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the fits chose, by component."""

    @property
    def missing(self) -> dict[int, str]:
        """Component -> why the model of all spectra answers for it."""

    @property
    def parameters(self) -> int:
        """Number of fitted numbers; 0 where that means nothing."""

    def __call__(self, values: Tensor) -> Tensor:
        """Return the estimates of all components, shape (B, M, P), float64, for values (B, D)."""

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the arrays by the names they are stored under."""

    def texts(self) -> dict[str, str]:
        """Return further files by name."""


#: Fits components on rows: (values, labels, bins of each, which components have enough spectra, held out) -> experts.
FitRows = Callable[[Tensor, Tensor, Tensor, list[int], HeldOut], Experts]


class RowsFitter:
    """Gathers spectra as they come, and gives the experts they make.

    Args:
        bins: K bins and, as the last, the stars outside.
        outside_is_all: whether the model of all spectra answers for the stars outside.
        fit: makes experts of rows.
    """

    def __init__(self, bins: int, outside_is_all: bool, fit: FitRows) -> None:
        self.bins, self.outside_is_all, self.fit = bins, outside_is_all, fit
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, values: Tensor, labels: Tensor, bins: Tensor) -> None:
        """Add B spectra: values (B, D), labels (B, P), and the bin of each (B,)."""
        # float32: what is kept is as large as the training set.
        self._parts.append((values.float(), labels.double(), bins))

    def fitted(self, held: HeldOut) -> Experts:
        """Return the experts of the spectra so far; DataError if no bin has enough of them."""
        values, labels, bins = (torch.cat(part) for part in zip(*self._parts, strict=True))
        counts = torch.bincount(bins, minlength=self.bins).tolist()
        missing = {
            k: f"{count} training spectra, fewer than {LEAST_SPECTRA}"
            for k, count in enumerate(counts)
            if count < LEAST_SPECTRA
        }
        if self.outside_is_all:
            missing[self.bins - 1] = "outside the partition"
        wanted = [k for k in range(self.bins) if k not in missing]
        if not wanted:
            raise DataError(
                f"moe: no bin of the partition has {LEAST_SPECTRA} training spectra; take wider bins or more spectra"
            )
        experts = self.fit(values, labels, bins, wanted, held)
        experts.missing.update(missing)
        return experts


class TreeExperts:
    """Boosted trees, one model per component and label.

    Args:
        boosters: component -> one per label, as many components as are fitted; the last is that of all spectra.
        components: M.
        rounds: component -> trees per label.
        threads: of LightGBM.
    """

    parameters = 0

    def __init__(
        self, boosters: dict[int, list[Any]], components: int, rounds: dict[str, Any], threads: int
    ) -> None:
        self.boosters, self.components, self.facts, self.threads = boosters, components, rounds, threads
        self.missing: dict[int, str] = {}

    def __call__(self, values: Tensor) -> Tensor:
        """Return the estimates of all components, shape (B, M, P), float64, for values (B, D)."""
        table = values.float().numpy()
        known = {
            k: torch.stack(
                [
                    torch.from_numpy(one.predict(table, num_threads=self.threads)).double()
                    for one in of_labels
                ],
                dim=1,
            )
            for k, of_labels in self.boosters.items()
        }
        of_all = known[self.components - 1]
        return torch.stack([known.get(k, of_all) for k in range(self.components)], dim=1)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return which components have trees of their own."""
        return {"fitted": torch.tensor(sorted(self.boosters))}

    def texts(self) -> dict[str, str]:
        """Return the files of trees, by name."""
        return {
            _file(k, p): one.model_to_string()
            for k, of_labels in self.boosters.items()
            for p, one in enumerate(of_labels)
        }

    @classmethod
    def read(
        cls, bundle: StoredBundle, tensors: Tensors, shape: tuple[int, int, int], threads: int
    ) -> TreeExperts:
        """Return stored experts of M components, P labels and D inputs; DataError for what is damaged."""
        components, labels, inputs = shape
        fitted = tensors.take("fitted", "F", torch.int64).tolist()
        if sorted({*fitted} & {*range(components)}) != fitted or components - 1 not in fitted:
            raise tensors.problem("'fitted' does not name components in order, with that of all spectra")
        boosters = {k: [read_trees(bundle, _file(k, p), inputs) for p in range(labels)] for k in fitted}
        return cls(boosters, components, {}, threads)


def fit_trees(settings: dict[str, Any], rounds: int, patience: int, bins: int, threads: int) -> FitRows:
    """Return what fits trees; settings are LightGBM's."""

    def fit(values: Tensor, labels: Tensor, at: Tensor, wanted: list[int], held: HeldOut) -> TreeExperts:
        lightgbm = load_lightgbm()
        stop = lightgbm.early_stopping(patience, verbose=False)
        boosters: dict[int, list[Any]] = {}
        counts: dict[str, Any] = {}
        for k in (*wanted, bins):
            inside, check = (
                (torch.ones_like(at, dtype=torch.bool), held.bins >= 0)
                if k == bins
                else (at == k, held.bins == k)
            )
            # Too few of a bin to stop by: all held-out spectra then.
            check = check if int(check.sum()) >= LEAST_SPECTRA else held.bins >= 0
            data = lightgbm.Dataset(values[inside].numpy(), params=settings, free_raw_data=False).construct()
            held_out = data.create_valid(held.values[check].float().numpy(), params=settings).construct()
            of_labels = []
            for p in range(labels.shape[1]):
                data.set_label(labels[inside, p].numpy())
                held_out.set_label(held.labels[check, p].numpy())
                found = lightgbm.train(settings, data, rounds, valid_sets=[held_out], callbacks=[stop])
                best = max(found.best_iteration, 1)
                of_labels.append(lightgbm.Booster(model_str=found.model_to_string(num_iteration=best)))
            boosters[k] = of_labels
            counts["all" if k == bins else str(k)] = [one.num_trees() for one in of_labels]
        return TreeExperts(boosters, bins + 1, counts, threads)

    return fit


def _file(component: int, label: int) -> str:
    return f"expert_{component}_{label}.txt"
