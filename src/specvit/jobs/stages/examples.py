"""Example spectra for the report: a few kinds of star from the test set, with noise and Jacobian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specvit.jobs.stages.test_stars import TestStars
from specvit.jobs.watch import Update
from specvit.jobs.work import Record
from specvit.runs import Examples, RunFolder
from specvit.simulate import Simulator
from specvit.spectra import LabelSpace

#: Kinds shown: a giant, a cool dwarf, a Sun-like dwarf, a metal-poor star.
KINDS = {
    "teff": (4500.0, 4300.0, 5700.0, 5000.0),
    "log_g": (2.0, 4.6, 4.4, 2.5),
    "m_h": (-0.3, 0.0, 0.0, -2.0),
}
#: Distances that count as one unit of difference.
TOLERANCE = {"teff": 300.0, "log_g": 0.4, "m_h": 0.3}
#: Places on the diagonal of a box of labels that none of the kinds is known by, as shares of its length.
DIAGONAL = (0.1, 0.4, 0.6, 0.9)


@dataclass(frozen=True)
class ShowExamples:
    """Keep the bright star of the test set nearest to each kind.

    Args:
        simulator: the world of the spectra.
        test: the test spectra, with their truth.
        target: the label whose derivative is kept.
    """

    simulator: Simulator
    test: TestStars
    target: str

    name = "examples"
    title = "example spectra"

    def make(self, run: RunFolder, record: Record, update: Update) -> Examples:
        """Return the examples, and keep them."""
        examples = example_spectra(self.simulator, self.test, self.target)
        examples.write(run)
        return examples

    def read(self, run: RunFolder) -> Examples:
        """Return the examples of an earlier start."""
        return Examples.read(run)


def kinds_of_star(space: LabelSpace) -> tuple[list[int], Tensor, Tensor]:
    """Return the columns that tell kinds apart (C), the kinds (M, C), and the differences that count as one (C)."""
    if known := [name for name in KINDS if name in space.names]:
        kinds = torch.tensor([KINDS[name] for name in known]).T
        return [space.index(name) for name in known], kinds, torch.tensor([TOLERANCE[name] for name in known])
    # Labels of a library's own: from one corner of the box to the other.
    low, high = torch.tensor(space.low), torch.tensor(space.high)
    return list(range(len(space))), torch.stack([torch.lerp(low, high, at) for at in DIAGONAL]), high - low


def example_spectra(simulator: Simulator, test: TestStars, target: str) -> Examples:
    """Return the bright star of the test set nearest to each kind, in the labels that the library has."""
    space, labels = simulator.prior.label_space, torch.from_numpy(test.table.labels)
    columns, kinds, tolerance = kinds_of_star(space)
    snr = torch.from_numpy(test.table.snr)
    # Only the better half in S/N: an example should show its lines.
    bright = torch.nonzero(snr >= snr.median())[:, 0]
    distance = (labels[bright][:, None, columns] - kinds) / tolerance
    rows = bright[torch.unique(distance.square().sum(dim=2).argmin(dim=0))]
    stars = test.batch[rows]
    assert stars.truth is not None
    jacobian = simulator.observed.jacobian(labels[rows])[:, :, space.index(target)]
    return Examples(
        wavelength=simulator.grid.wavelength,
        flux=stars.flux.numpy(),
        clean=stars.truth.flux.numpy(),
        sigma=stars.truth.sigma.numpy(),
        # The Jacobian is of band-normalised flux, the spectra are relative to their level.
        jacobian=(jacobian * stars.truth.scale[:, None]).detach().numpy(),
        label_names=np.array(space.names),
        labels=test.table.labels[rows],
        snr=test.table.snr[rows],
        mag=stars.conditions["mag"].numpy(),
        band=np.array(simulator.instrument.band.name),
    )
