"""The scan of velocities: a bank of templates against each star at all velocities at once, by Fourier transforms.

On a logarithmic grid a velocity is a shift. With flux and templates divided by their own smooth continua,
χ²(v) = Σ w (d - t_v)² is two correlations, w d with t and w with t². Source: Tonry & Davis 1979, AJ 84, 1511 (the
correlation), with weights. A few templates find the velocities, all are compared there. It finds where the descents
begin; it is not the answer.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from specvit.inference.region import Region
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.stellar.objective import StarArrays
from specvit.stellar.priors import galactic_alpha
from specvit.stellar.settings import StarFitSettings
from specvit.stellar.templates import WidthTemplates

#: Templates of the bank along Teff, log g and [M/H].
BANK = (9, 5, 5)
#: Parts of the box from each of which the best template is a candidate: Teff x log g x [M/H].
PARTS = (3, 2, 2)
#: Velocities at which all templates are compared: the best minima of the few.
PEAKS = 2


class TemplateBank:
    """Templates spread evenly over Teff, log g and [M/H], their other labels as stars of the Galaxy have them.

    A library with other labels has its first three spread, the others in the middle. None lies in a hole of the library.
    """

    def __init__(self, templates: WidthTemplates) -> None:
        space = templates.emulator.label_space
        low, high = (torch.tensor(bound, dtype=torch.float64) for bound in (space.low, space.high))
        axes = [torch.linspace(0.04, 0.96, size, dtype=torch.float64) for size in BANK[: len(space)]]
        unit = torch.cartesian_prod(*axes).view(-1, len(axes))
        labels = (0.5 * (low + high)).repeat(len(unit), 1)
        labels[:, : len(axes)] = low[: len(axes)] + (high - low)[: len(axes)] * unit
        if {"m_h", "alpha_m"} <= set(space.names):
            at = space.index("alpha_m")
            labels[:, at] = galactic_alpha(labels[:, space.index("m_h")])[0].clamp(low[at], high[at])
        if "c_m" in space.names:
            labels[:, space.index("c_m")] = 0.0
        places = ((labels - low) / (high - low)).clamp(0.0, 1.0)
        places = Region(space, templates.emulator.coverage).moved_inside(places)
        labels = low + (high - low) * places
        parts = torch.zeros(len(labels), dtype=torch.long)
        for axis, count in zip(places.T[: len(axes)], PARTS, strict=False):
            parts = parts * count + (axis * count).long().clamp(max=count - 1)
        self.labels, self.part, self.templates = labels, parts, templates
        self.spectra = templates.values(labels)
        # Every second of each axis is enough to find the velocity.
        number = torch.arange(len(labels)).view([len(axis) for axis in axes])
        self.few = number[tuple(slice(1, None, 2) for _ in axes)].flatten()

    def corrected(self, correction: np.ndarray) -> TemplateBank:
        """Return the bank with templates that are corrected, see `WidthTemplates.corrected`; its starts stay."""
        other = copy.copy(self)
        other.templates = self.templates.corrected(correction)
        return other

    def starts(self, arrays: StarArrays, settings: StarFitSettings) -> tuple[Tensor, Tensor]:
        """Return labels (B, S, P) and velocities (B, S): the best of each part of the box, the best of all first."""
        found = [self._of_one(arrays, k, settings) for k in range(len(arrays.flux))]
        return torch.stack([labels for labels, _ in found]), torch.stack([speed for _, speed in found])

    def _of_one(self, arrays: StarArrays, k: int, settings: StarFitSettings) -> tuple[Tensor, Tensor]:
        chi2, velocity = self._chi2(arrays, k, settings)
        best, at = chi2.min(1)
        chosen = []
        for part in self.part.unique():
            rows = torch.nonzero(self.part == part)[:, 0]
            chosen.append(rows[best[rows].argmin()])
        rows = torch.stack(chosen)
        rows = rows[best[rows].argsort()][: settings.starts]
        return self.labels[rows], velocity[at[rows]]

    def _chi2(self, arrays: StarArrays, k: int, settings: StarFitSettings) -> tuple[Tensor, Tensor]:
        """Return χ² of all templates at the likely velocities (N, V), and these (V,), km/s."""
        used = arrays.weight[k] > 0
        log_pixels = arrays.log_pixels[k][used].numpy()
        fine, step = self.templates.log_wavelength, self.templates.step
        inside = (fine >= log_pixels[0]) & (fine <= log_pixels[-1])
        flux = torch.from_numpy(np.interp(fine, log_pixels, arrays.flux[k][used].numpy())).float()
        pixel_weight = arrays.weight[k][used].double().numpy()
        weight = torch.from_numpy(self._weights(log_pixels, pixel_weight, inside)).float()
        columns = torch.from_numpy(self._continuum(fine, inside, int(arrays.terms[k]) - 1)).float()
        data = _flattened(flux[None], weight, columns)[0]
        most = int(np.log1p(settings.velocity / SPEED_OF_LIGHT_KM_S) / step) + 1
        shifts = torch.arange(-most, most + 1)
        few = _flattened(self.spectra[self.few], weight, columns)
        # Only what is shifted in from the other end must be nothing.
        size = next_fast_len(len(fine) + most + 1, real=True)
        cross = _correlation(weight * data, few, size)[:, shifts]
        lowest = (_correlation(weight, few.square(), size)[:, shifts] - 2 * cross).min(0).values
        chosen = shifts[_deepest(lowest, PEAKS)]
        chi2 = [self._at_shift(*(part.roll(-int(s), 0) for part in (data, weight, columns))) for s in chosen]
        return torch.stack(chi2, 1), SPEED_OF_LIGHT_KM_S * torch.expm1(chosen * step)

    def _at_shift(self, data: Tensor, weight: Tensor, columns: Tensor) -> Tensor:
        """Return χ² of all templates (N,) for a star that was shifted back."""
        models = _flattened(self.spectra, weight, columns)
        return (models - data).square() @ weight

    def _weights(self, log_pixels: np.ndarray, weight: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Return weights on the fine grid: what pixels have, spread over the points between them."""
        fine, step = self.templates.log_wavelength, self.templates.step
        edges = np.concatenate([fine - 0.5 * step, [fine[-1] + 0.5 * step]])
        total = np.concatenate([[0.0], np.cumsum(weight)])
        # A pixel's weight lies at its centre; the cumulative one is interpolated, gaps stay empty.
        gaps = np.diff(log_pixels, prepend=log_pixels[0]) > 3 * max(
            step, float(np.median(np.diff(log_pixels)))
        )
        spread = np.diff(np.interp(edges, log_pixels, total[1:]))
        in_gap = np.interp(fine, log_pixels, np.cumsum(gaps)) % 1 > 0
        return np.where(inside & ~in_gap, spread, 0.0)

    def _continuum(self, fine: np.ndarray, inside: np.ndarray, order: int) -> np.ndarray:
        used = fine[inside]
        position = 2 * (fine - used[0]) / (used[-1] - used[0]) - 1
        return np.polynomial.chebyshev.chebvander(position.clip(-1.1, 1.1), order)


