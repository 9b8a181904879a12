"""What a gate sees of a spectrum: line windows against their side bands, principal components, the noise.

All of it is computed from flux and sigma as they were observed. The noise features are a scale and a scatter against
the mean noise of the training: they know the S/N and hardly the star (`specvit audit leak` measures it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from specvit.documents.tensors import Tensors
from specvit.errors import ConfigError
from specvit.models.experts.noise_features import scale_features
from specvit.models.inputs import RelativeSpectra, fill_dead
from specvit.spectra import WavelengthGrid

#: Group -> (centre, half width) of its windows, Å in vacuum: gravity and metallicity features of the band.
WINDOWS: dict[str, tuple[tuple[float, float], ...]] = {
    "ca": ((8500.36, 10.0), (8544.44, 12.0), (8664.52, 12.0)),
    "na": ((8185.51, 6.0), (8197.08, 6.0)),
    "mg": ((8809.18, 5.0),),
}
#: "subspace" stands for what the experts see, where that are coefficients of the subspace; it is no feature of this module.
GROUPS = (*WINDOWS, "pca", "noise", "subspace")

#: Å on either side of a window whose median flux is its continuum, and fewest pixels of window and side bands.
SIDE, LEAST_PIXELS = 12.0, 4

#: Of window or side bands: with fewer usable pixels the features of a window are not known.
KNOWN_SHARE = 0.5

#: Rounds of subspace iteration and directions more than asked for: plenty for leading components.
ROUNDS, MORE = 4, 8

#: Features beyond this many standard deviations of the training are taken as that far.
FURTHEST = 8.0


@dataclass(frozen=True)
class Window:
    """Pixels of a line and of its continuum.

    Args:
        group: of `WINDOWS`.
        inside, side: pixel numbers.
        width: Å per pixel.
    """

    group: str
    inside: Tensor
    side: Tensor
    width: float


class GateFeatures:
    """Features of spectra, standardised over the training sample.

    Args:
        groups: of `GROUPS`; windows outside the pixels are left out.
        grid: the pixels.
        components: principal components, for "pca".
    """

    def __init__(self, groups: Sequence[str], grid: WavelengthGrid, components: int) -> None:
        unknown = [name for name in groups if name not in GROUPS]
        if unknown or not groups:
            raise ConfigError(f"features: expected some of {', '.join(GROUPS)}; got {', '.join(groups)}")
        self.groups, self.components = tuple(groups), components if "pca" in groups else 0
        self.windows = [
            window
            for group in WINDOWS
            if group in groups
            for at in WINDOWS[group]
            if (window := _window(group, *at, grid))
        ]
        if not (self.windows or self.components or {"noise", "subspace"} & set(groups)):
            raise ConfigError(
                f"features: none of the windows of {', '.join(groups)} lies in {grid.describe()}; add pca or noise"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the F features."""
        names = [
            f"{window.group} {at} {what}"
            for at, window in enumerate(self.windows)
            for what in ("mean", "depth", "width")
        ]
        names += [f"{group} total width" for group in self._window_groups]
        names += [f"pca {k}" for k in range(self.components)]
        return (*names, *(("noise scale", "noise scatter") if "noise" in self.groups else ()))

    def fit(self, spectra: RelativeSpectra) -> Self:
        """Find principal components, mean noise and the scale of the features from a training sample."""
        known = torch.isfinite(spectra.sigma)
        self.mean_flux = spectra.flux.sum(dim=0) / known.sum(dim=0).clamp(min=1)
        noise = torch.where(known, spectra.sigma, 0.0).sum(dim=0) / known.sum(dim=0).clamp(min=1)
        # A pixel that is dead in all spectra is never asked for.
        self.noise = torch.where(noise > 0, noise, noise.max())
        self.directions = principal_directions(
            fill_dead(spectra, self.mean_flux) - self.mean_flux, self.components
        )
        raw = self._raw(spectra)
        known = raw.isfinite()
        count = known.sum(dim=0).clamp(min=1)
        self.centre = torch.where(known, raw, 0.0).sum(dim=0) / count
        spread = (torch.where(known, raw - self.centre, 0.0).square().sum(dim=0) / count).sqrt()
        self.spread = torch.where(spread > 1e-12, spread, 1.0)
        return self

    def __call__(self, spectra: RelativeSpectra) -> Tensor:
        """Return features (B, F), float32, in standard deviations from the mean of the training.

        What dead pixels hide is taken to be as in the mean of the training.
        """
        scaled = (self._raw(spectra) - self.centre) / self.spread
        return torch.where(scaled.isfinite(), scaled, 0.0).clamp(-FURTHEST, FURTHEST).float()

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the arrays by the names they are stored under."""
        arrays = ("mean_flux", "noise", "directions", "centre", "spread")
        return {name: getattr(self, name) for name in arrays}

    def read(self, tensors: Tensors) -> Self:
        """Take the arrays that `to_tensors` gave; DataError for those that do not fit."""
        width = len(self.names)
        for name in ("mean_flux", "noise"):
            setattr(self, name, tensors.take(name, "L", torch.float64))
        self.directions = tensors.take("directions", (self.components, "L"), torch.float64)
        self.centre = tensors.take("centre", (width,), torch.float64)
        self.spread = tensors.take("spread", (width,), torch.float64)
        if not (bool((self.noise > 0).all()) and bool((self.spread > 0).all())):
            raise tensors.problem("'noise' or 'spread' holds values that are not positive")
        return self

    @property
    def _window_groups(self) -> list[str]:
        return list(dict.fromkeys(window.group for window in self.windows))

    def _raw(self, spectra: RelativeSpectra) -> Tensor:
        """Return the features before they are standardised, (B, F), NaN where one is not known."""
        known = torch.isfinite(spectra.sigma)
        parts = [_line_features(window, spectra.flux, known) for window in self.windows]
        widths = {
            group: sum(
                part[:, 2] for part, window in zip(parts, self.windows, strict=True) if window.group == group
            )
            for group in self._window_groups
        }
        columns = [*parts, *(torch.as_tensor(width)[:, None] for width in widths.values())]
        if self.components:
            columns.append((fill_dead(spectra, self.mean_flux) - self.mean_flux) @ self.directions.T)
        if "noise" in self.groups:
            columns.append(scale_features(spectra.sigma, self.noise)[:, :2])
        return torch.cat(columns, dim=1) if columns else spectra.flux[:, :0]


def principal_directions(rows: Tensor, count: int) -> Tensor:
    """Return the `count` leading principal directions of rows (N, L), shape (count, L); zero beyond their rank.

    Source: Halko, Martinsson & Tropp 2011, SIAM Review 53, 217 (randomised subspace iteration).
    """
    kept = min(count + MORE, *rows.shape)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(rows.shape[1], kept, generator=generator, dtype=rows.dtype)
    basis = torch.linalg.qr(start).Q
    for _ in range(ROUNDS):
        basis = torch.linalg.qr(rows.T @ (rows @ basis)).Q
    found = torch.linalg.svd(rows @ basis, full_matrices=False).Vh @ basis.T
    directions = torch.zeros(count, rows.shape[1], dtype=rows.dtype)
    directions[: min(count, kept)] = found[:count]
    return directions


def _window(group: str, centre: float, half: float, grid: WavelengthGrid) -> Window | None:
    """Return a window, or None if it or its side bands lie outside the pixels."""
    away = torch.from_numpy(abs(grid.wavelength - centre))
    inside = (away <= half).nonzero()[:, 0]
    side = ((away > half) & (away <= half + SIDE)).nonzero()[:, 0]
    if min(len(inside), len(side)) < LEAST_PIXELS:
        return None
    wavelength = grid.wavelength[inside.numpy()]
    return Window(group, inside, side, float((wavelength[-1] - wavelength[0]) / (len(inside) - 1)))


def _line_features(window: Window, flux: Tensor, known: Tensor) -> Tensor:
    """Return mean, depth and equivalent width (Å) of a line against its side bands, (B, 3); NaN if not known."""
    line, seen = flux[:, window.inside], known[:, window.inside]
    side = torch.where(known[:, window.side], flux[:, window.side], torch.nan)
    continuum = side.nanmedian(dim=1, keepdim=True).values
    share = torch.minimum(seen.double().mean(dim=1), known[:, window.side].double().mean(dim=1))
    relative = line / torch.where(continuum > 0, continuum, torch.nan)
    mean = torch.where(seen, relative, 0.0).sum(dim=1) / seen.sum(dim=1)
    depth = 1 - torch.where(seen, relative, torch.inf).amin(dim=1)
    width = (1 - mean) * len(window.inside) * window.width
    found = torch.stack([mean, depth, width], dim=1)
    return torch.where((share >= KNOWN_SHARE)[:, None] & found.isfinite(), found, torch.nan)
