"""How much of what a network looks at in the test stars lies on known lines, star by star."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from specvit.errors import ConfigError
from specvit.estimators import Choice, NetworkEstimator
from specvit.explain import (
    WINDOWS,
    attention_profiles,
    estimate_slopes,
    has_attention,
    to_shares,
    window_of_pixels,
)
from specvit.jobs.stages.test_stars import TestStars
from specvit.jobs.watch import Update
from specvit.jobs.work import Record
from specvit.limits.density import star_densities
from specvit.runs import LineFocus, RunFolder
from specvit.simulate import Simulator
from specvit.spectra import WavelengthGrid

#: Name of the stage in a run folder.
FOCUS = "line focus"

#: Spectra looked at at once.
PIECE = 16

#: Windows that are no lines.
NO_LINES = ("TiO", "elsewhere")


@dataclass(frozen=True)
class FocusOnLines:
    """Keep how much of response, attention and information lies in the windows of known lines.

    Args:
        choice: the network.
        model: its folder, relative to the run; None for one that was there before.
        simulator: the world of the stars.
        test: the stars, with their truth.
        target: the label.
    """

    choice: Choice
    model: str | None
    simulator: Simulator
    test: TestStars
    target: str

    name = FOCUS

    @property
    def title(self) -> str:
        """What a watcher is told."""
        return f"where {self.choice.title} looks"

    def make(self, run: RunFolder, record: Record, update: Update) -> LineFocus:
        """Return the focus of every star, and keep it."""
        model = (
            self.choice.load() if self.model is None else self.choice.spec.load(run.path / Path(self.model))
        )
        if not isinstance(model, NetworkEstimator):
            raise ConfigError(f"{self.choice.name}: only of a network can it be said what it looks at")
        found = line_focus(model, self.simulator, self.test, self.target, update)
        found.write(run)
        return found

    def read(self, run: RunFolder) -> LineFocus:
        """Return what an earlier start kept."""
        return LineFocus.read(run)


def line_focus(
    model: NetworkEstimator, simulator: Simulator, test: TestStars, target: str, update: Update
) -> LineFocus:
    """Return how much of what a network looks at lies on known lines; see `LineFocus`.

    The response of a pixel is the square of its slope times sigma, which for an efficient estimate is its share of the
    Fisher information.
    """
    observed = copy.deepcopy(simulator.observed).double()
    batch, network = test.first(len(test)), model.network
    inside = line_pixels(simulator.grid)
    parts: dict[str, list[np.ndarray]] = {"response": [], "attention": [], "information": []}
    for start in range(0, len(batch), PIECE):
        piece = batch[start : start + PIECE]
        response = (
            estimate_slopes(network, piece.flux, piece.sigma, target) * piece.known_truth().sigma
        ).square()
        profiles = {"response": response, "information": star_densities(observed, piece, target)}
        if has_attention(network):
            profiles["attention"] = attention_profiles(network, piece.flux, piece.sigma).blocks.mean(dim=1)
        for name, profile in profiles.items():
            parts[name].append(focus(torch.nan_to_num(profile).numpy(), inside))
        update(start + len(piece), len(batch))
    found = {name: np.concatenate(values) for name, values in parts.items() if values}
    return LineFocus(found["response"], found["information"], found.get("attention"))


def line_pixels(grid: WavelengthGrid) -> np.ndarray:
    """Return which pixels lie in the window of a known line, shape (L,); bands do not count."""
    return ~np.isin(window_of_pixels(grid), [WINDOWS.index(name) for name in NO_LINES])


def focus(profiles: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the share of each profile (N, L) on some pixels (L,) over their share of the pixels, shape (N,)."""
    shares: np.ndarray = to_shares(profiles)[:, inside].sum(axis=1) / inside.mean()
    return shares
