"""What `specvit denoise` is given: spectra of files, of stored sets, and the test stars of runs, on a denoiser's pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from specvit.errors import ConfigError, DataError, SpecvitError
from specvit.jobs.config.training import training_config
from specvit.jobs.onto_grid import onto_grid
from specvit.jobs.training import open_test_spectra
from specvit.models.inputs import MINIMUM_USABLE
from specvit.models.origin import Origin
from specvit.observed import ObservedSpectrum, ReadOptions, read_spectra
from specvit.runs import RunFolder
from specvit.runs.folder import CONFIG
from specvit.simulate import StoredSpectra, World, splits
from specvit.simulate.manifest import MANIFEST
from specvit.spectra import SPEED_OF_LIGHT_KM_S, SpectraBatch, SpectraSource, WavelengthGrid

#: A resolution that is off by this share changes the lines more than the noise of most spectra.
OTHER_RESOLUTION = 0.1

#: Told the reason, with path and spectrum, of each spectrum that cannot be used.
Refused = Callable[[str], None]


@dataclass(frozen=True)
class OwnPixels:
    """A spectrum of a file as it was, in the rest frame: wavelength (Å, vacuum), flux and sigma, each (N,)."""

    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray


@dataclass(frozen=True)
class SeenSpectrum:
    """One spectrum on the L pixels of a denoiser.

    Args:
        name: of the star, or its place in a set.
        source: path it is from.
        flux, sigma: shape (L,), float64; sigma is `inf` on dead pixels.
        clean: noise-free flux where it is known, (L,), else None.
        assumptions: what the file does not say and was taken for granted, one sentence each.
        warnings: what speaks against denoising it, one sentence each.
        own: on the pixels of its file; None if these are the denoiser's.
    """

    name: str
    source: str
    flux: np.ndarray
    sigma: np.ndarray
    clean: np.ndarray | None = None
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    own: OwnPixels | None = None


def spectra_of(
    path: Path, origin: Origin, count: int, options: ReadOptions, velocity: float, refused: Refused
) -> list[SeenSpectrum]:
    """Return the spectra that a path holds, on the pixels of a denoiser.

    Args:
        path: a file of spectra in any form that is read, a folder of `specvit simulate`, or a run folder, of which the
            test stars are taken.
        origin: of the denoiser.
        count: most spectra of a stored set or a run.
        options: for files, what the user knows better.
        velocity: km/s, taken out of the wavelengths of files.
        refused: told of spectra of files that cannot be used.

    Raises:
        DataError: if the path as a whole cannot be used; names it.
    """
    known = known_spectra(path)
    if known is not None:
        source = known[0]
        source.grid.check_matches(origin.grid, f"{path}: spectra")
        return _of_batch(source.draw(0, min(count, len(source))), path)
    _check_no_shard(path)
    read = read_spectra(path, options, lambda name, error: refused(_named(path, name, error)))
    found = []
    for one in read:
        try:
            found.append(_of_file(one, path, origin, velocity))
        except DataError as error:
            refused(_named(path, one.name, error))
    return found


def known_spectra(path: Path) -> tuple[SpectraSource, World | None] | None:
    """Return the spectra of a stored set or the test stars of a run, and their world where it is known; None for files.

    Raises:
        DataError: for a set or run that cannot be used.
    """
    if (path / MANIFEST).is_file():
        stored = StoredSpectra(path)
        return stored, replace(stored.world, widening=None)
    return _of_run(RunFolder.open(path)) if (path / CONFIG).is_file() else None


def told_apart(seen: Iterable[SeenSpectrum]) -> list[SeenSpectrum]:
    """Return spectra whose names are their own: where two are alike with the path they are from, then with a number."""
    named = list(seen)
    often = Counter(one.name for one in named)
    named = [replace(one, name=_with_path(one)) if often[one.name] > 1 else one for one in named]
    often = Counter(one.name for one in named)
    return [
        replace(one, name=f"{one.name} #{at + 1}") if often[one.name] > 1 else one
        for at, one in enumerate(named)
    ]


def _with_path(one: SeenSpectrum) -> str:
    return one.source if Path(one.source).name == one.name else f"{one.source}: {one.name}"


def _of_batch(batch: SpectraBatch, path: Path) -> list[SeenSpectrum]:
    flux, sigma = batch.flux.double().numpy(), batch.sigma.double().numpy()
    clean = None if batch.truth is None else batch.truth.flux.double().numpy()
    return [
        SeenSpectrum(
            f"{path.name}:{row}", str(path), flux[row], sigma[row], None if clean is None else clean[row]
        )
        for row in range(len(batch))
    ]


def _of_run(run: RunFolder) -> tuple[SpectraSource, World | None]:
    """Return the test spectra of a run of `specvit run` or `specvit train`, and their world if they have one."""
    config = run.config
    if any(config.get("data", {}).values()):
        try:
            return open_test_spectra(training_config(config))
        except SpecvitError as error:
            raise DataError(f"{run.path}: its test stars are stored spectra: {error}") from error
    world, stars = _world_of_run(run, config)
    source = world.build().source(splits.TEST, int(stars["seed"]), splits.ENDLESS, truth=True)
    return source, world


def _world_of_run(run: RunFolder, config: dict[str, Any]) -> tuple[World, dict[str, Any]]:
    try:
        stars = config["simulate"]
        world = World(
            library=config["library"]["name"],
            instrument=config["instrument"]["name"],
            prior=stars["prior"],
            bounds={name: (low, high) for name, (low, high) in stars.get("bounds", {}).items()},
            noise_level=stars["noise_level"],
            normalisation=stars["normalisation"],
            visible_sigma=stars.get("visible_sigma", World.visible_sigma),
        )
        int(stars["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{run.path}: says no world to draw test stars of ({error}); give files of spectra"
        ) from error
    return world, stars


def _of_file(one: ObservedSpectrum, path: Path, origin: Origin, velocity: float) -> SeenSpectrum:
    own = OwnPixels(one.wavelength / (1 + velocity / SPEED_OF_LIGHT_KM_S), one.flux, one.sigma)
    flux, sigma = onto_grid(own.wavelength, own.flux, own.sigma, origin.grid)
    share = np.isfinite(sigma).mean()
    if share < MINIMUM_USABLE:
        covered = "none" if not share else f"{share:.1%}"
        raise DataError(
            f"covers {covered} of the pixels of the denoiser, {origin.grid.describe()}, at least {MINIMUM_USABLE:.0%} "
            "are needed; take a denoiser for this spectrograph, or give --velocity if the star moves"
        )
    warning = None if "resolution" in one.assumed else other_resolution(one, origin)
    return SeenSpectrum(
        one.name,
        str(path),
        flux,
        sigma,
        assumptions=one.assumptions,
        warnings=() if warning is None else (warning,),
        own=own,
    )


def other_resolution(one: ObservedSpectrum, origin: Origin) -> str | None:
    """Return in words how the resolution of a file differs from that a denoiser knows; None if it does not."""
    if origin.lsf is None:
        return None
    grid = origin.grid
    inside = (one.wavelength >= grid.start) & (one.wavelength <= grid.stop)
    if not inside.any():
        return None
    at = one.wavelength[inside]
    order = np.argsort(origin.lsf["wavelength"])
    nodes, widths = (np.array(origin.lsf[key])[order] for key in ("wavelength", "fwhm"))
    bare = np.interp(at, nodes, widths)
    # Theirs is without the pixel, a file's with it.
    theirs = np.hypot(bare, _pixel_fwhm(grid, at))
    ratio = float(np.median(one.fwhm[inside] / theirs))
    if abs(ratio - 1) <= OTHER_RESOLUTION:
        return None
    middle = float(np.median(at / theirs))
    return (
        f"its resolution is λ/FWHM = {middle / ratio:.0f}, that of the denoiser's spectra {middle:.0f}: its lines are taken for "
        "those of other stars; take a denoiser for this spectrograph"
    )


def _pixel_fwhm(grid: WavelengthGrid, at: np.ndarray) -> np.ndarray:
    """Return what a pixel adds in quadrature to the FWHM of a Gaussian, Å: that of one of the same variance."""
    order = np.argsort(grid.wavelength)
    width = np.interp(at, grid.wavelength[order], grid.width[order])
    as_gaussian: np.ndarray = width * (8 * np.log(2) / 12) ** 0.5
    return as_gaussian


def _check_no_shard(path: Path) -> None:
    """Raise ConfigError for one file of a set of `specvit simulate`, which is read as a whole."""
    if path.is_file() and path.suffix in (".h5", ".hdf5") and (path.parent / MANIFEST).is_file():
        raise ConfigError(f"{path}: is a part of a set of `specvit simulate`; give its folder, {path.parent}")


def _named(path: Path, name: str, error: SpecvitError) -> str:
    """Return an error with path and spectrum, if it does not name them itself."""
    text = str(error)
    missing = [word for word in (str(path), name) if word and word not in text]
    return (
        ": ".join([*missing, text])
        if missing != [name]
        else f"{path}: {name}: {text.removeprefix(f'{path}: ')}"
    )