def _deepest(chi2: Tensor, count: int) -> Tensor:
    """Return where the `count` deepest local minima of χ² (V,) are, the deepest first; always the deepest of all."""
    beside = torch.nn.functional.pad(chi2, (1, 1), value=float("inf"))
    minima = torch.nonzero((chi2 <= beside[:-2]) & (chi2 <= beside[2:]))[:, 0]
    return minima[chi2[minima].argsort()][:count]


def _flattened(spectra: Tensor, weight: Tensor, columns: Tensor) -> Tensor:
    """Return spectra (N, count) over the polynomial that fits them best under `weight`, minus one."""
    weighted = columns * weight[:, None]
    normal = (columns.T @ weighted).double()
    normal = normal + 1e-7 * normal.diagonal().max() * torch.eye(len(normal)).to(normal)
    level = torch.linalg.solve(normal, (weighted.T @ spectra.T).double()).T.float() @ columns.T
    floor = 0.05 * level.abs().mean(1, keepdim=True)
    return spectra / torch.maximum(level, floor) - 1


def _correlation(data: Tensor, models: Tensor, size: int) -> Tensor:
    """Return Σ_i data_i model_(i - s) for all shifts s, shape (N, size), negative shifts at the end."""
    # Starts need no more digits than float32 has.
    transformed = torch.fft.rfft(data.float(), size) * torch.fft.rfft(models.float(), size).conj()
    found: Tensor = torch.fft.irfft(transformed, size)
    return found
