"""The on-disk form of simulated spectra: one HDF5 file per shard. Owns the format; `writer` owns the job.

A shard holds `flux`, `sigma` (N, L) float32, `labels` (N, P), `snr` (N,), `conditions/<name>` (N,) and
`wavelength` (L,) in Å, with units as attributes; `truth/` is there only if asked for. It appears under its
final name when it is complete, never before.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from specvit import __version__
from specvit.errors import DataError
from specvit.instrument import Instrument
from specvit.runs.atomic import disk_errors
from specvit.simulate.simulator import Simulator
from specvit.simulate.world import World
from specvit.spectra import LabelSpace, SpectraBatch, Truth, WavelengthGrid, check_rows

FORMAT = "specvit-spectra"
FORMAT_VERSION = 1
BATCH = 1024

CONDITION_UNITS = {
    "mag": "AB, HSC i",
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
    world: dict
    split: str
    seed: int
    start: int
    stop: int
    truth: bool

    @property
    def count(self) -> int:
        """Number of spectra."""
        return self.stop - self.start

    def to_dict(self) -> dict:
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
    path = Path(plan.path)
    # A name of its own: a Dask worker may still be at this shard for a job that was killed and is continued.
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with disk_errors(path):
            with h5py.File(partial, "w", libver="latest") as file:
                _fill(file, plan, simulator, progress)
            descriptor = os.open(partial, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
            os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
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
            "world": json.dumps(plan.world, sort_keys=True),
            "label_space": json.dumps(space.to_dict()),
            "medium": grid.medium,
            "grid_fingerprint": grid.fingerprint,
        }
    )
    wavelength = file.create_dataset("wavelength", data=grid.wavelength)
    wavelength.attrs["unit"] = f"angstrom, {grid.medium}"
    for start in range(plan.start, plan.stop, BATCH):
        stop = min(start + BATCH, plan.stop)
        batch = simulator.draw(plan.split, plan.seed, start, stop, truth=plan.truth)
        arrays = _arrays(batch)
        if start == plan.start:
            for name, (values, unit) in arrays.items():
                dataset = file.create_dataset(name, (plan.count, *values.shape[1:]), values.dtype)
                dataset.attrs["unit"] = unit
        for name, (values, _) in arrays.items():
            file[name][start - plan.start : stop - plan.start] = values
        if progress is not None:
            progress(stop - start)


def _arrays(batch: SpectraBatch) -> dict[str, tuple[np.ndarray, str]]:
    relative = "relative to the stated normalisation"
    arrays = {
        "flux": (batch.flux.numpy(), relative),
        "sigma": (batch.sigma.numpy(), relative),
        "labels": (batch.known_labels().numpy(), "see label_space"),
        "snr": (batch.known_snr().numpy(), "median over pixels of noise-free flux / true sigma"),
    }
    for name, values in batch.conditions.items():
        arrays[f"conditions/{name}"] = (values.numpy(), CONDITION_UNITS.get(name, ""))
    if batch.truth is not None:
        arrays["truth/flux"] = (batch.truth.flux.numpy(), relative)
        arrays["truth/sigma"] = (batch.truth.sigma.numpy(), relative)
        arrays["truth/scale"] = (batch.truth.scale.numpy(), "flux per band-normalised flux")
    return arrays


def open_shard(path: Path) -> h5py.File:
    """Return the opened shard after checking that it is one.

    Raises:
        DataError: naming the file if it is missing, truncated, of another format or of a newer version.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such shard; run the `specvit simulate` command again, it continues")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(
            f"{path}: not a readable HDF5 file (truncated?); delete it and run `specvit simulate` again"
        ) from error
    if file.attrs.get("format") != FORMAT:
        file.close()
        raise DataError(f"{path}: not a shard written by `specvit simulate`")
    if file.attrs["format_version"] > FORMAT_VERSION:
        version = file.attrs["format_version"]
        file.close()
        raise DataError(
            f"{path}: shard format {version} is newer than this specvit reads ({FORMAT_VERSION}); "
            "pip install --upgrade specvit"
        )
    return file


def read_rows(file: h5py.File, rows: slice) -> SpectraBatch:
    """Return rows of an opened shard as a batch; truth is there if the shard holds it."""

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(file[name][rows])

    truth = None
    if "truth" in file:
        truth = Truth(tensor("truth/flux"), tensor("truth/sigma"), tensor("truth/scale"))
    conditions = {name: tensor(f"conditions/{name}") for name in file["conditions"]}
    return SpectraBatch(tensor("flux"), tensor("sigma"), tensor("labels"), conditions, tensor("snr"), truth)


class StoredSpectra:
    """A `SpectraSource` over the shards of one folder, read as they are asked for; noise as it was stored.

    Raises:
        DataError: if the folder is not a complete set written by `specvit simulate`; names the file.
    """

    fresh_noise = False

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._manifest = manifest = read_manifest(self.folder)
        self.paths = [self.folder / name for name in manifest["shards"]]
        self.world = World.from_dict(manifest["world"])
        self._counts = []
        for path in self.paths:
            with open_shard(path) as file:
                self._counts.append(len(file["snr"]))
                self.grid = WavelengthGrid(file["wavelength"][:], file.attrs["medium"])
                self.label_space = LabelSpace.from_dict(json.loads(file.attrs["label_space"]))

    def __len__(self) -> int:
        return sum(self._counts)

    @property
    def provenance(self) -> dict[str, Any]:
        """What these spectra are, as the folder's manifest says."""
        return {name: value for name, value in self._manifest.items() if name != "shards"}

    @property
    def lsf(self) -> dict[str, list[float]]:
        """The line-spread function of these spectra, see `Instrument.lsf_nodes`."""
        return Instrument.load(self.world.instrument).lsf_nodes()

    def draw(self, start: int, stop: int, epoch: int = 0) -> SpectraBatch:
        """Return spectra [start, stop), the same in every epoch."""
        check_rows(start, stop, len(self), epoch)
        parts, first = [], 0
        for path, count in zip(self.paths, self._counts, strict=True):
            low, high = max(start - first, 0), min(stop - first, count)
            if low < high:
                with open_shard(path) as file:
                    parts.append(read_rows(file, slice(low, high)))
            first += count
        return parts[0] if len(parts) == 1 else SpectraBatch.concatenate(parts)

    def reserve(self, count: int) -> None:
        """Return None: what is not stored here cannot be read."""
        return None

    def batches(self, batch_size: int, epoch: int = 0) -> Iterator[SpectraBatch]:
        """Yield all spectra in order, the same in every epoch; batches do not cross shard boundaries."""
        for path, count in zip(self.paths, self._counts, strict=True):
            with open_shard(path) as file:
                for start in range(0, count, batch_size):
                    yield read_rows(file, slice(start, min(start + batch_size, count)))


MANIFEST = "manifest.json"


def read_manifest(folder: Path) -> dict:
    """Return the manifest of a folder of shards; DataError if it is missing or broken."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(
            f"{folder}: no {MANIFEST} there; expected a folder written by `specvit simulate --out`"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); delete it and run `specvit simulate` again"
        ) from error
    keys = {"format", "world", "shards"}
    if not isinstance(manifest, dict) or not keys <= manifest.keys() or manifest["format"] != FORMAT:
        raise DataError(f"{path}: not a manifest of simulated spectra; choose another folder or delete it")
    return manifest
