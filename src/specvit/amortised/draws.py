"""`SetupSpectra`: simulated spectra of a setup as a `SpectraSource`, as a network will see the observed ones.

A star of the library, at a random velocity, through the line-spread function and onto the pixels of the spectrograph,
with noise, curves, dead pixels and windows of the air; then `RestFrame.see`, which observed spectra go through too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from specvit.amortised.nuisances import (
    EARTH,
    FAST,
    SNR,
    SPIKES,
    STRETCH,
    STRETCHES,
    TILT,
    VELOCITY_REACH,
    VELOCITY_SPREAD,
    WAVE_LENGTHS,
    WAVE_SIZE,
    WAVES,
    Nuisances,
)
from specvit.amortised.rest_frame import RestFrame, median_of
from specvit.amortised.stars import star_flux
from specvit.runs.identity import content_digest
from specvit.simulate import splits
from specvit.simulate.seeding import BLOCK, entropy_words
from specvit.spectra import (
    SPEED_OF_LIGHT_KM_S,
    LabelSpace,
    SpectraBatch,
    WavelengthGrid,
    check_rows,
    in_batches,
)
from specvit.spectra.batch import Truth
from specvit.stellar.pixels import FRAME_MARGIN
from specvit.stellar.priors import galactic_alpha
from specvit.stellar.templates import WidthTemplates

#: Spectra that correct stated errors, at most.
RESERVE = 12_000


class Raw:
    """What a spectrograph would give of N stars, on its own pixels.

    Args:
        labels: shape (N, P).
        velocity: km/s, shape (N,).
        log_pixels: ln λ, shape (L,).
        clean, flux, sigma: shape (N, L), sigma of the noise alone, `inf` where dead.
    """

    def __init__(
        self,
        labels: np.ndarray,
        velocity: np.ndarray,
        log_pixels: np.ndarray,
        clean: np.ndarray,
        flux: np.ndarray,
        sigma: np.ndarray,
    ) -> None:
        self.labels, self.velocity, self.log_pixels = labels, velocity, log_pixels
        self.clean, self.flux, self.sigma = clean, flux, sigma

    @property
    def snr(self) -> np.ndarray:
        """Median of noise-free flux / sigma, shape (N,)."""
        return median_of(self.clean / self.sigma, np.isfinite(self.sigma))


class SetupSpectra:
    """Simulated spectra of one setup.

    Args:
        frame: of the setup.
        templates: of the library at its resolution.
        nuisances: what the spectra have beside noise.
        left: ln(S/N) and km/s of what the quick velocity left in spectra simulated before, shape (2, V); None: nothing.
        split, seed, count: which spectra.
        truth: whether batches carry the noise-free flux.
    """

    fresh_noise = False
    lsf = None

    def __init__(
        self,
        frame: RestFrame,
        templates: WidthTemplates,
        nuisances: Nuisances,
        left: np.ndarray | None = None,
        split: str = splits.TRAIN,
        seed: int = 1,
        count: int = splits.ENDLESS,
        truth: bool = False,
    ) -> None:
        splits.split_number(split)
        self.frame, self.templates, self.nuisances, self.left = frame, templates, nuisances, left
        self.split, self.seed, self.count, self.truth = split, seed, count, truth

    @property
    def grid(self) -> WavelengthGrid:
        """The pixels of the network."""
        return self.frame.grid

    @property
    def label_space(self) -> LabelSpace:
        """The labels of the library."""
        return self.templates.emulator.label_space

    @property
    def provenance(self) -> dict[str, Any]:
        """What these spectra are, JSON-ready."""
        own = {
            "source": "setup",
            "setup": self.frame.setup.to_dict(),
            "nuisances": dict(self.nuisances.to_dict()),
            "split": self.split,
            "seed": self.seed,
            "spectra": self.count,
        }
        return {**own, "identity": content_digest(own)}

    def __len__(self) -> int:
        return self.count

    def on(self, device: torch.device | str, truth: bool = False, compiled: bool = False) -> SetupSpectra:
        """Return the same spectra with or without truth; they are made on the CPU whatever the device."""
        return self._other(self.split, self.count, truth)

    def other(self, split: str, count: int) -> SetupSpectra:
        """Return `count` spectra of another split."""
        return self._other(split, count, self.truth)

    def reserve(self, count: int) -> SetupSpectra | None:
        """Return further spectra by which stated errors can be corrected, fewer than asked for: their price is time."""
        if self.split == splits.CALIBRATION:
            return None
        return self.other(splits.CALIBRATION, min(count, RESERVE))

    def batches(self, batch_size: int, epoch: int = 0) -> Iterator[SpectraBatch]:
        """Yield all spectra in order."""
        return in_batches(self.draw, self.count, batch_size, epoch)

    def draw(self, start: int, stop: int, epoch: int = 0) -> SpectraBatch:
        """Return spectra [start, stop), the same in every epoch."""
        check_rows(start, stop, self.count, epoch)
        first, last = start // BLOCK, (stop - 1) // BLOCK
        whole = SpectraBatch.concatenate(self._block(block) for block in range(first, last + 1))
        return whole[start - first * BLOCK : stop - first * BLOCK]

    @torch.no_grad()
    def raw(self, rng: np.random.Generator, count: int = BLOCK) -> Raw:
        """Return `count` stars on the pixels of the spectrograph."""
        labels, velocity = self._labels(rng, count), _velocities(rng, count)
        pixels = self.frame.setup.wavelength
        # No two spectra have a star's lines at the same place between pixels.
        pixels = pixels + rng.uniform(-0.5, 0.5) * np.gradient(pixels)
        clean = self._stars(rng, labels, velocity, pixels)
        clean *= self._curves(rng, count, pixels)
        sigma = _noise_levels(rng, clean)
        flux = clean + sigma * rng.standard_normal(clean.shape, dtype=np.float32)
        if self.nuisances.model_error:
            wrong = self.frame.settings.flat_error * clean
            flux += wrong * rng.standard_normal(clean.shape, dtype=np.float32)
        if self.nuisances.masks:
            self._mask(rng, pixels, sigma)
        return Raw(labels, velocity, np.log(pixels), clean, flux, sigma)

    def _other(self, split: str, count: int, truth: bool) -> SetupSpectra:
        return SetupSpectra(
            self.frame, self.templates, self.nuisances, self.left, split, self.seed, count, truth
        )

    def _block(self, block: int) -> SpectraBatch:
        rng = self.generator(block)
        raw = self.raw(rng)
        snr = raw.snr
        velocity = raw.velocity + self._remaining(rng, snr)
        flux, sigma, continuum = self.frame.see(raw.log_pixels, raw.flux, raw.sigma, velocity)
        truth = None
        if self.truth:
            whole, _ = self.frame.resampled(raw.log_pixels, raw.clean, np.ones_like(raw.sigma), velocity)
            clean = torch.from_numpy(whole[:, self.frame.kept]) / continuum
            truth = Truth(clean, sigma, torch.ones(len(clean)))
        labels = torch.from_numpy(raw.labels).float()
        return SpectraBatch(flux, sigma, labels, snr=torch.from_numpy(snr).float(), truth=truth)

    def generator(self, block: int) -> np.random.Generator:
        """Return the generator of a block of spectra; no two of (seed, split, block) have the same."""
        words = entropy_words(self.seed, splits.split_number(self.split), block)
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(words)))

    def _labels(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw labels evenly in the box, [α/M] and [C/M] as the priors of the fit have them, none in a hole of the library."""
        labels = self._labels_of_the_box(rng, count)
        if (coverage := self.templates.emulator.coverage) is not None:
            while not (inside := coverage.covers(labels)).all():
                labels[~inside] = self._labels_of_the_box(rng, int((~inside).sum()))
        return labels

    def _labels_of_the_box(self, rng: np.random.Generator, count: int) -> np.ndarray:
        space, settings = self.label_space, self.frame.settings
        low, high = np.array(space.low), np.array(space.high)
        labels: np.ndarray = low + (high - low) * rng.random((count, len(space)))
        for name, sigma in (("alpha_m", settings.alpha_sigma), ("c_m", settings.carbon_sigma)):
            if name not in space.names:
                continue
            at = space.index(name)
            mean = np.zeros(count)
            if name == "alpha_m" and "m_h" in space.names:
                mean = galactic_alpha(torch.from_numpy(labels[:, space.index("m_h")]))[0].numpy()
            labels[:, at] = (mean + sigma * rng.standard_normal(count)).clip(low[at], high[at])
        return labels

    def _stars(
        self, rng: np.random.Generator, labels: np.ndarray, velocity: np.ndarray, pixels: np.ndarray
    ) -> np.ndarray:
        """Return templates on pixels, shape (N, L), float32."""
        width = np.zeros((len(labels), 1))
        if self.nuisances.width:
            sigma = self.frame.settings.width_sigma[self.frame.setup.guessed]
            width = sigma * rng.standard_normal(width.shape)
        own = np.log(self.frame.setup.fwhm_at(pixels) / pixels * self.templates.resolution)
        return star_flux(self.templates, labels, velocity, np.log(pixels), own + width)

    def _curves(self, rng: np.random.Generator, count: int, pixels: np.ndarray) -> np.ndarray:
        """Return what multiplies the spectra, shape (N, L) or (N, 1)."""
        if not self.nuisances.continuum:
            return np.ones((count, 1), np.float32)
        place = (2 * (pixels - pixels[0]) / (pixels[-1] - pixels[0]) - 1).astype(np.float32)
        slopes = (TILT * rng.standard_normal((count, 2)) * (1.0, 0.5)).astype(np.float32)
        curve = slopes[:, :1] * place + slopes[:, 1:] * (place**2 - 1 / 3)
        away = (pixels - pixels[0]).astype(np.float32)
        for _ in range(WAVES):
            wave = (
                2
                * np.pi
                / np.exp(rng.uniform(np.log(WAVE_LENGTHS[0]), np.log(WAVE_LENGTHS[1]), (count, 1))).astype(
                    np.float32
                )
            )
            size, phase = rng.random((2, count, 1), dtype=np.float32)
            curve += WAVE_SIZE * size * np.sin(wave * away + 2 * np.pi * phase)
        found: np.ndarray = np.exp(curve)
        return found

    def _mask(self, rng: np.random.Generator, pixels: np.ndarray, sigma: np.ndarray) -> None:
        """Make dead what the windows leave out, and stretches anywhere."""
        setup = self.frame.setup
        margin = setup.fwhm_at(pixels) + FRAME_MARGIN
        at = pixels * (1 + EARTH * rng.standard_normal((len(sigma), 1)) / SPEED_OF_LIGHT_KM_S)
        for low, high in setup.windows:
            sigma[(at > low - margin) & (at < high + margin)] = np.inf
        for row in range(len(sigma)):
            for _ in range(rng.poisson(STRETCHES)):
                length = 1 + int(rng.integers(max(1, int(STRETCH * pixels.size))))
                first = int(rng.integers(pixels.size - length + 1))
                sigma[row, first : first + length] = np.inf

    def _remaining(self, rng: np.random.Generator, snr: np.ndarray) -> np.ndarray:
        """Draw what the quick velocity leaves, of spectra of like S/N."""
        if self.left is None or not self.nuisances.velocity:
            return np.zeros_like(snr)
        level, left = self.left
        near = np.searchsorted(level, np.log(np.maximum(snr, 1e-3)))
        picked = near + rng.integers(-16, 17, snr.size)
        drawn: np.ndarray = left[picked.clip(0, len(left) - 1)]
        return drawn


