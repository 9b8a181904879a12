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
    space, snr = simulator.prior.label_space, test.known_snr()
    columns = [space.index(name) for name in ("teff", "log_g", "m_h")]
    # Only the better half in S/N: an example should show its lines.
    bright = torch.nonzero(snr >= snr.median())[:, 0]
    distance = test.known_labels()[bright][:, None, columns] - torch.tensor(KINDS)
    nearest = (distance / torch.tensor(TOLERANCE)).square().sum(dim=2).argmin(dim=0)
    rows = bright[torch.unique(nearest)]
    stars = test[rows]
    truth, labels = stars.known_truth(), stars.known_labels()
    jacobian = simulator.observed.jacobian(labels)[:, :, space.index(target)] * truth.scale[:, None]
    return {
        "wavelength": simulator.grid.wavelength,
        "flux": stars.flux.numpy(),
        "clean": truth.flux.numpy(),
        "sigma": truth.sigma.numpy(),
        "jacobian": jacobian.detach().numpy(),
        "label_names": np.array(space.names),
        "labels": labels.numpy(),
        "snr": snr[rows].numpy(),
        "mag": stars.conditions["mag"].numpy(),
    }
