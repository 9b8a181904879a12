"""Cramér-Rao bounds of test stars for every label, from exact derivatives at their true labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specvit.jobs.stages.test_stars import TestStars
from specvit.jobs.watch import Update
from specvit.jobs.work import Record
from specvit.library import Emulator
from specvit.limits import marginal_crlb, r2_max, schur_decay
from specvit.limits.forecast import FREE_LABELS, Forecaster, FreeParameters
from specvit.runs import RunFolder, StarBounds
from specvit.simulate import Simulator


@dataclass(frozen=True)
class BoundStars:
    """Bound the variance of every label of the first test stars.

    Args:
        simulator: their world.
        emulator: its library, on the library's own grid.
        test: the test spectra.
        stars: how many, from the first.
        target: a label, for which all of the library's others are free.
    """

    simulator: Simulator
    emulator: Emulator
    test: TestStars
    stars: int
    target: str

    name = "crlb"
    title = "Cramér-Rao ceiling"

    def make(self, run: RunFolder, record: Record, update: Update) -> StarBounds:
        """Return the bounds, and keep them."""
        bounds = star_bounds(self.simulator, self.emulator, self.test, self.stars, self.target, update)
        bounds.write(run)
        return bounds

    def read(self, run: RunFolder) -> StarBounds:
        """Return the bounds of an earlier start."""
        return StarBounds.read(run)


def free_sets(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the sets of free labels for a library: all of its labels, and without chemistry if that is fewer."""
    main = tuple(name for name in FREE_LABELS[3] if name in names)
    return {"all": names} | ({"chemistry known": main} if main and len(main) < len(names) else {})


def star_bounds(
    simulator: Simulator, emulator: Emulator, test: TestStars, stars: int, target: str, update: Update
) -> StarBounds:
    """Return the marginal bounds of every label at the true labels of the first `stars` test stars.

    The flux scale is a nuisance: spectra are relative to their own median, so the level says nothing.

    Args:
        simulator, emulator, test, stars, target: see `BoundStars`.
        update: told how many of the stars are done.

    Returns:
        Bounds of M = min(stars, len(test)) stars, float64.
    """
    names, batch = simulator.prior.label_space.names, test.first(stars)
    forecaster = Forecaster(
        emulator, simulator.instrument, FreeParameters(target, names), simulator.noise_level
    )
    # Degenerate labels leave a small residual of large columns: float64 throughout.
    conditions = {name: value.double() for name, value in batch.conditions.items()}
    fisher = forecaster.forecast(batch.known_labels(), [conditions], update)[0].fisher
    sets = free_sets(names)
    shape = (len(sets), len(batch), len(names))
    crlb, limit, schur = (np.empty(shape) for _ in range(3))
    for s, own in enumerate(sets.values()):
        for p, label in enumerate(names):
            free = tuple(dict.fromkeys((*own, label)))
            at = [forecaster.free.labels.index(name) for name in free]
            # A known label is one whose row and column are left out.
            block, index = fisher[:, at][:, :, at], free.index(label)
            bound = marginal_crlb(block, index)
            crlb[s, :, p] = bound.numpy()
            limit[s, :, p] = r2_max(bound, simulator.prior.variance(label)).numpy()
            schur[s, :, p] = schur_decay(block, index).numpy()
    return StarBounds(
        rows=np.arange(len(batch)),
        snr=test.table.snr[: len(batch)],
        label_names=np.array(names),
        sets=np.array(list(sets)),
        free=np.array([[name in own for name in names] for own in sets.values()]),
        crlb=crlb,
        r2_max=limit,
        schur=schur,
    )
