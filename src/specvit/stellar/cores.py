"""How far the cores of the Ca II triplet are believed, chosen by cross-validation on stars of known parameters.

LTE gets these cores wrong, by an amount that depends on the star and on the resolution; the fit gives them a further error.
Every candidate is fitted to every star with a model error in which the star has no part. Of those whose loss is within one
standard error of the least, paired over stars, the largest is taken: cores are believed as far as the stars say that this
helps. What is stated of the choice is of stars that had no part in it either.

Source: Breiman, Friedman, Olshen & Stone 1984, Classification and Regression Trees, 3.4.3 (the rule of one standard error).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from specvit.errors import ConfigError
from specvit.library import Emulator
from specvit.stellar.calibration import KnownResidual, KnownStar, folds_of, leave_out
from specvit.stellar.fit import Outcome
from specvit.stellar.parameters import Refusal
from specvit.stellar.settings import StarFitSettings

#: Further errors that are tried, relative to the flux.
CANDIDATES = (0.0, 0.05, 0.1, 0.2, 0.3)
#: What a deviation is measured in: K and dex that are usual between surveys. A star that is off by far counts no more.
USUAL = {"teff": 150.0, "log_g": 0.3, "m_h": 0.15}
FARTHEST = 5.0


@dataclass(frozen=True)
class CoreChoice:
    """A further error of the cores, and what it is worth.

    Args:
        chosen: by all stars.
        losses: candidate -> mean loss over all stars.
        folds: what the stars outside each part chose, in their order.
        held_out: mean loss of stars that had no part in the choice.
        off: label -> deviations of these stars, shape (N,), NaN where there is none.
    """

    chosen: float
    losses: dict[float, float]
    folds: tuple[float, ...]
    held_out: float
    off: dict[str, np.ndarray]


def choose_core_error(
    residuals: Sequence[KnownResidual],
    emulator: Emulator,
    settings: StarFitSettings,
    candidates: Sequence[float] = CANDIDATES,
    folds: int = 10,
    progress: Callable[[int, int], None] | None = None,
) -> CoreChoice:
    """Return the further error of the cores that suits known stars best.

    Args:
        residuals: of the stars, see `known_residuals`.
        emulator, settings: of the fit.
        candidates: tried, each relative to the flux.
        folds: parts of the stars that are left out in turn, as in `leave_out`.
        progress: called with the candidates that are done, and their number.

    Raises:
        ConfigError: without a candidate.
        DataError: if too few stars are left to make a model error of.
    """
    if not candidates:
        raise ConfigError("cores: at least one further error has to be tried")
    found: dict[float, tuple[Outcome, ...]] = {}
    stars: tuple[KnownStar, ...] = ()
    for number, candidate in enumerate(candidates):
        if progress is not None:
            progress(number, len(candidates))
        left_out = leave_out(residuals, emulator, replace(settings, core_error=candidate), folds=folds)
        stars, found[candidate] = left_out.stars, left_out.corrected
    return _chosen(stars, found, folds_of(len(residuals), folds))


def _chosen(
    stars: Sequence[KnownStar], found: Mapping[float, Sequence[Outcome]], part: np.ndarray
) -> CoreChoice:
    """Return the choice of all stars, and that of all others for each part."""
    candidates = list(found)
    off = {
        candidate: {label: _off(stars, outcomes, label) for label in USUAL}
        for candidate, outcomes in found.items()
    }
    loss = np.array([_losses(off[candidate]) for candidate in candidates])
    picked = {number: _pick(loss[:, part != number], candidates) for number in np.unique(part)}
    own = np.array([picked[number] for number in part])
    rows = np.arange(len(stars))
    return CoreChoice(
        candidates[_pick(loss, candidates)],
        dict(zip(candidates, loss.mean(axis=1).tolist(), strict=True)),
        tuple(candidates[at] for at in picked.values()),
        float(loss[own, rows].mean()),
        {label: np.array([off[candidates[at]][label][row] for row, at in enumerate(own)]) for label in USUAL},
    )


def _pick(loss: np.ndarray, candidates: Sequence[float]) -> int:
    """Return the number of the candidate taken, of losses (candidates, N)."""
    least = int(loss.mean(axis=1).argmin())
    more = loss - loss[least]
    # One star tells no scatter.
    error = more.std(axis=1) / np.sqrt(max(loss.shape[1] - 1, 1))
    near = np.flatnonzero(more.mean(axis=1) <= error)
    return max(near.tolist(), key=lambda at: candidates[at])


def _off(stars: Sequence[KnownStar], outcomes: Sequence[Outcome], label: str) -> np.ndarray:
    return np.array(
        [
            np.nan
            if isinstance(one, Refusal)
            else one[0].labels.get(label, np.nan) - star.labels.get(label, np.nan)
            for one, star in zip(outcomes, stars, strict=True)
        ]
    )


def _losses(off: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the mean over labels of |deviation| / usual, at most `FARTHEST`, shape (N,); a refused star counts so."""
    scaled = np.array([np.minimum(np.abs(off[label]) / usual, FARTHEST) for label, usual in USUAL.items()])
    known = np.isfinite(scaled)
    total = np.where(known, scaled, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    found: np.ndarray = np.where(known.any(axis=0), total, FARTHEST)
    return found
