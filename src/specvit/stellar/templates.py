"""Templates as a spectrograph of some resolution sees them, at any velocity and line width, with derivatives.

The emulator is linear in its basis, so smoothing is done once, for three widths about the nominal one. A template is
then a combination of rows on a fine logarithmic grid, interpolated between the widths (in ln σ²) and between pixels
(cubic B-splines, which have smooth derivatives).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import spline_filter1d
from torch import Tensor
from torch.quasirandom import SobolEngine

from specvit.inference.region import Region
from specvit.library import Emulator
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.spectra.resample import FWHM_PER_SIGMA, gaussian_matrix

#: Squared line widths, relative to the nominal one, at which templates are smoothed.
NODES = (0.55, 1.0, 1.8)
#: Range of ln(line width / nominal) in which templates are interpolated: a little beyond the nodes.
LOWEST_WIDTH, HIGHEST_WIDTH = -0.33, 0.33
WIDTHS = np.array([LOWEST_WIDTH, HIGHEST_WIDTH])
#: Points of the fine grid per FWHM.
POINTS = 5.0
#: Spectra that show how many components are needed, and the root mean square that the rest may have of the flux.
SAMPLE, COMPRESSION = 1024, 2e-4
#: Templates whose fine grids are made together: some ten MB.
AT_ONCE = 32


@dataclass(frozen=True)
class SeenTemplates:
    """N templates on the pixels of their stars, and their derivatives.

    Args:
        all: shape (N, P + 3, L), float32: flux, its derivatives by the labels, by velocity (per km/s) and by ln(line
            width).
    """

    all: Tensor

    @property
    def flux(self) -> Tensor:
        """Shape (N, L)."""
        return self.all[:, 0]

    @property
    def by_label(self) -> Tensor:
        """Shape (N, P, L), per unit of the label."""
        return self.all[:, 1:-2]

    @property
    def by_velocity(self) -> Tensor:
        """Shape (N, L), per km/s."""
        return self.all[:, -2]

    @property
    def by_width(self) -> Tensor:
        """Shape (N, L), per unit of ln(line width)."""
        return self.all[:, -1]


class WidthTemplates:
    """The emulator at resolution `resolution` (λ/FWHM, the same everywhere) and nearby widths.

    Args:
        emulator: of the library.
        resolution: nominal; what a star's own resolution is relative to.
    """

    def __init__(self, emulator: Emulator, resolution: float) -> None:
        self.emulator, self.resolution = emulator, resolution
        self.step = np.log1p(1 / resolution) / POINTS
        count = int(np.log(emulator.grid.stop / emulator.grid.start) / self.step)
        self.start = float(np.log(emulator.grid.start))
        self.log_wavelength = self.start + self.step * np.arange(count)
        wavelength = np.exp(self.log_wavelength)
        rows = torch.cat([emulator.mean[None], emulator.basis]).double().cpu().numpy()
        smoothed = []
        for node in NODES:
            relative = np.sqrt(max(node / resolution**2 - 1 / emulator.resolution**2, 1e-14)) / FWHM_PER_SIGMA
            matrix = gaussian_matrix(emulator.grid.wavelength, wavelength, relative * wavelength)
            # Coefficients of splines instead of values: linear too, so it is done once.
            smoothed.append(spline_filter1d((matrix @ rows.T).T, order=3, axis=1, mode="mirror"))
        self.into, self.rows = self._compressed(torch.from_numpy(np.stack(smoothed, axis=1)))
        self.log_nodes = np.log(NODES)

    def corrected(self, correction: np.ndarray) -> WidthTemplates:
        """Return these templates times one plus `correction` (count,) on the fine grid, in the rest frame."""
        values = _spline_values(self.rows.double()).numpy() * (1 + correction)
        other = copy.copy(self)
        other.rows = torch.from_numpy(spline_filter1d(values, order=3, axis=2, mode="mirror")).float()
        return other

    @property
    def labels(self) -> int:
        """P."""
        return len(self.emulator.label_space)

    @torch.no_grad()
    def _compressed(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return (K + 1, D) and (D, nodes, count), float32, whose product is `rows` for spectra of the label space.

        A spectrum at low resolution has fewer components than the emulator, and products with them are what a fit
        spends its time on.
        """
        space = self.emulator.label_space
        low, high = (torch.tensor(bound, dtype=torch.float64) for bound in (space.low, space.high))
        unit = SobolEngine(len(space), scramble=True, seed=1).draw(SAMPLE, dtype=torch.float64)
        unit = Region(space, self.emulator.coverage).moved_inside(unit)
        some = self._padded(self.emulator.coefficients(low + (high - low) * unit))
        flat = rows.flatten(1)
        moment = torch.linalg.cholesky(some.T @ some / SAMPLE + 1e-12 * torch.eye(len(rows)))
        gram = moment.T @ (flat @ flat.T / flat.shape[1]) @ moment
        values, vectors = torch.linalg.eigh(gram)
        left = values.cumsum(0) - values
        kept = vectors[:, left + values > COMPRESSION**2]
        basis = kept.T @ moment.T @ flat
        into = torch.linalg.lstsq(basis.T, flat.T).solution.T
        return into, basis.view(-1, *rows.shape[1:]).float()

    @staticmethod
    def _padded(coefficients: Tensor) -> Tensor:
        """Return coefficients with a one in front, which multiplies the mean spectrum."""
        return torch.nn.functional.pad(coefficients.double(), (1, 0), value=1.0)

    def values(self, labels: Tensor) -> Tensor:
        """Return templates of labels (N, P) on the fine grid at the nominal width, shape (N, count), float32."""
        coefficients = (self._padded(self.emulator.coefficients(labels)) @ self.into).float()
        return _spline_values(coefficients @ self.rows[:, NODES.index(1.0)])

    def see(
        self, labels: Tensor, velocity: Tensor, log_width: Tensor, log_pixels: Tensor, own: Tensor
    ) -> SeenTemplates:
        """Return templates on the pixels of their stars.

        Args:
            labels: shape (N, P), float64.
            velocity: km/s, shape (N,).
            log_width: ln of the factor on the star's line width, shape (N,).
            log_pixels: ln λ of the pixels, shape (N, L).
            own: ln(FWHM of the star / nominal FWHM) at the pixels, shape (N, L).
        """
        # Needs Numba, which asking for help or a template does not.
        from specvit.stellar import compiled

        value, slopes = self.emulator.regressor.value_and_slopes(labels.to(self.emulator.basis.dtype))
        slopes = torch.nn.functional.pad(slopes.double(), (1, 0), value=0.0)
        terms, nodes, count = self.rows.shape
        multipliers = torch.cat([self._padded(value)[:, None], slopes], dim=1) @ self.into
        shift = torch.log1p(velocity / SPEED_OF_LIGHT_KM_S)
        position = (log_pixels - shift[:, None] - self.start) / self.step
        widths = own + log_width[:, None]
        seen = torch.empty(len(labels), self.labels + 3, log_pixels.shape[1])
        for first in range(0, len(labels), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            joined = multipliers[some].float() @ self.rows.view(terms, -1)
            joined = joined.view(-1, 1 + self.labels, nodes, count)
            at, width = position[some].numpy(), widths[some].numpy()
            compiled.see_rows(joined.numpy(), at, width, self.log_nodes, WIDTHS, seen[some].numpy())
        # d position / dv = -1 / (step (c + v)).
        seen[:, -2] *= (-1 / (self.step * (SPEED_OF_LIGHT_KM_S + velocity)))[:, None].float()
        return SeenTemplates(seen)


def _spline_values(coefficients: Tensor) -> Tensor:
    """Return what cubic B-splines of coefficients (..., count) are at their own nodes."""
    left, right = coefficients[..., 1:2], coefficients[..., -2:-1]
    padded = torch.cat([left, coefficients, right], -1)
    return (padded[..., :-2] + 4 * padded[..., 1:-1] + padded[..., 2:]) / 6