def _velocities(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw velocities, km/s: most stars are of the disc, some of the halo."""
    usual = VELOCITY_SPREAD * rng.standard_normal(count)
    return np.where(rng.random(count) < FAST, rng.uniform(-VELOCITY_REACH, VELOCITY_REACH, count), usual)


def _noise_levels(rng: np.random.Generator, clean: np.ndarray) -> np.ndarray:
    """Draw sigma (N, L), float32: any level, smoothly varying, with lines of the sky in it."""
    count, size = clean.shape
    level = 1 / np.exp(rng.uniform(np.log(SNR[0]), np.log(SNR[1]), (count, 1)))
    place = np.linspace(-1, 1, size, dtype=np.float32)
    slopes = (rng.standard_normal((count, 2)) * (0.3, 0.2)).astype(np.float32)
    shape = np.exp(slopes[:, :1] * place + slopes[:, 1:] * (place**2 - 1 / 3))
    row, column = (
        rng.integers(count, size=int(SPIKES * clean.size)),
        rng.integers(size, size=int(SPIKES * clean.size)),
    )
    shape[row, column] *= np.exp(np.abs(rng.standard_normal(row.size, dtype=np.float32)))
    found: np.ndarray = (level * clean.mean(axis=1, keepdims=True)).astype(np.float32) * shape
    return found
