"""The on-disk form of simulated spectra: one HDF5 file per shard. Owns the format; `writer` owns the job.

A shard holds `flux`, `sigma` (N, L) float32, `labels` (N, P), `snr` (N,), `conditions/<name>` (N,) and
`wavelength` (L,) in Å, with units as attributes; `pixel_bounds` (2, L) and `arms` where pixels do not follow from their
centres; `truth/` only if asked for. It appears under its
final name when it is complete, never before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from pydantic import TypeAdapter

from specvit import __version__
from specvit.documents import Section
from specvit.documents.hdf5 import FLOATS, INTEGERS, HdfFile, open_hdf5
from specvit.errors import DataError, WavelengthRangeError
from specvit.runs.atomic import write_atomic_path
from specvit.simulate.manifest import FORMAT, FORMAT_VERSION
from specvit.simulate.simulator import Simulator, World
from specvit.spectra import LabelSpace, SpectraBatch, Truth, WavelengthGrid

BATCH = 1024

CONDITION_UNITS = {
    "mag": "AB",
    "seeing": "arcsec",
    "zenith_angle": "deg",
    "field_angle": "deg",
    "moon": "phase fraction",
    "exposure_time": "s",
    "exposure_count": "",
}


@dataclass(frozen=True)
class ShardPlan:
    """One shard as a job: everything a worker process needs, JSON-ready."""

    path: str
    world: dict[str, Any]
    split: str
    seed: int
    start: int
    stop: int
    truth: bool

    @property
    def count(self) -> int:
        """Number of spectra."""
        return self.stop - self.start

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data; `ShardPlan(**data)` reads it back."""
        return asdict(self)


def bytes_per_spectrum(pixels: int, labels: int, conditions: int, truth: bool) -> int:
    """Return the disk space of one stored spectrum, bytes."""
    return 4 * (pixels * (4 if truth else 2) + labels + conditions + 1 + int(truth))


def write_shard(plan: ShardPlan, simulator: Simulator, progress: Callable[[int], None] | None = None) -> int:
    """Simulate and write one shard; return its number of spectra. All or nothing.

    Args:
        plan: what to write and where.
        simulator: the simulator of `plan.world`.
        progress: called with the number of spectra written by each step.

    Raises:
        RunError: if the file cannot be written; no partial file stays behind.
    """

    def write_to(partial: Path) -> None:
        with h5py.File(partial, "w", libver="latest") as file:
            _fill(file, plan, simulator, progress)

    write_atomic_path(Path(plan.path), write_to)
    return plan.count


def _fill(
    file: h5py.File, plan: ShardPlan, simulator: Simulator, progress: Callable[[int], None] | None
) -> None:
    space, grid = simulator.prior.label_space, simulator.grid
    file.attrs.update(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "specvit_version": __version__,
            "split": plan.split,
            "seed": plan.seed,
            "start": plan.start,
            "stop": plan.stop,
            # Sorted: the bytes of a shard are the same however its world was put together.
            "world": json.dumps(plan.world, sort_keys=True),
            "label_space": json.dumps(space.to_dict()),
            "lsf": json.dumps(simulator.instrument.lsf_nodes()),
            "medium": grid.medium,
            "grid_fingerprint": grid.fingerprint,
        }
    )
    wavelength = file.create_dataset("wavelength", data=grid.wavelength)
    wavelength.attrs["unit"] = f"angstrom, {grid.medium}"
    for name, values in grid.beside_centres().items():
        file.create_dataset(name, data=values)
    for start in range(plan.start, plan.stop, BATCH):
        stop = min(start + BATCH, plan.stop)
        batch = simulator.draw(plan.split, plan.seed, start, stop, truth=plan.truth)
        arrays = _arrays(batch, simulator.instrument.band.name)
        if start == plan.start:
            for name, (values, unit) in arrays.items():
                dataset = file.create_dataset(name, (plan.count, *values.shape[1:]), values.dtype)
                dataset.attrs["unit"] = unit
        for name, (values, _) in arrays.items():
            file[name][start - plan.start : stop - plan.start] = values
        if progress is not None:
            progress(stop - start)


def _arrays(batch: SpectraBatch, band: str) -> dict[str, tuple[np.ndarray, str]]:
    relative = "relative to the stated normalisation"
    arrays = {
        "flux": (batch.flux.numpy(), relative),
        "sigma": (batch.sigma.numpy(), relative),
        "labels": (batch.known_labels().numpy(), "see label_space"),
        "snr": (batch.known_snr().numpy(), "median over pixels of noise-free flux / true sigma"),
    }
    for name, values in batch.conditions.items():
        unit = CONDITION_UNITS.get(name, "")
        arrays[f"conditions/{name}"] = (values.numpy(), f"{unit}, {band}" if name == "mag" else unit)
    if batch.truth is not None:
        arrays["truth/flux"] = (batch.truth.flux.numpy(), relative)
        arrays["truth/sigma"] = (batch.truth.sigma.numpy(), relative)
        arrays["truth/scale"] = (batch.truth.scale.numpy(), "flux per band-normalised flux")
    return arrays


