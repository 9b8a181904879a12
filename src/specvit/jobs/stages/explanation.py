"""What a trained network looks at in test spectra, beside where the information on the label lies."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from specvit.errors import DataError
from specvit.estimators import NetworkEstimator
from specvit.explain import (
    WINDOWS,
    attention_profiles,
    estimate_slopes,
    has_attention,
    integrated_gradients,
    likeness,
    mean_density,
    to_shares,
    window_of_pixels,
    window_shares,
)
from specvit.jobs.stages.fit import Fitted
from specvit.jobs.stages.test_stars import TestStars
from specvit.jobs.watch import Update
from specvit.jobs.work import Record
from specvit.limits.density import star_densities
from specvit.runs import Explanation, RunFolder
from specvit.simulate import Simulator
from specvit.spectra import SpectraBatch, WavelengthGrid

Arrays = dict[str, np.ndarray]

#: Spectra explained at once; the attention of the largest SpecViT takes 12 MB for each.
PIECE = 16

#: K; below it TiO shapes the spectrum.
COOL = 4500.0


@dataclass(frozen=True)
class ExplainNetwork:
    """Keep what a network of the job looks at in the first test spectra.

    Args:
        fitted: the network.
        simulator: the world of the spectra.
        test: the test spectra, with their truth.
        stars: how many, from the first.
        target: the label.
    """

    fitted: Fitted
    simulator: Simulator
    test: TestStars
    stars: int
    target: str

    name = "explain"

    @property
    def title(self) -> str:
        """What a watcher is told."""
        return f"what {self.fitted.choice.title} looks at"

    def make(self, run: RunFolder, record: Record, update: Update) -> Explanation:
        """Return the explanation, and keep it."""
        # A network fitted here is read from the run: what is explained is what was scored.
        choice, kept = self.fitted.choice, self.fitted.record.model
        estimator = choice.load() if kept is None else choice.spec.load(run.path / Path(kept))
        record["model"] = choice.key
        assert isinstance(estimator, NetworkEstimator)
        found = explain_network(estimator, self.simulator, self.test.first(self.stars), self.target, update)
        found.write(run)
        return found

    def read(self, run: RunFolder) -> Explanation:
        """Return the explanation of an earlier start."""
        return Explanation.read(run)


def explain_network(
    estimator: NetworkEstimator, simulator: Simulator, test: SpectraBatch, target: str, update: Update
) -> Explanation:
    """Return what a network looks at in all spectra of `test`.

    Fisher information is at the true labels and noise, with all other labels of the library and the flux
    scale free, as the ceiling is.

    Args:
        estimator: a trained network; attention is left out if it has none over the whole spectrum.
        simulator: the world of the spectra.
        test: spectra with their truth; some hundred are enough.
        target: the label, one of the network's and of the library's.
        update: called with (done, total) spectra.

    Raises:
        LabelError: if network or library does not know `target`.
        WavelengthRangeError: if the network is for other pixels.
        DataError: if `test` carries no truth.
    """
    grid = simulator.grid
    estimator.grid.check_matches(grid, f"spectra for {estimator.name}")
    estimator.label_space.index(target)
    simulator.prior.label_space.index(target)
    if test.truth is None:
        raise DataError("explanation: the spectra carry no truth, which the Fisher information needs")
    observed = copy.deepcopy(simulator.observed).double()
    parts: list[dict[str, Tensor]] = []
    for start in range(0, len(test), PIECE):
        piece = test[start : start + PIECE]
        fisher = star_densities(observed, piece, target)
        parts.append({"fisher": fisher} | _looked_at(estimator, piece, target))
        update(start + len(piece), len(test))
    profiles = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    difference, gap = profiles.pop("difference"), profiles.pop("gap")
    return Explanation(
        model=np.array(estimator.name),
        target=np.array(target),
        wavelength=grid.wavelength,
        snr=test.known_snr().numpy(),
        gap=np.sqrt(np.mean(gap**2) / np.mean(difference**2)),
        **_summarise(profiles, _ranges(simulator, test), grid),
    )


def _looked_at(estimator: NetworkEstimator, stars: SpectraBatch, target: str) -> dict[str, Tensor]:
    """Return response, integrated gradients and attention (B, ..., L), and how well the second add up (B,)."""
    truth = stars.known_truth()
    network = estimator.network.to(estimator.device)
    flux, sigma = stars.flux.to(estimator.device), stars.sigma.to(estimator.device)
    attribution = integrated_gradients(network, flux, sigma, target)
    slope = estimate_slopes(network, flux, sigma, target)
    values = {
        # Slope times σ: what the noise of a pixel adds to the variance of the estimate.
        "response": (slope * truth.sigma.to(slope)).square(),
        "ig": attribution.values,
        "difference": attribution.difference,
        "gap": attribution.gap,
    }
    if has_attention(network):
        blocks, through = attention_profiles(network, flux, sigma)
        values |= {"blocks": blocks, "attention": blocks.mean(dim=1), "rollout": through}
    return {name: value.cpu() for name, value in values.items()}


def _ranges(simulator: Simulator, test: SpectraBatch) -> dict[str, np.ndarray]:
    """Return the groups of stars that are looked at apart: name -> mask (N,)."""
    space = simulator.prior.label_space
    groups = {"all stars": np.ones(len(test), dtype=bool)}
    if "teff" in space.names:
        cool = test.known_labels()[:, space.index("teff")].numpy() < COOL
        groups |= {f"Teff < {COOL:.0f} K": cool, f"Teff ≥ {COOL:.0f} K": ~cool}
    return {name: mask for name, mask in groups.items() if mask.any()}


def _summarise(profiles: Arrays, ranges: dict[str, np.ndarray], grid: WavelengthGrid) -> Arrays:
    shares = {name: to_shares(values) for name, values in profiles.items()}
    blocks = shares.pop("blocks", None)
    windows = window_of_pixels(grid)
    masks = list(ranges.values())
    density = np.array([[mean_density(values[mask], grid) for mask in masks] for values in shares.values()])
    information = density[list(shares).index("fisher")]
    arrays: Arrays = {
        "quantities": np.array(list(shares)),
        "ranges": np.array(list(ranges)),
        "stars": np.array([mask.sum() for mask in masks]),
        "windows": np.array(WINDOWS),
        "window": windows,
        "density": density,
        "share": np.array([[window_shares(v[mask], windows) for mask in masks] for v in shares.values()]),
        "likeness": np.array(
            [[likeness(a, b, grid) for a, b in zip(rows, information, strict=True)] for rows in density]
        ),
    }
    return arrays if blocks is None else arrays | {"blocks": mean_density(blocks, grid)}
