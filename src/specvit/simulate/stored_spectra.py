"""Stored spectra as a source: the shards of one folder, checked against its manifest and each other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from specvit.errors import DataError
from specvit.instrument import Instrument
from specvit.runs.identity import content_digest
from specvit.simulate.kept_files import world_beside
from specvit.simulate.manifest import MANIFEST, SetManifest, read_manifest
from specvit.simulate.shards import Shard, ShardHeader, open_shard
from specvit.simulate.simulator import World
from specvit.spectra import SpectraBatch, check_rows, in_batches


class StoredSpectra:
    """A `SpectraSource` over the shards of one folder, read as they are asked for; noise as it was stored.

    The folder may have been moved; the files its world names are kept in it.

    Raises:
        DataError: if the folder is not a complete set written by `specvit simulate`; names file and field.
    """

    fresh_noise = False

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._manifest = read_manifest(self.folder)
        self.paths = [self.folder / name for name in self._manifest.shards]
        self._headers: list[ShardHeader] = []
        for path in self.paths:
            with open_shard(path) as shard:
                self._check(path, shard.header)
                shard.check_arrays(self._manifest.truth)
            self._headers.append(shard.header)
        if self._headers[-1].stop != self._manifest.spectra:
            raise DataError(
                f"{self.folder / MANIFEST}: says {self._manifest.spectra} spectra, its shards hold "
                f"{self._headers[-1].stop}; run the same `specvit simulate` command in another folder"
            )
        self.grid, self.label_space = self._headers[0].grid, self._headers[0].label_space

    def __len__(self) -> int:
        return self._manifest.spectra

    @property
    def world(self) -> World:
        """What the spectra were drawn from, to be built from the files kept with them."""
        return world_beside(self._manifest.world, self.folder)

    @property
    def provenance(self) -> dict[str, Any]:
        """What these spectra are, as the folder's manifest says."""
        said = {name: value for name, value in self._manifest.to_dict().items() if name != "shards"}
        # When a set was made, and by which version, does not make it another one.
        content = {k: v for k, v in said.items() if k not in ("created", "specvit_version")}
        return {**said, "identity": content_digest(content)}

    @property
    def lsf(self) -> dict[str, list[float]]:
        """The line-spread function of these spectra, see `Instrument.lsf_nodes`."""
        # Shards written before it was stored have none.
        return self._headers[0].lsf or Instrument.load(self.world.instrument).lsf_nodes()

    def draw(self, start: int, stop: int, epoch: int = 0) -> SpectraBatch:
        """Return spectra [start, stop), the same in every epoch."""
        check_rows(start, stop, len(self), epoch)
        parts = [
            self._read(path, max(start, header.start) - header.start, min(stop, header.stop) - header.start)
            for path, header in zip(self.paths, self._headers, strict=True)
            if header.start < stop and start < header.stop
        ]
        return parts[0] if len(parts) == 1 else SpectraBatch.concatenate(parts)

    def reserve(self, count: int) -> None:
        """Return None: what is not stored here cannot be read."""
        return None

    def batches(self, batch_size: int, epoch: int = 0) -> Iterator[SpectraBatch]:
        """Yield all spectra in order, the same in every epoch; batches do not cross shard boundaries."""
        for path, header in zip(self.paths, self._headers, strict=True):
            with open_shard(path) as shard:
                yield from in_batches(partial(self._rows_of, shard), header.count, batch_size, epoch)

    def _read(self, path: Path, start: int, stop: int) -> SpectraBatch:
        with open_shard(path) as shard:
            return self._rows_of(shard, start, stop)

    def _rows_of(self, shard: Shard, start: int, stop: int, epoch: int = 0) -> SpectraBatch:
        return shard.read_rows(slice(start, stop), self._manifest.truth)

    def _check(self, path: Path, header: ShardHeader) -> None:
        """Raise unless the shard is of this set and follows the one before."""
        _check_same(path, header, self._manifest)
        expected = self._headers[-1].stop if self._headers else 0
        if header.start != expected:
            raise DataError(
                f"{path}: begins with spectrum {header.start}, expected {expected}; it is of another set, or "
                "renamed: copy the set again"
            )
        if self._headers:
            first = self._headers[0]
            first.grid.check_matches(header.grid, str(path))
            for name in ("label_space", "conditions"):
                if getattr(header, name) != getattr(first, name):
                    raise DataError(
                        f"{path}: its {name} are {getattr(header, name)}, those of {self.paths[0].name} "
                        f"{getattr(first, name)}; copy the set again"
                    )


def _check_same(path: Path, header: ShardHeader, manifest: SetManifest) -> None:
    theirs, ours = header.set_fields(), {
        **manifest.world.to_dict(), "split": manifest.split, "seed": manifest.seed
    }  # fmt: skip
    for name, value in ours.items():
        if theirs[name] != value:
            raise DataError(
                f"{path}: is of another set ({name} is {theirs[name]}, {value} in {MANIFEST}); put it back where "
                "it belongs and run the `specvit simulate` command of this set again"
            )
