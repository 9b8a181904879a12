"""Gradient-boosted trees (LightGBM) on flux, one model per label. Owns LightGBM's parameters, no more.

Trees are invariant to any increasing map of a pixel, so flux goes in relative to its level and no further. Dead
pixels are set to the training mean of the pixel.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field

from specvit.documents import Section
from specvit.errors import ConfigError, DataError, RunError
from specvit.models.bundle import Bundle, load_bundle, save_bundle
from specvit.models.inputs import (
    Progress,
    Values,
    fill_dead,
    finished,
    label_names,
    labels_of,
    no_spectra,
    relative_spectra,
)
from specvit.models.origin import Origin, judged
from specvit.models.prediction import Prediction
from specvit.models.scatter import ResidualScatter
from specvit.models.tree_files import load_lightgbm, read_trees
from specvit.models.view import Density, View
from specvit.spectra import SpectraSource, median_snr

#: Spectra from which the histogram edges are taken: plenty for 63 bins, half the set-up time of all 20,000.
BINNED_SAMPLES = 5000


class TreesOptions(Section):
    """The options of `LightGBM`, as a saved one states them."""

    labels: tuple[str, ...]
    rounds: int
    learning_rate: float
    leaves: int
    feature_fraction: float
    max_bin: int
    early_stopping: int
    seed: int
    threads: int = Field(ge=0)
    time_budget: float | None
    #: Absent in those that see spectra as they are.
    view: View | None = None
    standardise: bool = False


class TreesSettings(Section):
    """The settings of a saved `LightGBM`."""

    options: TreesOptions
    choice: dict[str, dict[str, Any]]


class LightGBM:
    """Boosted trees with early stopping on the validation set.

    Source: Friedman 2001, Ann. Stat. 29, 1189 (gradient boosting); Ke et al. 2017, NeurIPS (LightGBM).

    The training set is held in memory while it is binned (4 bytes per pixel), then as bins (1 byte).

    Args:
        labels: labels to estimate, one model each.
        rounds: largest number of trees.
        learning_rate: shrinkage per tree.
        leaves: leaves per tree (31 or 63 in the reference work).
        feature_fraction: share of the pixels offered to each tree. Neighbouring pixels say nearly the same:
            on 20,000 spectra 0.1 and 0.2 score alike (R² 0.503 and 0.505), at a third of the time.
        max_bin: histogram bins per pixel.
        early_stopping: rounds without a better validation error before stopping.
        seed: seed of bagging and pixel choice; equal seeds give equal trees for any number of threads.
        threads: threads to use; 0 means LightGBM's default.
        time_budget: seconds per label after which boosting stops, or None. The number of trees then depends
            on the machine, and `choice[label]["stopped"]` says "time budget".
        view, density: see `Ridge`.
        standardise: bring each pixel to zero mean and unit deviation over the training set first, which trees
            should not notice.
    """

    name = "lightgbm"

    def __init__(
        self,
        labels: Sequence[str] = ("log_g",),
        rounds: int = 2500,
        learning_rate: float = 0.05,
        leaves: int = 31,
        feature_fraction: float = 0.1,
        max_bin: int = 63,
        early_stopping: int = 60,
        seed: int = 42,
        threads: int = 0,
        time_budget: float | None = None,
        view: View | None = None,
        density: Density | None = None,
        standardise: bool = False,
    ) -> None:
        if not labels or rounds < 1 or early_stopping < 1:
            raise ConfigError("lightgbm: needs at least one label, one round and early_stopping >= 1")
        self.names = label_names(labels, self.name)
        self.rounds, self.early_stopping, self.time_budget = rounds, early_stopping, time_budget
        self.learning_rate, self.leaves = learning_rate, leaves
        self.feature_fraction, self.max_bin = feature_fraction, max_bin
        self.seed, self.threads = seed, threads
        self.view, self.density, self.standardise = view or View(), density, standardise
        self.seen: torch.Tensor | None = None
        self.scale: torch.Tensor | None = None
        self.choice: dict[str, dict[str, Any]] = {}

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Fit one model per label; `progress(round, rounds, text)` is called after every tree.

        Raises:
            MissingExtra, RunError: if LightGBM is not installed or its library cannot be loaded.
            DataError: if spectra or labels are unusable, or the two sets lie on different grids.
        """
        lightgbm = load_lightgbm()
        validation.grid.check_matches(train.grid, "validation set")
        self.seen = self.view.mask(train.grid, self.density)
        flux, _, truth = self._read(train, "training set")
        self.mean_flux = torch.from_numpy(_fill_with_mean(flux, None))
        held_flux, held_snr, held_truth = self._read(validation, "validation set")
        _fill_with_mean(held_flux, self.mean_flux.numpy())
        if self.standardise:
            self.scale = torch.from_numpy(_deviation(flux))
            flux, held_flux = self._standardised(flux), self._standardised(held_flux)
        # Bins know nothing of labels: made once for all of them.
        data = lightgbm.Dataset(flux, params=self._parameters()).construct()
        held_out = data.create_valid(held_flux, params=self._parameters()).construct()
        self.origin, self._boosters = Origin.of(train, validation), []
        residual = np.empty_like(held_truth)
        for p, name in enumerate(self.names):
            data.set_label(truth[:, p])
            held_out.set_label(held_truth[:, p])
            booster, stop = self._boost(lightgbm, data, held_out, f"{name}: ", progress)
            residual[:, p] = held_truth[:, p] - booster.predict(held_flux)
            r2 = 1.0 - residual[:, p].var() / held_truth[:, p].var()
            # The variance is about the mean residual; R² counts that one too.
            r2 -= residual[:, p].mean() ** 2 / held_truth[:, p].var()
            self.choice[name] = {"rounds": stop.best, "stopped": stop.reason, "validation_r2": float(r2)}
            self._boosters.append(booster)
        self.scatter = ResidualScatter.fit(torch.from_numpy(held_snr), torch.from_numpy(residual))
        return self

    def predict(self, flux: Values, sigma: Values) -> Prediction:
        """Return estimates and errors (see `ResidualScatter`) for flux and sigma of shape (B, L)."""
        if not hasattr(self, "_boosters"):
            raise RunError("lightgbm: predict needs a fitted estimator; call fit or load first")
        spectra = relative_spectra(flux, sigma, len(self.mean_flux), self.name)
        if not len(spectra):
            return no_spectra(self.predict, len(self.mean_flux))
        filled = fill_dead(self.view.relative(spectra, self.seen), self.mean_flux)
        # In float32 as in the fit, so that a spectrum falls on the same side of every split.
        table = self._standardised(filled.to("cpu", torch.float32).numpy())
        columns = [booster.predict(table, num_threads=self.threads) for booster in self._boosters]
        mean = torch.from_numpy(np.stack(columns, axis=1).astype(np.float64))
        found = Prediction(
            mean, self.scatter.std(filled if self.view.is_plain else spectra.flux, spectra.sigma), self.names
        )
        verdict = judged(self.origin, spectra.flux, spectra.sigma)
        return finished(found, spectra.usable_share, self.name, verdict)

    def save(self, folder: Path) -> None:
        """Write the trees (LightGBM's text format), arrays and manifest into `folder`, all or nothing."""
        tensors = {
            "mean_flux": self.mean_flux,
            **self.scatter.to_tensors(),
            **{
                name: value
                for name, value in (("seen", self.seen), ("scale", self.scale))
                if value is not None
            },
        }
        texts = {
            _trees_file(name): booster.model_to_string()
            for name, booster in zip(self.names, self._boosters, strict=True)
        }
        settings = {"options": self._options(), "choice": self.choice}
        save_bundle(Bundle(self.name, self.origin, settings, tensors, texts), folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an estimator back; DataError if the folder was changed, is incomplete or contradicts itself."""
        bundle = load_bundle(folder, cls.name)
        settings, tensors = bundle.settings_as(TreesSettings), bundle.tensors
        with bundle.naming_settings():
            model = cls(**dict(settings.options))
        bundle.check_labels(model.names, model.names, settings.choice)
        model.origin, model.choice = bundle.origin, settings.choice
        tensors.sizes["P"] = len(model.names)
        model.mean_flux = tensors.take("mean_flux", "L", torch.float32)
        if model.view.seen:
            model.seen = tensors.take("seen", "L", torch.bool)
        if model.standardise:
            model.scale = tensors.take("scale", "L", torch.float32)
        model.scatter = ResidualScatter.read(tensors)
        tensors.finish()
        model._boosters = [
            read_trees(bundle, _trees_file(name), bundle.origin.grid.size) for name in model.names
        ]
        return model

    def _boost(
        self, lightgbm: ModuleType, data: Any, held_out: Any, text: str, progress: Progress | None
    ) -> tuple[Any, _Stop]:
        """Return a booster cut at its best round, and the reason it stopped."""
        stop = _Stop(self.rounds, self.early_stopping, self.time_budget, text, progress)
        booster = lightgbm.train(
            self._parameters(), data, self.rounds, valid_sets=[held_out], callbacks=[stop.after_round]
        )
        # What predicts is what is saved, without the trees after the best round.
        trees = booster.model_to_string(num_iteration=stop.best)
        return lightgbm.Booster(model_str=trees), stop

    def _parameters(self) -> dict[str, Any]:
        return {
            "objective": "regression",
            "metric": "l2",
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "feature_fraction": self.feature_fraction,
            # Each tree sees a part of the spectra, drawn anew every fifth round (Friedman 2002, CSDA 38, 367).
            "bagging_fraction": 0.8,
            "bagging_freq": 5,
            "max_bin": self.max_bin,
            "bin_construct_sample_cnt": BINNED_SAMPLES,
            "seed": self.seed,
            "num_threads": self.threads,
            "deterministic": True,
            # LightGBM's own choice between the two layouts costs a trial and would not be reproducible.
            "force_col_wise": True,
            "verbose": -1,
        }

    def _options(self) -> dict[str, Any]:
        keys = "rounds learning_rate leaves feature_fraction max_bin early_stopping seed threads time_budget"
        known = {"labels": list(self.names)} | {key: getattr(self, key) for key in keys.split()}
        known |= {} if self.view.is_plain else {"view": asdict(self.view)}
        return known | ({"standardise": True} if self.standardise else {})

    def _standardised(self, flux: np.ndarray) -> np.ndarray:
        if self.scale is None:
            return flux
        return np.asarray((flux - self.mean_flux.numpy()) / self.scale.numpy(), np.float32)

    def _read(self, source: SpectraSource, who: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return flux as it is seen (N, L) float32 with NaN on dead pixels, S/N (N,), labels (N, P) float64."""
        flux = np.empty((len(source), source.grid.size), np.float32)
        snr, labels = np.empty(len(source)), np.empty((len(source), len(self.names)))
        start = 0
        for batch in source.batches(2048):
            spectra = relative_spectra(batch.flux, batch.sigma, source.grid.size, who, start)
            rows = slice(start, start + len(batch))
            labels[rows] = labels_of(batch, source.label_space, self.names, who).cpu().numpy()
            snr[rows] = median_snr(spectra.flux, spectra.sigma).cpu().numpy()
            seen = self.view.relative(spectra, self.seen)
            flux[rows] = fill_dead(seen, torch.full((1,), torch.nan)).cpu().numpy()
            start += len(batch)
        if start != len(source) or start < 2:
            raise DataError(f"{who}: expected {len(source)} (at least 2) spectra, got {start}")
        return flux, snr, labels


def _trees_file(label: str) -> str:
    return f"trees_{label}.txt"


@dataclass
class _Stop:
    """Watches the validation error after every round; ends boosting by patience or by the clock."""

    rounds: int
    patience: int
    budget: float | None
    text: str
    progress: Progress | None
    best: int = 0
    error: float = np.inf
    reason: str = "all rounds"

    def __post_init__(self) -> None:
        self.started = time.monotonic()

    def after_round(self, env: Any) -> None:
        """LightGBM callback: `env.evaluation_result_list` holds (set, metric, value, ...) of this round."""
        done, error = env.iteration + 1, env.evaluation_result_list[0][2]
        if error < self.error:
            self.best, self.error = done, error
        if self.progress is not None:
            self.progress(done, self.rounds, f"{self.text}validation RMSE {self.error**0.5:.4f}")
        if done - self.best >= self.patience:
            self._end(env, "early stopping")
        if self.budget is not None and time.monotonic() - self.started > self.budget:
            self._end(env, "time budget")

    def _end(self, env: Any, reason: str) -> None:
        self.reason = reason
        # The way out of LightGBM's loop that a callback has.
        raise load_lightgbm().callback.EarlyStopException(env.iteration, env.evaluation_result_list)


def _deviation(flux: np.ndarray) -> np.ndarray:
    """Return the standard deviation of every pixel (L,) float32; 1 where it does not vary."""
    deviation = flux.std(axis=0, dtype=np.float64)
    return np.where(deviation > 0, deviation, 1.0).astype(np.float32)


def _fill_with_mean(flux: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    """Replace NaN in place by `mean` (L,), by default each pixel's mean finite value; return the mean."""
    missing = np.isnan(flux)
    if mean is None:
        total = (
            np.where(missing, 0.0, flux).sum(axis=0) if missing.any() else flux.sum(axis=0, dtype=np.float64)
        )
        mean = (total / np.maximum((~missing).sum(axis=0), 1)).astype(np.float32)
    if missing.any():
        flux[missing] = np.broadcast_to(mean, flux.shape)[missing]
    return mean
