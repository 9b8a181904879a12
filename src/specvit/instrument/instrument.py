"""`Instrument`: one spectrograph as the rest of specvit meets it. Ties grid, LSF, band, conditions and noise.

Knows no stars: spectra come from an emulator (`observe`) or as arrays in the band-normalised unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from specvit.errors import ShapeError, SpecvitError, WavelengthRangeError
from specvit.instrument.arms import Arm, build_optics
from specvit.instrument.conditions import ObservingConditions
from specvit.instrument.description import find_instrument_file, read_description
from specvit.instrument.lsf import covered
from specvit.instrument.noise import NoiseModel, NoiseTerms
from specvit.instrument.observed import ObservedEmulator
from specvit.instrument.photometry import Band
from specvit.instrument.schema import InstrumentDescription
from specvit.instrument.soundness import check_noise
from specvit.instrument.tables import Tables
from specvit.library import Emulator
from specvit.spectra import WavelengthGrid

#: Elements of one working array: with this many the handful of arrays stays in a core's cache.
CHUNK_ELEMENTS = 1 << 18

HC_OVER_K_A = 1.438776877e8  # h c / k, Å K


class Instrument(nn.Module):
    """A spectrograph: pixel grid, line-spread function, photometric band, observing conditions and noise.

    Flux and sigma are band-normalised throughout: F_λ over the F_λ, at the band's pivot wavelength, of a
    flat-AB source of the same magnitude; numbers of order one. Precision follows the input.

    Args:
        description: the validated instrument file.
        tables: its arrays.
        file: name of the file, for messages.
        pixels: which of the pixels of the file to use, shape (L_file,); None: all.

    Raises:
        ConfigError, DataError: for values that do not go together; names the fields.
    """

    continuum: Tensor

    def __init__(
        self,
        description: InstrumentDescription,
        tables: Tables,
        file: str,
        pixels: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.file, self._tables = description, file, tables
        self.name, self.description, self.source = (
            description.name,
            description.description,
            description.source,
        )
        optics = build_optics(description, tables)
        self._pixels = np.ones(optics.grid.size, bool) if pixels is None else pixels
        self._optics = optics if pixels is None else optics.take(pixels)
        counts = self._optics.counts
        self.grid: WavelengthGrid = self._optics.grid
        self.band = Band.from_section(description.band, tables, self.grid)
        self.conditions = ObservingConditions.from_section(
            description.conditions, counts.covered_conditions(), file
        )
        self.noise = NoiseModel(optics.counts, self.band.flux_ab0, optics.grid.segments, pixels)
        self.object_wavelength = counts.object_wavelength
        self.live = counts.object_electrons > 0
        self._live_pixels = torch.from_numpy(np.flatnonzero(self.live))
        continuum = _planck(self.grid.wavelength, description.pipeline.continuum_temperature)
        with np.errstate(divide="ignore", invalid="ignore"):
            continuum /= np.median(continuum[self.live])
        self.register_buffer("continuum", torch.from_numpy(continuum), persistent=False)
        check_noise(self)

    @classmethod
    def load(cls, name: str | Path, overrides: Sequence[str] = ()) -> Instrument:
        """Return a preset by name, or the instrument of a TOML file; `overrides` are `key.sub=value`.

        Raises:
            ConfigError: if there is no such instrument, or its file is wrong; names file and key.
            DataError: if its tables cannot be used; names file and key.
        """
        path = find_instrument_file(name)
        description, folder = read_description(path, overrides)
        try:
            return cls(description, Tables.load(description.tables, folder, path.name), path.name)
        except SpecvitError as error:
            # What is wrong may be known far from the file it was said in.
            if path.name in str(error):
                raise
            raise type(error)(f"{error} ({path.name})") from error

    def clipped_to(self, library: WavelengthGrid) -> Instrument:
        """Return the instrument in the pixels that a library covers, if its file says `clip = true`; else itself.

        Raises:
            WavelengthRangeError: if fewer than two pixels are covered.
        """
        if not self.settings.clip:
            return self
        inside = np.concatenate([covered(arm.lsf, self.grid, arm.pixels, library) for arm in self.arms])
        if inside.all():
            return self
        if inside.sum() < 2:
            raise WavelengthRangeError(
                f"{self.file}: no pixel of {self.grid.describe()} lies within the library ({library.describe()}); "
                "give a library of these wavelengths"
            )
        # Counted in the pixels of the file: this instrument may have been cut before.
        pixels = self._pixels.copy()
        pixels[self._pixels] = inside
        return Instrument(self.settings, self._tables, self.file, pixels)

    def live_pixels(self, device: torch.device | str = "cpu") -> Tensor | None:
        """Return the numbers of the pixels that light reaches, int64; None if it reaches all of them.

        The others are dead: their sigma is infinite.
        """
        return None if self.live.all() else self._live_pixels.to(device)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms, with the line-spread function of each; most spectrographs have one."""
        return self._optics.arms

    @property
    def resolution(self) -> float:
        """λ/FWHM in the middle of the pixels, the pixel's width added in quadrature."""
        return float(self.resolving_power()[self.grid.size // 2])

    def resolving_power(self) -> np.ndarray:
        """Return λ/FWHM at every pixel, the pixel's width added in quadrature, shape (L,)."""
        # The FWHM of a Gaussian of the pixel's variance, width²/12.
        pixel = self.grid.width * np.sqrt(8 * np.log(2) / 12)
        power: np.ndarray = self.grid.wavelength / np.hypot(self._optics.fwhm(), pixel)
        return power

    def lsf_nodes(self) -> dict[str, list[float]]:
        """Return the LSF in numbers, for a manifest: {"wavelength": [Å], "fwhm": [Å]}, without the pixel.

        Nine nodes for each arm, one arm after the other.
        """
        wavelength, fwhm = [], []
        for arm in self.arms:
            first, last = self.grid.wavelength[arm.pixels][[0, -1]]
            at = np.linspace(first, last, 9)
            wavelength += at.round(3).tolist()
            fwhm += arm.lsf.fwhm(at).round(4).tolist()
        return {"wavelength": wavelength, "fwhm": fwhm}

    def lsf_matrix(self, grid_in: WavelengthGrid, resolution_in: float) -> scipy.sparse.csr_array:
        """Return the sparse matrix (L, L_in) from library samples to mean flux density per pixel.

        Raises:
            WavelengthRangeError: if the library does not cover the pixels and the LSF's wings, is sampled too
                coarsely, or has too low a resolution.
        """
        if self.clipped_to(grid_in) is not self:
            raise WavelengthRangeError(
                f"{self.file}: says clip = true, and {grid_in.describe()} do not cover all of its pixels; use "
                "instrument.clipped_to(library.grid)"
            )
        return self._optics.lsf_matrix(grid_in, resolution_in)

    def observe(self, emulator: Emulator) -> ObservedEmulator:
        """Return the emulator as this instrument sees it: LSF, pixels and band folded into its basis.

        Raises:
            WavelengthRangeError: see `lsf_matrix`; also if the library covers too little of the band.
        """
        matrix = self.lsf_matrix(emulator.grid, emulator.resolution)
        return ObservedEmulator(
            emulator, matrix, self.grid, self.resolution, self.band.weights(emulator.grid)
        )

    def sample_conditions(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `count` draws of the conditions, name -> shape (count,), on the generator's device."""
        return self.conditions.sample(count, generator)

    def fixed_conditions(self, count: int, **overrides: float | Tensor | np.ndarray) -> dict[str, Tensor]:
        """Return the instrument's default conditions for `count` spectra, with overrides by name.

        Raises:
            ConfigError, DataError: for an unknown name or a value the instrument does not cover.
        """
        return self.conditions.fixed(count, overrides)

    def noise_sigma(self, flux: Tensor, conditions: Mapping[str, Tensor], check: bool = False) -> Tensor:
        """Return the true noise, 1 σ per pixel, shape (B, L): it contains the star's own photon noise.

        Never show it to an estimator: it is a noise-free copy of the spectrum (see `pipeline_sigma`).

        Args:
            flux: noise-free band-normalised flux, shape (B, L).
            conditions: name -> shape (B,).
            check: raise on conditions the instrument does not cover. Conditions from `sample_conditions` and
                `fixed_conditions` need no check; a check makes an accelerator wait.
        """
        if flux.ndim != 2 or flux.shape[1] != self.grid.size:
            raise ShapeError(
                f"flux: expected shape (B, {self.grid.size}) on {self.name}, got {tuple(flux.shape)}"
            )
        self._check(flux.shape[0], conditions, check)
        return self._in_chunks(flux, conditions)

    def pipeline_sigma(self, level: Tensor, conditions: Mapping[str, Tensor], check: bool = False) -> Tensor:
        """Return the noise a pipeline would state, shape (B, L): that of a smooth continuum, not of the star.

        The continuum is a Planck curve of the temperature `pipeline.continuum_temperature`, the same for all
        stars, scaled to a median over pixels of `level`.

        Args:
            level: median flux per spectrum, band-normalised, shape (B,), > 0.
            conditions: name -> shape (B,).
            check: see `noise_sigma`.
        """
        if level.ndim != 1:
            raise ShapeError(f"level: expected shape (B,), got {tuple(level.shape)}")
        self._check(level.shape[0], conditions, check)
        return self._in_chunks(level[:, None] * self.continuum.to(level.dtype), conditions)

    def noise_terms(self, conditions: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> NoiseTerms:
        """Return the noise as a function of flux, for callers that need both sigmas of the same spectra."""
        return self.noise.terms(conditions, dtype)

    def flat_source(self) -> np.ndarray:
        """Return the band-normalised flux of a flat-AB source at the pixels, shape (L,)."""
        return self.band.flat_source(self.object_wavelength)

    def _in_chunks(self, flux: Tensor, conditions: Mapping[str, Tensor]) -> Tensor:
        """Return sigma of flux (B, L); on a CPU in blocks whose working arrays stay in a core's cache."""
        count, chunk = flux.shape[0], max(1, CHUNK_ELEMENTS // flux.shape[1])
        # Blocks serve the cache of a CPU; in a compiled graph their number would be fixed.
        if flux.device.type != "cpu" or torch.compiler.is_compiling() or count <= chunk:
            return self.noise.terms(conditions, flux.dtype).sigma(flux)
        parts = []
        for start in range(0, count, chunk):
            rows = slice(start, start + chunk)
            some = {name: value[rows] for name, value in conditions.items()}
            parts.append(self.noise.terms(some, flux.dtype).sigma(flux[rows]))
        return torch.cat(parts)

    def _check(self, count: int, conditions: Mapping[str, Tensor], values: bool) -> None:
        if values:
            self.conditions.check(conditions)
        for name, value in conditions.items():
            if value.shape != (count,):
                raise ShapeError(
                    f"{name}: expected one value per spectrum, shape ({count},), got {tuple(value.shape)}"
                )


def _planck(wavelength: np.ndarray, temperature: float) -> np.ndarray:
    """Return the Planck function per unit wavelength, arbitrary scale, at `wavelength` Å; 0 far in its blue."""
    # Where the exponential overflows there is no light; `soundness` refuses a grid that far in the blue.
    with np.errstate(over="ignore"):
        return wavelength**-5.0 / np.expm1(HC_OVER_K_A / (wavelength * temperature))
