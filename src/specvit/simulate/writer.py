"""Writing a set of shards: plan, resume, spread over local processes or a Dask cluster.

A job is a folder with a manifest; a whole shard that is there under its final name is done. Spectra depend on
(world, split, seed, index) alone and every worker computes with one thread, so the bytes of a shard do not
depend on who wrote it, or on how often the job was killed.
"""

from __future__ import annotations

import datetime
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, as_completed
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from specvit import __version__
from specvit.errors import ConfigError, RunError, import_optional
from specvit.runs.atomic import write_atomic
from specvit.runs.locks import only_command_in
from specvit.runs.processes import WorkerPool
from specvit.simulate.identity import emulator_fingerprint, instrument_fingerprint
from specvit.simulate.kept_files import keep_files, kept_world, world_beside
from specvit.simulate.manifest import MANIFEST, SetManifest, read_manifest
from specvit.simulate.seeding import check_seed
from specvit.simulate.shards import ShardPlan, bytes_per_spectrum, open_shard, write_shard
from specvit.simulate.simulator import Simulator, World
from specvit.simulate.splits import split_number

Progress = Callable[[int], None]

#: Time a Dask scheduler has to answer.
DASK_TIMEOUT = "10s"


class WriteJob:
    """One set of simulated spectra on disk, new or to be continued.

    Args:
        folder: where the shards go; created if needed.
        world: the simulated world.
        split, seed: see `Simulator.draw`.
        spectra: number of spectra in all.
        shards: number of files they are spread over.
        truth: store noise-free flux and true sigma too (doubles the size; not for training).

    Raises:
        ConfigError: for impossible numbers, or if the folder holds a different set.
        RunError: if the folder cannot be written.
        DataError: if a shard that is there was damaged.
    """

    def __init__(
        self,
        folder: Path | str,
        world: World,
        split: str,
        seed: int,
        spectra: int,
        shards: int = 1,
        truth: bool = False,
    ) -> None:
        if spectra < 1:
            raise ConfigError(f"--spectra: expected at least 1, got {spectra}")
        if not 1 <= shards <= spectra:
            raise ConfigError(f"--shards: expected 1 to {spectra} (the number of spectra), got {shards}")
        split_number(split)
        check_seed(seed)
        self.folder = Path(folder).absolute()
        self.world, self.split, self.seed, self.spectra, self.truth = world, split, seed, spectra, truth
        self.simulator = world.build()
        # Sizes differ by one spectrum at most.
        cuts = [spectra * i // shards for i in range(shards + 1)]
        self.plans = [
            ShardPlan(
                str(self.folder / f"{split}-{i:05d}-of-{shards:05d}.h5"),
                kept_world(world).to_dict(), split, seed, cuts[i], cuts[i + 1], truth,
            )
            for i in range(shards)
        ]  # fmt: skip

    @property
    def remaining(self) -> list[ShardPlan]:
        """The shards that are not there yet."""
        return [plan for plan in self.plans if not Path(plan.path).exists()]

    @property
    def bytes_needed(self) -> int:
        """Disk space the remaining shards will take."""
        space, names = (
            self.simulator.prior.label_space,
            self.simulator.labels_and_conditions(self.split, 0, 0)[1],
        )
        each = bytes_per_spectrum(self.simulator.grid.size, len(space), len(names), self.truth)
        return sum(plan.count for plan in self.remaining) * each

    def check(self) -> None:
        """Raise, and write nothing, unless what the folder holds is of this set and whole."""
        self._check_manifest()
        for plan in self.plans:
            if Path(plan.path).exists():
                with open_shard(Path(plan.path)) as shard:
                    shard.check_arrays(plan.truth)

    def run(self, workers: int = 1, dask: str | None = None, progress: Progress | None = None) -> int:
        """Write what is missing; return the number of spectra written now.

        Args:
            workers: local processes, one thread each.
            dask: address of a Dask scheduler, instead of local processes; the folder must be shared.
            progress: called with numbers of spectra as they are written.
        """
        if workers < 1:
            raise ConfigError(f"--workers: expected at least 1, got {workers}")
        with self._locked():
            self.check()
            plans, needed = self.remaining, self.bytes_needed
            free = shutil.disk_usage(self.folder).free
            if needed > free:
                raise RunError(
                    f"{self.folder}: {needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free; "
                    "free some space or choose another --out"
                )
            self._write_manifest()
            report = progress or (lambda _: None)
            if dask is not None:
                _run_on_dask(plans, dask, report)
            elif workers == 1 or len(plans) <= 1:
                _run_here(plans, self.simulator, report)
            else:
                _run_in_processes(plans, min(workers, len(plans)), report)
            return sum(plan.count for plan in plans)

    def _manifest(self) -> SetManifest:
        return SetManifest(
            world=kept_world(self.world),
            emulator=emulator_fingerprint(self.simulator.observed),
            instrument_fingerprint=instrument_fingerprint(self.simulator.instrument),
            split=self.split,
            seed=self.seed,
            spectra=self.spectra,
            truth=self.truth,
            shards=tuple(Path(plan.path).name for plan in self.plans),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            specvit_version=__version__,
        )

    def _check_manifest(self) -> None:
        if not (self.folder / MANIFEST).exists():
            return
        there, wanted = _flat(read_manifest(self.folder)), _flat(self._manifest())
        for key, value in wanted.items():
            if there[key] != value:
                raise ConfigError(
                    f"{self.folder}: holds another set ({key} is {there[key]} there, {value} asked for); "
                    "choose another --out"
                )

    def _write_manifest(self) -> None:
        path = self.folder / MANIFEST
        if not path.exists():
            # Before the manifest, which says that all it names is there.
            keep_files(self.world, self.folder)
            write_atomic(path, json.dumps(self._manifest().to_dict(), indent=1) + "\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with only_command_in(
            self.folder, "another process is writing here; wait for it or choose another --out"
        ):
            try:
                self._clear_partial()
                yield
            finally:
                self._clear_partial()

    def _clear_partial(self) -> None:
        for leftover in self.folder.glob(".*.h5.*.partial"):
            leftover.unlink(missing_ok=True)


def _flat(manifest: SetManifest) -> dict[str, Any]:
    """Return what makes a set, the world's fields among its own, so that one difference can be named."""
    fields = manifest.to_dict()
    world: dict[str, Any] = fields.pop("world")
    for written_once in ("created", "specvit_version"):
        del fields[written_once]
    return fields | world | {"shards": len(manifest.shards)}


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _run_here(plans: list[ShardPlan], simulator: Simulator, progress: Progress) -> None:
    # Sums over several threads round differently: the bytes of a shard would depend on the machine's cores.
    with _one_thread():
        for plan in plans:
            write_shard(plan, simulator, progress)


# A worker builds the world of its shards once.
@lru_cache(maxsize=2)
def _simulator_of(world: str, folder: Path) -> Simulator:
    return world_beside(World.from_dict(json.loads(world)), folder).build()


def write_planned_shard(plan: dict[str, Any]) -> int:
    """Write one shard in a worker process, given as plain data; return its number of spectra."""
    shard = ShardPlan(**plan)
    with _one_thread():
        simulator = _simulator_of(json.dumps(shard.world, sort_keys=True), Path(shard.path).parent)
        return write_shard(shard, simulator)


def _run_in_processes(plans: list[ShardPlan], workers: int, progress: Progress) -> None:
    # spawn: a forked child would inherit the parent's OpenMP threads in an undefined state.
    with WorkerPool(workers, "spawn") as pool:
        futures = [pool.submit(write_planned_shard, plan.to_dict()) for plan in plans]
        for future in as_completed(futures):
            progress(future.result())


@contextmanager
def _without_log(*names: str) -> Iterator[None]:
    """Keep quiet what a Dask client says of connections that end because it ends, or that we tell of ourselves."""
    # Every one of them, as Dask gives some levels of their own.
    known = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    levels = {logger: logger.level for logger in known if logger.name.partition(".")[0] in names}
    for logger in levels:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def _run_on_dask(plans: list[ShardPlan], address: str, progress: Progress) -> None:
    distributed = import_optional("distributed", "hpc", "--dask")
    try:
        client = distributed.Client(address, timeout=DASK_TIMEOUT)
    except (OSError, TimeoutError, ValueError) as error:
        raise RunError(
            f"--dask {address}: no scheduler answers there ({error}); start one with `dask scheduler`"
        ) from error
    with _without_log("distributed", "tornado"), client:
        futures = [
            client.submit(write_planned_shard, plan.to_dict(), key=f"specvit-shard-{plan.path}", pure=False)
            for plan in plans
        ]
        try:
            for future in distributed.as_completed(futures):
                progress(future.result())
        except CancelledError as error:
            raise RunError(
                f"--dask {address}: the scheduler is gone; with one that answers, the same command continues"
            ) from error
