"""Spectra of few pixels whose mean and covariance are known, behind the protocol of sources."""

import torch

from specvit.spectra import LOW_T_BOX, MemorySource, SpectraBatch, Truth, WavelengthGrid

PIXELS, RANK = 60, 4
GRID = WavelengthGrid.linear(8000, 1.0, PIXELS)
SPACE = LOW_T_BOX.select(["log_g"])


def gaussian_stars(count, seed, noise=0.05):
    """Return spectra 1 + c @ rows with c ~ N(0, I), and noise that rises along the spectrum."""
    rows = 0.1 * torch.randn(RANK, PIXELS, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    clean = 1 + torch.randn(count, RANK, generator=generator) @ rows
    sigma = noise * (0.5 + torch.linspace(0, 2, PIXELS)).expand(count, -1).contiguous()
    flux = clean + sigma * torch.randn(clean.shape, generator=generator)
    labels = 1 + 4 * torch.rand(count, 1, generator=generator)
    truth = Truth(clean, sigma, torch.ones(count))
    return SpectraBatch(flux, sigma, labels, {}, torch.full((count,), 1 / noise), truth)


def source(count, seed, noise=0.05):
    return MemorySource(gaussian_stars(count, seed, noise), GRID, SPACE)