@dataclass(frozen=True)
class ShardHeader:
    """What a shard says of itself.

    Args:
        world, split, seed, start, stop: see `ShardPlan`; spectra [start, stop) of the split.
        label_space: names, units and box of the labels.
        conditions: names of the observing conditions.
        grid: the pixels.
        lsf: see `Instrument.lsf_nodes`; None in shards written before it was stored.
    """

    world: World
    split: str
    seed: int
    start: int
    stop: int
    label_space: LabelSpace
    conditions: tuple[str, ...]
    grid: WavelengthGrid
    lsf: dict[str, list[float]] | None

    @property
    def count(self) -> int:
        """Number of spectra."""
        return self.stop - self.start

    def set_fields(self) -> dict[str, Any]:
        """Return what all shards of a set share, by name."""
        return {**self.world.to_dict(), "split": self.split, "seed": self.seed}


class Shard:
    """An open shard whose header has been checked.

    Args:
        file: the open file.
        header: see `ShardHeader`.
    """

    def __init__(self, file: HdfFile, header: ShardHeader) -> None:
        self.header, self._file = header, file
        rows, pixels = (header.count,), (header.count, header.grid.size)
        self._shapes = {"flux": pixels, "sigma": pixels, "snr": rows}
        self._shapes["labels"] = (header.count, len(header.label_space))
        self._truth = {"truth/flux": pixels, "truth/sigma": pixels, "truth/scale": rows}
        self._conditions = {f"conditions/{name}": rows for name in header.conditions}

    def check_arrays(self, truth: bool) -> None:
        """Raise DataError if an array is missing, of another shape or type, or not stored in full."""
        for name, shape in (self._shapes | self._conditions | (self._truth if truth else {})).items():
            self._file.dataset(name, shape, FLOATS)

    def read_rows(self, rows: slice, truth: bool) -> SpectraBatch:
        """Return rows as a batch; `truth` gives it what only the simulator knows."""

        def read(shapes: Mapping[str, tuple[int, ...]]) -> list[torch.Tensor]:
            arrays = [self._file.dataset(name, shape, FLOATS).read(rows) for name, shape in shapes.items()]
            return [torch.from_numpy(values.astype(np.float32, copy=False)) for values in arrays]

        flux, sigma, snr, labels = read(self._shapes)
        conditions = dict(zip(self.header.conditions, read(self._conditions), strict=True))
        return SpectraBatch(
            flux, sigma, labels, conditions, snr, Truth(*read(self._truth)) if truth else None
        )


@contextmanager
def open_shard(path: Path) -> Iterator[Shard]:
    """Open a shard after checking what it says of itself; the context closes it.

    Raises:
        DataError: naming file and field if it cannot be opened (with the cause), is of another format or a newer
            version, or its header is wrong.
    """
    with open_hdf5(path, "shard", "run the same `specvit simulate` command again, it continues") as file:
        if not file.has_attribute("format") or file.attribute("format", str) != FORMAT:
            raise DataError(f"{path}: not a shard written by `specvit simulate`; give another folder")
        version = file.attribute("format_version", int)
        if version != FORMAT_VERSION:
            raise DataError(
                f"{path}: shard format {version}, this specvit reads {FORMAT_VERSION}; if it is newer, "
                "pip install --upgrade specvit"
            )
        yield Shard(file, _header(file))


def _header(file: HdfFile) -> ShardHeader:
    start, stop = file.attribute("start", int), file.attribute("stop", int)
    if not 0 <= start < stop:
        raise DataError(
            f"{file.path}: attributes 'start' and 'stop' are {start} and {stop}, expected a range"
        )
    return ShardHeader(
        file.json("world", World.from_dict),
        file.attribute("split", str),
        file.attribute("seed", int),
        start,
        stop,
        file.json("label_space", _LABEL_SPACE.validate_python),
        tuple(sorted(file.members("conditions"))),
        _grid(file),
        file.json("lsf", lambda found: _Lsf.model_validate(found).model_dump())
        if file.has_attribute("lsf")
        else None,
    )


def _grid(file: HdfFile) -> WavelengthGrid:
    medium, fingerprint = file.attribute("medium", str), file.attribute("grid_fingerprint", str)
    if medium not in ("vacuum", "air"):
        raise DataError(f"{file.path}: attribute 'medium' is '{medium}', expected vacuum or air")
    centres = file.array("wavelength", (None,), FLOATS)
    beside = None
    if "pixel_bounds" in file:
        beside = {
            "pixel_bounds": file.array("pixel_bounds", (2, len(centres)), FLOATS),
            "arms": file.array("arms", (None,), INTEGERS),
        }
    try:
        grid = WavelengthGrid.joined(centres, medium, beside)  # type: ignore[arg-type]
    except WavelengthRangeError as error:
        raise WavelengthRangeError(f"{file.path}: 'wavelength': {error}") from error
    if grid.fingerprint != fingerprint:
        raise DataError(
            f"{file.path}: 'wavelength' was changed (its fingerprint differs); copy the set again"
        )
    return grid


_LABEL_SPACE = TypeAdapter(LabelSpace)


class _Lsf(Section):
    wavelength: list[float]
    fwhm: list[float]
