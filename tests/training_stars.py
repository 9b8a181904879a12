"""A small world for training tests: two lines whose depths are the two labels."""

import numpy as np
import torch

from specvit.spectra import LOW_T_BOX, SpectraBatch, WavelengthGrid

GRID = WavelengthGrid.linear(8000, 1.0, 64)
SPACE = LOW_T_BOX.select(["log_g", "teff"])


def stars(count, seed=0, noise=0.02):
    """Return spectra whose two labels change the depth of two lines."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0, 1, (count, 2))
    x = np.arange(64)
    lines = np.exp(-0.5 * ((x - np.array([[20], [45]])) / 3) ** 2)
    clean = 1 - 0.5 * share @ lines
    sigma = np.full_like(clean, noise)
    labels = np.array(SPACE.low) + share * (np.array(SPACE.high) - SPACE.low)
    flux = clean + noise * rng.standard_normal(clean.shape)
    tensors = [torch.from_numpy(a.astype(np.float32)) for a in (flux, sigma, labels)]
    return SpectraBatch(*tensors, {}, torch.full((count,), 1 / noise))
