"""What the experts see of a spectrum: its pixels, averaged in groups or not, or the coefficients of its subspace."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from specvit.errors import ConfigError, DataError
from specvit.models.inputs import RelativeSpectra, fill_dead
from specvit.models.origin import Origin

InputKind = Literal["auto", "pixels", "subspace"]


class ExpertInputs:
    """From spectra to the D numbers that experts are fitted on.

    Args:
        kind: "pixels" relative to the level, or the Wiener estimate of the "subspace" of noise-free spectra, which
            knows the noise of every pixel, with its level features; "auto" takes these where it can.
        rebin: pixels that are averaged; what is left at the end is one more group.
        origin: of the training; its domain holds the subspace.

    Raises:
        ConfigError: for an unknown kind, or `rebin` with a subspace.
        DataError: for a subspace of spectra that do not say what they are without noise.
    """

    def __init__(self, kind: str, rebin: int, origin: Origin) -> None:
        if kind not in get_args(InputKind):
            raise ConfigError(f"moe: inputs: expected {' or '.join(get_args(InputKind))}, got '{kind}'")
        if kind == "auto":
            kind = "pixels" if origin.domain is None or rebin > 1 else "subspace"
        if kind == "subspace" and origin.domain is None:
            raise DataError(
                "moe: inputs=subspace needs training spectra whose noise-free flux is known; take inputs=pixels"
            )
        if kind == "subspace" and rebin > 1:
            raise ConfigError("moe: rebin: is of pixels; leave it out with inputs=subspace")
        self.kind, self.rebin, self.origin = kind, rebin, origin

    @property
    def size(self) -> int:
        """Number of inputs, D."""
        if self.kind == "pixels":
            return -(-self.origin.grid.size // self.rebin)
        assert self.origin.domain is not None
        return self.origin.domain.space.components + self.origin.domain.space.shape[2]

    def __call__(self, spectra: RelativeSpectra, mean_flux: Tensor) -> Tensor:
        """Return inputs (B, D), float64; dead pixels are those of `mean_flux` (L,), or have no weight."""
        if self.kind == "pixels":
            return _grouped(fill_dead(spectra, mean_flux), self.rebin)
        assert self.origin.domain is not None
        found = self.origin.domain.space(spectra.flux, spectra.sigma)
        return torch.cat([found.values[:, 0], found.level], dim=1).double()


def _grouped(flux: Tensor, size: int) -> Tensor:
    if size == 1:
        return flux
    whole = flux.shape[1] // size * size
    groups = flux[:, :whole].unflatten(1, (-1, size)).mean(dim=2)
    rest = flux[:, whole:]
    return torch.cat([groups, rest.mean(dim=1, keepdim=True)], dim=1) if rest.shape[1] else groups
