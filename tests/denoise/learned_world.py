"""A linear world for learned denoisers: Gaussian spectra and noise, so that all that is optimal is known in closed form.

Most pixels are continuum without noise: they hold the level of a spectrum at exactly one, so that dividing by it
changes nothing.
"""

import torch

from specvit.spectra import LOW_T_BOX, MemorySource, SpectraBatch, Truth, WavelengthGrid

LINES, PIXELS = 24, 64
GRID = WavelengthGrid.linear(8000, 1.0, PIXELS)
SPACE = LOW_T_BOX.select(["log_g"])


def shapes():
    """Return mean (L,) and the three directions (3, L) in which stars differ, of unit prior variance."""
    x = torch.arange(LINES) / LINES
    lines = [torch.exp(-0.5 * ((x - at) / 0.1) ** 2) for at in (0.2, 0.5, 0.8)]
    basis = torch.zeros(3, PIXELS)
    basis[:, :LINES] = 0.15 * torch.stack(lines)
    return torch.ones(PIXELS), basis


def spectra(count, seed=0, noise=0.1):
    """Return spectra whose noise-free flux is Gaussian; sigma differs from star to star and from pixel to pixel."""
    generator = torch.Generator().manual_seed(seed)
    mean, basis = shapes()
    clean = mean + torch.randn(count, 3, generator=generator) @ basis
    star = noise * torch.exp(torch.rand(count, 1, generator=generator))
    sigma = star * (1 + torch.linspace(0, 1, PIXELS))
    true_sigma = torch.where(torch.arange(PIXELS) < LINES, sigma, 0.0)
    flux = clean + true_sigma * torch.randn(clean.shape, generator=generator)
    labels = torch.full((count, 1), 2.5)
    return SpectraBatch(flux, sigma, labels, {}, 1 / star[:, 0], Truth(clean, true_sigma, torch.ones(count)))


def source(count, seed=0, noise=0.1):
    return MemorySource(spectra(count, seed, noise), GRID, SPACE)


def posterior(flux, sigma):
    """Return mean (B, L) and standard deviation (B, L) of the noise-free flux, given flux and sigma (B, L)."""
    mean, basis = (values.double() for values in shapes())
    weight = sigma.double() ** -2
    normal = torch.einsum("kl,bl,ml->bkm", basis, weight, basis) + torch.eye(3).double()
    covariance = torch.linalg.inv(normal)
    h = (weight * (flux.double() - mean)) @ basis.T
    found = torch.einsum("bkm,bm->bk", covariance, h)
    return mean + found @ basis, torch.einsum("kl,bkm,ml->bl", basis, covariance, basis).sqrt()


def error(found, clean):
    """Return the mean squared error of the pixels of lines."""
    return float((found - clean)[:, :LINES].square().mean())
