"""An objective that knows no label: give back the noise-free spectrum, in a body that is no network of ours."""

from dataclasses import dataclass

import torch
from torch import nn

from specvit.errors import DataError


class Standardise(nn.Module):
    """The front: mean and deviation of a sample, fixed."""

    def __init__(self, sample):
        super().__init__()
        self.register_buffer("centre", sample.flux.mean())
        self.register_buffer("scale", sample.flux.std())

    def forward(self, flux):
        return (flux - self.centre) / self.scale


@dataclass(frozen=True)
class Reconstruction:
    """Estimate the noise-free flux from the noisy one, of which a random half is hidden while training."""

    front: Standardise

    score = "fidelity"
    monitor = ("flux",)

    @property
    def identity(self):
        return {"objective": "reconstruction", "pixels": 64}

    def check(self, validation):
        if validation.truth is None:
            raise DataError("reconstruction: the validation spectra have no noise-free flux")

    def prepare(self, batch, seed):
        inputs = self.front(batch.flux)
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
            inputs = inputs * (torch.rand(inputs.shape, generator=generator) < 0.5) * 2
        return inputs, self.front(batch.known_truth().flux)

    def loss(self, outputs, targets):
        return (outputs - targets).square().mean()

    def scores(self, held_out):
        outputs, targets = (torch.cat(part).double() for part in zip(*held_out, strict=True))
        error = (outputs - targets).square()
        return {"flux": float(1 - error.mean() / targets.var()), "worst": -float(error.max())}


def autoencoder():
    return nn.Sequential(nn.Linear(64, 16), nn.Dropout(0.1), nn.GELU(), nn.Linear(16, 64))
