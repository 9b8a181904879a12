"""Velocities of many spectra at little cost: a few templates, all shifts at once, on the pixels of the rest frame.

As the scan of the fit does (Tonry & Davis 1979, AJ 84, 1511, with weights), with a dozen templates instead of hundreds:
χ²(v) = Σ w d² - 2 Σ w d t_v + Σ w t_v², of which the last two terms are one Fourier transform per template. What is
left of a star's velocity is measured on simulated spectra, and is in those a network is trained with.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.fft import irfft, next_fast_len, rfft

from specvit.amortised.rest_frame import RestFrame
from specvit.amortised.setup import shift
from specvit.amortised.stars import star_flux
from specvit.inference.region import Region
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.stellar.priors import galactic_alpha
from specvit.stellar.templates import WidthTemplates

#: Places of the templates in the box: shares of the ranges of the first three labels.
TEMPLATES = [(t, g, m) for t in (0.1, 0.5, 0.9) for g in (0.2, 0.8) for m in (0.35, 0.75)]
#: Spectra transformed at once.
ROWS = 32


class QuickVelocity:
    """Finds velocities of spectra of one setup.

    Args:
        frame: of the setup.
        templates: of the library at its resolution.
        largest: km/s, the largest |v| that is looked for.
    """

    def __init__(self, frame: RestFrame, templates: WidthTemplates, largest: float) -> None:
        self.frame = frame
        self.most = int(shift(np.array(largest)) / frame.step) + 1
        beyond = frame.step * np.arange(1, self.most + 1)
        log_wavelength = np.concatenate(
            [frame.whole[0] - beyond[::-1], frame.whole, frame.whole[-1] + beyond]
        )
        space = templates.emulator.label_space
        low, high = (torch.tensor(bound, dtype=torch.float64) for bound in (space.low, space.high))
        unit = torch.tensor(TEMPLATES, dtype=torch.float64)[:, : len(space)]
        labels = (0.5 * (low + high)).repeat(len(unit), 1)
        labels[:, : unit.shape[1]] = low[: unit.shape[1]] + (high - low)[: unit.shape[1]] * unit
        if {"m_h", "alpha_m"} <= set(space.names):
            at = space.index("alpha_m")
            labels[:, at] = galactic_alpha(labels[:, space.index("m_h")])[0].clamp(low[at], high[at])
        if "c_m" in space.names:
            labels[:, space.index("c_m")] = 0.0
        places = ((labels - low) / (high - low)).clamp(0.0, 1.0)
        labels = low + (high - low) * Region(space, templates.emulator.coverage).moved_inside(places)
        own = np.log(
            frame.setup.fwhm_at(np.exp(log_wavelength)) / np.exp(log_wavelength) * templates.resolution
        )
        still, width = np.zeros(len(labels)), np.broadcast_to(own, (len(labels), own.size))
        seen = star_flux(templates, labels.numpy(), still, log_wavelength, width)
        place = np.linspace(-1, 1, log_wavelength.size)
        columns = np.polynomial.chebyshev.chebvander(place, frame.columns.shape[1] - 1)
        level = columns @ np.linalg.lstsq(columns, seen.T, rcond=None)[0]
        flat = (seen / level.T - 1).astype(np.float32)
        self.size = next_fast_len(log_wavelength.size, real=True)
        self._lines, self._power = rfft(flat, self.size), rfft(flat**2, self.size)

    def find(self, flux: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the velocities and by how much the best template improves χ², each (N,).

        Args:
            flux, sigma: flattened spectra at velocity 0, on all pixels of the frame, shape (N, W).
        """
        found = [
            self._some(flux[first : first + ROWS], sigma[first : first + ROWS])
            for first in range(0, len(flux), ROWS)
        ]
        return np.concatenate([v for v, _ in found]), np.concatenate([gain for _, gain in found])

    def _some(self, flux: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = np.where(np.isfinite(sigma), 1 / sigma**2, 0.0).astype(np.float32)
        data = rfft(weight * (flux - 1), self.size).conj()[:, None]
        chi2 = irfft(
            rfft(weight, self.size).conj()[:, None] * self._power - 2 * data * self._lines, self.size
        )[..., : 2 * self.most + 1]
        flat = chi2.reshape(len(chi2), -1)
        template, at = np.divmod(flat.argmin(1), chi2.shape[2])
        at = at.clip(1, chi2.shape[2] - 2)
        rows = np.arange(len(chi2))
        before, here, after = (chi2[rows, template, at + k] for k in (-1, 0, 1))
        bend = before - 2 * here + after
        peak = np.where(bend > 0, 0.5 * (before - after) / np.where(bend > 0, bend, 1.0), 0.0)
        # A template that has to go to the left was shifted to the red.
        moved = (self.most - at - peak.clip(-1, 1)) * self.frame.step
        return SPEED_OF_LIGHT_KM_S * np.expm1(moved), -here
