"""`specvit denoise`: spectra denoised, judged by what was taken out of them, and written. Reads none: see `denoise_inputs`."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from specvit.denoise import BayesDenoiser, Denoiser
from specvit.denoise.denoised import DenoisedSpectra
from specvit.denoise.misfit import Misfit, between_pixels, misfit_of
from specvit.errors import ConfigError, DataError
from specvit.jobs.denoise_inputs import Refused, SeenSpectrum, known_spectra
from specvit.jobs.worlds import build_world, in_words
from specvit.runs import write_atomic
from specvit.runs.atomic import check_own
from specvit.simulate import World, splits
from specvit.spectra import WavelengthGrid, median_snr

#: By which a file of ours is known.
MADE_BY = "specvit denoise"

#: Fields of a world that the exact posterior depends on; the noise is that which each spectrum states.
OF_POSTERIOR = ("library", "instrument", "prior", "bounds")


@dataclass(frozen=True)
class DenoisedBatch:
    """N spectra, what came out, and whether what was taken out is noise (None where strength is 0)."""

    seen: list[SeenSpectrum]
    found: DenoisedSpectra
    misfits: list[Misfit | None]


def optimum_of(world: World) -> BayesDenoiser:
    """Return the exact posterior mean of a world; nothing is trained."""
    simulator = build_world(world)
    source = simulator.source(splits.TRAIN, 0, 64)
    return BayesDenoiser(simulator.observed, world.prior).fit(source, source)


def world_for(paths: Sequence[Path], stated: dict[str, str]) -> World:
    """Return the world whose exact posterior is meant: that of the sets and runs among `paths`, else as stated.

    Args:
        paths: of spectra.
        stated: what a user said of it, field -> value.

    Raises:
        ConfigError: if these are of several worlds, or of another one than stated.
        DataError: if a set or run has no world.
    """
    found: dict[Path, World] = {}
    for path in paths:
        known = known_spectra(path)
        if known is None:
            continue
        if known[1] is None:
            raise DataError(f"{path}: its spectra say no world, so there is no exact posterior; give --model")
        found[path] = known[1]
    if not found:
        return World(**stated)  # type: ignore[arg-type]  # texts alone
    (first, world), *others = found.items()
    for path, other in others:
        if any(getattr(other, name) != getattr(world, name) for name in OF_POSTERIOR):
            raise ConfigError(
                f"{path}: is of another world ({in_words(other)}) than {first} ({in_words(world)}); denoise them apart"
            )
    for name, value in stated.items():
        if getattr(world, name) != value:
            raise ConfigError(
                f"--{name} {value}: {first} is of another world ({in_words(world)}); leave it out, or give --model"
            )
    return world


def denoise_all(
    denoiser: Denoiser, seen: Sequence[SeenSpectrum], strength: float, draws: int, seed: int, refused: Refused
) -> DenoisedBatch:
    """Return what a denoiser makes of spectra; those it refuses are told of and left out.

    Raises:
        ConfigError: for a strength or draws that it cannot be asked for.
    """
    kept, parts = list(seen), []
    try:
        parts = [_denoised(denoiser, kept, strength, draws, seed)] if kept else []
    except DataError:
        kept = []
        for row, one in enumerate(seen):
            try:
                parts.append(_denoised(denoiser, [one], strength, draws, seed + row))
                kept.append(one)
            except DataError as error:
                refused(f"{one.source}: {one.name}: {error}")
    if not kept:
        return DenoisedBatch([], DenoisedSpectra(torch.zeros(0, denoiser.origin.grid.size)), [])
    found = DenoisedSpectra.concatenate(parts)
    misfits = [_misfit(denoiser, one, found, row, strength) for row, one in enumerate(kept)]
    return DenoisedBatch(kept, found, misfits)


def _denoised(
    denoiser: Denoiser, seen: list[SeenSpectrum], strength: float, draws: int, seed: int
) -> DenoisedSpectra:
    flux, sigma = (np.stack([getattr(one, name) for one in seen]) for name in ("flux", "sigma"))
    return denoiser.denoise(flux, sigma, strength, draws, seed)


def _misfit(
    denoiser: Denoiser, seen: SeenSpectrum, found: DenoisedSpectra, row: int, strength: float
) -> Misfit | None:
    """Return how large what was taken out is, on the pixels of the file: those of the grid share noise."""
    if strength == 0:
        return None
    mean, live = found.mean[row].double().numpy(), np.isfinite(seen.sigma)
    std = None if found.std is None else found.std[row].double().numpy()
    # Of one that states no errors: a star's labels and its flux scale.
    parameters = (
        len(denoiser.origin.label_space) + 1.0
        if std is None
        else float(np.square(std[live] / seen.sigma[live]).sum())
    )
    # A share of the way, or a share of the noise.
    full = np.where(live, seen.flux + (mean - seen.flux) / strength, mean)
    if seen.own is None:
        return misfit_of(seen.flux, seen.sigma, full, parameters)
    own = seen.own
    # Where the grid pixel is dead the answer is no fit to the file's.
    shown = np.interp(own.wavelength, denoiser.origin.grid.wavelength, live.astype(float)) > 1 - 1e-9
    at_own = np.where(shown, between_pixels(full, denoiser.origin.grid, own.wavelength), np.nan)
    return misfit_of(own.flux, own.sigma, at_own, parameters)


def facts_of(batch: DenoisedBatch) -> list[dict[str, object]]:
    """Return what is told of each spectrum, JSON-ready: S/N and stated errors over live pixels, misfit, assumptions."""
    converged, rows = batch.found.diagnostics.converged, []
    for row, (one, misfit) in enumerate(zip(batch.seen, batch.misfits, strict=True)):
        live = np.isfinite(one.sigma)
        std = None if batch.found.std is None else batch.found.std[row].numpy()
        snr = median_snr(torch.from_numpy(one.flux[live]), torch.from_numpy(one.sigma[live]))
        doubts = [*one.warnings, *([] if misfit is None or misfit.doubt is None else [misfit.doubt])]
        rows.append(
            {
                "name": one.name,
                "source": one.source,
                "snr": float(snr),
                "noise_left": None if std is None else float(np.median(std[live] / one.sigma[live])),
                "converged": None if converged is None else bool(converged[row]),
                "chi2": None if misfit is None else misfit.per_pixel,
                "freedom": None if misfit is None else misfit.freedom,
                "p_larger": None if misfit is None else misfit.p_larger,
                "p_smaller": None if misfit is None else misfit.p_smaller,
                "warnings": doubts,
                "assumptions": list(one.assumptions),
            }
        )
    return rows


def check_out(path: Path, inputs: Sequence[Path]) -> None:
    """Raise unless a file may be written: not one of the inputs, and none that something else made."""
    if path.suffix != ".npz":
        raise ConfigError(f"--out {path}: expected a name that ends in .npz")
    if any(path.resolve() == one.resolve() for one in inputs):
        raise ConfigError(
            f"--out {path}: is one of the spectra, and would be overwritten; choose another name"
        )
    check_own(path, MADE_BY, MADE_BY, "--out")


def write_denoised(
    path: Path,
    grid: WavelengthGrid,
    batch: DenoisedBatch,
    facts: Sequence[dict[str, object]],
    made_by: dict[str, object],
) -> None:
    """Write spectra and answers as one .npz.

    names, wavelength (Å, vacuum), flux, sigma, denoised, std, samples, truth (NaN where it is not known), chi2 per degree of
    freedom with its freedom, p_larger and p_smaller (NaN where not judged); assumptions and warnings, joined by '; ', and
    `about`, JSON: the denoiser and its world.
    """
    seen, found = batch.seen, batch.found
    nothing = np.full(grid.size, np.nan)
    truth = None
    if any(one.clean is not None for one in seen):
        truth = np.stack([nothing if one.clean is None else one.clean for one in seen])
    arrays = {
        "names": np.array([one.name for one in seen], dtype=np.str_),
        "wavelength": grid.wavelength,
        "flux": np.stack([one.flux for one in seen]),
        "sigma": np.stack([one.sigma for one in seen]),
        "denoised": found.mean.numpy(),
        **({} if found.std is None else {"std": found.std.numpy()}),
        **({} if found.samples is None else {"samples": found.samples.numpy()}),
        **({} if truth is None else {"truth": truth}),
        **{
            key: np.array([np.nan if one[key] is None else one[key] for one in facts], dtype=np.float64)
            for key in ("chi2", "freedom", "p_larger", "p_smaller")
        },
        "assumptions": np.array(["; ".join(one.assumptions) for one in seen], dtype=np.str_),
        "warnings": np.array(["; ".join(map(str, one["warnings"])) for one in facts], dtype=np.str_),  # type: ignore[call-overload]
        "about": np.array(json.dumps(made_by), dtype=np.str_),
        # Bytes: they stand in the file as they are.
        "made_by": np.array(MADE_BY.encode()),
    }
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # NumPy's stub sees one keyword
    write_atomic(path, stream.getvalue())
