"""Example spectra for the report: a few kinds of star from the test set, with noise and Jacobian."""

from __future__ import annotations

import numpy as np
import torch

from specvit.simulate import Simulator
from specvit.spectra import SpectraBatch

#: (teff, log_g, m_h) of the kinds shown: a giant, a cool dwarf, a Sun-like dwarf, a metal-poor star.
KINDS = ((4500.0, 2.0, -0.3), (4300.0, 4.6, 0.0), (5700.0, 4.4, 0.0), (5000.0, 2.5, -2.0))
#: Distances that count as one unit of difference.
TOLERANCE = (300.0, 0.4, 0.3)


def example_spectra(simulator: Simulator, test: SpectraBatch, target: str) -> dict[str, np.ndarray]:
    """Return arrays of `runs.results` 'examples': the bright star of the test set nearest to each kind."""
    assert test.truth is not None
    space = simulator.prior.label_space
    columns = [space.index(name) for name in ("teff", "log_g", "m_h")]
    # Only the better half in S/N: an example should show its lines.
    bright = torch.nonzero(test.snr >= test.snr.median())[:, 0]
    distance = test.labels[bright][:, None, columns] - torch.tensor(KINDS)
    nearest = (distance / torch.tensor(TOLERANCE)).square().sum(dim=2).argmin(dim=0)
    rows = bright[torch.unique(nearest)]
    stars = test[rows]
    assert stars.truth is not None
    jacobian = (
        simulator.observed.jacobian(stars.labels)[:, :, space.index(target)] * stars.truth.scale[:, None]
    )
    return {
        "wavelength": simulator.grid.wavelength,
        "flux": stars.flux.numpy(),
        "clean": stars.truth.flux.numpy(),
        "sigma": stars.truth.sigma.numpy(),
        "jacobian": jacobian.detach().numpy(),
        "label_names": np.array(space.names),
        "labels": stars.labels.numpy(),
        "snr": stars.snr.numpy(),
        "mag": stars.conditions["mag"].numpy(),
    }
