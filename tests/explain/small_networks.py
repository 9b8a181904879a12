"""Small networks of every kind, fresh from the generator, and spectra with a few lines."""

import numpy as np
import torch

from specvit.estimators import network_config
from specvit.models.network import build_network
from specvit.spectra import LOW_T_BOX, WavelengthGrid

GRID = WavelengthGrid.linear(8480, 1.0, 96)
SPACE = LOW_T_BOX.select(["log_g", "teff"])
OPTIONS = {
    "vit": {"patch": 8, "width": 16, "depth": 2, "heads": 2, "head": "ordinal"},
    "vit-cls": {"patch": 12, "stride": 8, "coarse_patch": 32, "width": 16, "depth": 2, "heads": 2,
                "pooling": "cls", "head": "gaussian"},
    "swin": {"patch": 4, "window": 4, "width": 8, "heads": 2, "stages": 2},
    "cnn": {"width": 8, "stages": 2, "segments": 4},
    "mlp": {"width": 8, "head": "gaussian", "channels": ("flux", "sigma", "derivative")},
    "mlp-chunk": {"width": 8, "chunk": 16},
    "subspace": {"width": 8, "components": 5, "patterns": 2, "head": "point"},
}  # fmt: skip


def spectra(count=6, seed=0):
    rng = np.random.default_rng(seed)
    sigma = 0.05 * (1 + rng.uniform(size=(count, 96)))
    depth = rng.uniform(0.1, 0.6, (count, 1))
    clean = 1 - depth * np.exp(-0.5 * ((GRID.wavelength - 8500.36) / 4) ** 2)
    flux = 3 * (clean + sigma * rng.standard_normal((count, 96)))
    return torch.from_numpy(flux.astype(np.float32)), torch.from_numpy((3 * sigma).astype(np.float32))


def make_network(name):
    torch.manual_seed(0)
    config = network_config(name.split("-")[0]).with_options(OPTIONS[name])
    network = build_network(config, GRID, SPACE)
    flux, sigma = spectra(40, seed=1)
    network.front.fit(flux, flux, sigma) if name == "subspace" else network.front.fit(flux, sigma)
    # As if trained: a fresh network answers the same to every spectrum.
    with torch.no_grad():
        for parameter in network.body.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval().requires_grad_(False)
