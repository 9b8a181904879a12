"""`specvit denoise`: spectra of files, of stored sets or of a run's test stars, denoised on the pixels of a denoiser."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specvit.denoise import BayesDenoiser, Denoiser
from specvit.denoise.denoised import DenoisedSpectra
from specvit.errors import DataError
from specvit.observed import ReadOptions, read_spectra
from specvit.runs import RunFolder, write_atomic
from specvit.runs.folder import CONFIG
from specvit.simulate import Simulator, StoredSpectra, World, splits
from specvit.simulate.manifest import MANIFEST
from specvit.spectra import SPEED_OF_LIGHT_KM_S, SpectraBatch, WavelengthGrid


@dataclass(frozen=True)
class NamedSpectra:
    """Spectra on the pixels of a denoiser.

    Args:
        names: one per spectrum.
        flux, sigma: shape (B, L), float64; sigma is `inf` on dead pixels.
        clean: noise-free flux where it is known, (B, L), else None.
    """

    names: tuple[str, ...]
    flux: np.ndarray
    sigma: np.ndarray
    clean: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)


def optimum_of(world: World) -> BayesDenoiser:
    """Return the exact posterior mean of a world; nothing is trained."""
    simulator = world.build()
    source = simulator.source(splits.TRAIN, 0, 64)
    return BayesDenoiser(simulator.observed, world.prior).fit(source, source)


def spectra_of(
    path: Path, grid: WavelengthGrid, count: int, options: ReadOptions, velocity: float
) -> NamedSpectra:
    """Return the spectra that a path holds, on the pixels `grid`.

    Args:
        path: a file of spectra in any form that is read, a folder of `specvit simulate`, or a run folder, of which the
            test stars are drawn.
        grid: of the denoiser.
        count: most spectra of a stored set or a run.
        options: for files, what the user knows better.
        velocity: km/s, taken out of the wavelengths of files.

    Raises:
        DataError: if it holds no spectra, or they do not lie on these pixels.
    """
    if (path / MANIFEST).is_file():
        stored = StoredSpectra(path)
        stored.grid.check_matches(grid, f"{path}: spectra")
        return _of_batch(stored.draw(0, min(count, len(stored))), path.name)
    if (path / CONFIG).is_file():
        simulator, seed = _simulator_of(RunFolder.open(path))
        simulator.grid.check_matches(grid, f"{path}: spectra")
        return _of_batch(simulator.draw(splits.TEST, seed, 0, count), path.name)
    read = read_spectra(path, options)
    rows = [_on_grid(one.wavelength, one.flux, one.sigma, grid, velocity) for one in read]
    names = [one.name for one in read]
    for name, (_, sigma) in zip(names, rows, strict=True):
        if not np.isfinite(sigma).any():
            raise DataError(
                f"{path}: {name}: covers none of the pixels of the denoiser, {grid.describe()}; take a denoiser for "
                "this spectrograph, or give --velocity if the star moves"
            )
    return NamedSpectra(tuple(names), *(np.stack(part) for part in zip(*rows, strict=True)))


def write_denoised(path: Path, grid: WavelengthGrid, seen: NamedSpectra, found: DenoisedSpectra) -> None:
    """Write spectra and answers as one .npz: names, wavelength (Å, vacuum), flux, sigma, denoised, std, samples, truth."""
    arrays = {
        "names": np.array(seen.names, dtype=np.str_),
        "wavelength": grid.wavelength,
        "flux": seen.flux,
        "sigma": seen.sigma,
        "denoised": found.mean.numpy(),
        **({} if found.std is None else {"std": found.std.numpy()}),
        **({} if found.samples is None else {"samples": found.samples.numpy()}),
        **({} if seen.clean is None else {"truth": seen.clean}),
    }
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # NumPy's stub sees one keyword
    write_atomic(path, stream.getvalue())


def denoise_all(
    denoiser: Denoiser, parts: Sequence[NamedSpectra], strength: float, draws: int, seed: int
) -> tuple[NamedSpectra, DenoisedSpectra]:
    """Return all spectra as one, and what a denoiser makes of them."""
    clean = [part.clean for part in parts]
    whole = NamedSpectra(
        tuple(name for part in parts for name in part.names),
        np.concatenate([part.flux for part in parts]),
        np.concatenate([part.sigma for part in parts]),
        None
        if any(one is None for one in clean)
        else np.concatenate([one for one in clean if one is not None]),
    )
    return whole, denoiser.denoise(whole.flux, whole.sigma, strength, draws, seed)


def _of_batch(batch: SpectraBatch, name: str) -> NamedSpectra:
    clean = None if batch.truth is None else batch.truth.flux.double().numpy()
    names = tuple(f"{name}:{number}" for number in range(len(batch)))
    return NamedSpectra(names, batch.flux.double().numpy(), batch.sigma.double().numpy(), clean)


def _simulator_of(run: RunFolder) -> tuple[Simulator, int]:
    """Return the world and the seed of a run of `specvit run` or `specvit train`."""
    config = run.config
    try:
        stars = config["simulate"]
        world = World(
            library=config["library"]["name"],
            instrument=config["instrument"]["name"],
            prior=stars["prior"],
            bounds={name: tuple(ends) for name, ends in stars.get("bounds", {}).items()},
            noise_level=stars["noise_level"],
            normalisation=stars["normalisation"],
        )
        return world.build(), int(stars["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{run.path}: says no world to draw test stars of ({error}); give files of spectra"
        ) from error


def _on_grid(
    wavelength: np.ndarray, flux: np.ndarray, sigma: np.ndarray, grid: WavelengthGrid, velocity: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return flux and sigma at the pixels of a grid, dead where the spectrum or one of two neighbours is not there."""
    at = wavelength / (1 + velocity / SPEED_OF_LIGHT_KM_S)
    usable = np.isfinite(sigma) & np.isfinite(flux)
    there = np.interp(grid.wavelength, at, usable.astype(float), left=0.0, right=0.0) > 1 - 1e-9
    new = np.interp(grid.wavelength, at, np.where(usable, flux, 0.0))
    noise = np.interp(grid.wavelength, at, np.where(usable, sigma, 0.0))
    return np.where(there, new, 0.0), np.where(there, noise, np.inf)
