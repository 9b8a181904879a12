"""1 σ errors of a bounded maximum-likelihood estimate: the Fisher matrix, and what the box adds to it.

Positions are in units of the box, so that every label lies in [0, 1].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from specvit.inference.box_steps import Bounds

#: Variance of a label that may be anywhere in the box.
BOX_VARIANCE = 1 / 12

#: Errors beyond this many boxes are all the same to the box.
LARGEST = 100.0


def label_std(position: Tensor, fisher: Tensor, bounds: Bounds) -> Tensor:
    """Return the root mean square deviation from the estimate, shape (B, P), in units of the box.

    Interior stars with good spectra: √[F⁻¹]_pp, the Cramér-Rao bound. Otherwise two things are known besides
    the spectrum, and both come from the box:

    - The other labels lie in it: each is given the variance 1/12 when it is marginalised, so that a label
      without information does not make all others uncertain.
    - The label itself lies in it: the error is that of a normal distribution around the estimate, cut at the
      faces. It tends to that of a uniform label where the spectrum says nothing.

    On a face the cut distribution is half a normal one, whose deviation from the face is σ again: an estimate
    that the box stopped is not called more precise because it was stopped.

    Args:
        position: the estimates, shape (B, P).
        fisher: Jᵀ W J of the labels, amplitude and continuum removed, shape (B, P, P).
        bounds: between which each label lies: those of the box, or of the hole of a library it stands at.
    """
    identity = torch.eye(position.shape[1]).to(fisher)
    confined = torch.linalg.inv(fisher + identity / BOX_VARIANCE).diagonal(dim1=-2, dim2=-1)
    # [(F + 12 I)⁻¹]_pp = 1 / (information with the others confined + 12).
    information = (1 / confined - 1 / BOX_VARIANCE).clamp(min=LARGEST**-2)
    return _cut_deviation(position, information.rsqrt(), bounds)


def _cut_deviation(position: Tensor, sigma: Tensor, bounds: Bounds) -> Tensor:
    """Return √E[(x - position)²] of x ~ N(position, sigma²) given that it lies between the bounds."""
    low, high = ((bound - position) / sigma for bound in bounds)
    inside = torch.special.ndtr(high) - torch.special.ndtr(low)
    variance: Tensor = 1 - (high * _normal(high) - low * _normal(low)) / inside
    return sigma * variance.sqrt()


def _normal(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
