"""Stars whose flux depends on log g in another way in each bin of [M/H]: the case experts are for."""

import numpy as np
import torch

from specvit.spectra import LabelSpace, MemorySource, SpectraBatch, WavelengthGrid

SPACE = LabelSpace(("teff", "log_g", "m_h"), ("K", "dex", "dex"), (3750.0, 1.0, -2.5), (6000.0, 5.0, 0.5))
#: Ca II 8500 and 8544 with their side bands.
GRID = WavelengthGrid.linear(8475.0, 1.0, 100)
NOISE = 0.02


def make_source(count, seed, noise=NOISE, low=(3750.0, 1.0, -2.5)):
    rng = np.random.default_rng(seed)
    labels = rng.uniform(low, SPACE.high, (count, 3))
    teff, log_g, m_h = labels.T
    at = np.arange(100)
    lines = np.exp(-0.5 * ((at - np.array([[25], [69], [85]])) / 4) ** 2)
    # The sign of the dependence on log g changes at [M/H] = -1: no single line is right on both sides.
    slope = np.where(m_h < -1, -1.0, 1.0) * (log_g - 3) / 10
    strength = np.stack([0.3 + 0.1 * m_h, 0.3 + slope, 0.2 + (teff - 5000) / 10_000], axis=1)
    flux = 1 - strength @ lines + noise * rng.standard_normal((count, 100))
    flux, sigma, labels = (
        torch.from_numpy(a.astype(np.float32)) for a in (flux, np.full_like(flux, noise), labels)
    )
    batch = SpectraBatch(flux, sigma, labels, {}, torch.full((count,), 1 / noise))
    return MemorySource(batch, GRID, SPACE)


def known(source):
    """Return the true labels by name."""
    return dict(zip(SPACE.names, source.batch.labels.double().T, strict=True))


def r2(prediction, source, label="log_g"):
    truth = source.batch.labels[:, SPACE.index(label)].double()
    error = prediction.mean[:, prediction.names.index(label)] - truth
    return float(1 - error.square().mean() / truth.var(unbiased=False))
