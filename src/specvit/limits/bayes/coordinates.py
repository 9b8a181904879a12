"""Coordinates in which the uniform prior is a standard normal: where the sampler lives.

Owns the map between a label box and R^P; knows no likelihood and no proposal.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from specvit.spectra import LabelSpace

#: |z| beyond this is the face of the box itself: 1 - Φ(5.5) = 2e-8, below float32 resolution of a label.
FACE = 5.5


class ProbitBox:
    """Labels in a box <-> z in R^P with labels = low + (high - low) Φ(z).

    A uniform label is exactly a standard normal z: nothing is ever drawn outside the box, a posterior piled
    up against a face has a smooth Gaussian tail there, and the prior itself is a proper proposal.

    Args:
        label_space: the box.
    """

    def __init__(self, label_space: LabelSpace) -> None:
        self.label_space = label_space
        self.low = torch.tensor(label_space.low, dtype=torch.float64)
        self.width = torch.tensor(label_space.high, dtype=torch.float64) - self.low

    def to_labels(self, z: Tensor) -> Tensor:
        """Return labels, shape (..., P), float64, for coordinates z of the same shape."""
        # float64: in float32 Φ(z) is 1 from z = 5.4 on, and samples beyond would pile up on the face.
        labels: Tensor = self.low.to(z.device) + self.width.to(z.device) * torch.special.ndtr(z)
        return labels

    def from_labels(self, labels: Tensor) -> Tensor:
        """Return z, shape (..., P), float64, clipped to the faces (see `FACE`)."""
        unit = (labels.double() - self.low.to(labels.device)) / self.width.to(labels.device)
        z: Tensor = torch.special.ndtri(unit.clamp(0.0, 1.0)).clamp(-FACE, FACE)
        return z


def log_standard_normal(z: Tensor) -> Tensor:
    """Return ln N(z; 0, I), shape (...,), for z of shape (..., P)."""
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))
