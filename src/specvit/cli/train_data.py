"""What `specvit train` trains, validates and tests on: spectra drawn on the fly, or stored ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from specvit.errors import ConfigError

if TYPE_CHECKING:
    from specvit.simulate import World
    from specvit.spectra import SpectraSource

HDF5 = (".h5", ".hdf5")


@dataclass(frozen=True)
class StoredPaths:
    """Where stored spectra lie; None or nothing means: simulate them.

    A path is a folder of `specvit simulate`, or a dataset.h5 of the reference work; several of the latter for
    training are read one after the other.
    """

    train: tuple[Path, ...] = ()
    validation: Path | None = None
    test: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        reference = [_is_reference(path) for path in self.train]
        if len(self.train) > 1 and not all(reference):
            raise ConfigError(
                "--data: several are read only of the reference work's .h5 files; give one folder"
            )
        if any(reference) and (self.validation is None or self.test is None):
            raise ConfigError(
                "--data: the reference work's files come without a world to simulate from; give "
                "--validation-data and --test-data too"
            )

    def to_dict(self) -> dict[str, list[str]]:
        """Return the paths as texts."""
        places = {"train": self.train, "validation": (self.validation,), "test": (self.test,)}
        return {role: [str(path) for path in several if path] for role, several in places.items()}


@dataclass(frozen=True)
class Data:
    """Sources of spectra for one training."""

    train: SpectraSource
    validation: SpectraSource
    test: SpectraSource


def stored_world(paths: StoredPaths) -> World | None:
    """Return the world that a folder of simulated training spectra was drawn from; None without one."""
    from specvit.simulate import StoredSpectra

    if not paths.train or _is_reference(paths.train[0]):
        return None
    return StoredSpectra(paths.train[0]).world


def open_data(paths: StoredPaths, world: World, seed: int, spectra: int, validation: int, test: int) -> Data:
    """Return the sources; what is not stored is drawn from `world`.

    Args:
        paths: see `StoredPaths`.
        world: to simulate from.
        seed: of what is simulated, and of the noise on the reference work's spectra.
        spectra: number of different training stars to simulate; 0 never repeats one.
        validation, test: numbers of spectra to simulate.

    Raises:
        DataError: if a file or folder cannot be used; names it.
    """
    from specvit.simulate import endless

    if paths.validation is not None and paths.test is not None and paths.train:
        simulator = None
    else:
        simulator = world.build()

    def held_out(path: Path | None, split: str, count: int) -> SpectraSource:
        if path is not None:
            return _open(path, split, seed)
        assert simulator is not None
        return simulator.source(split, seed, count)

    if paths.train:
        train = _open(paths.train, "train", seed)
    else:
        assert simulator is not None
        train = simulator.source("train", seed, spectra) if spectra else endless(simulator, seed)
    return Data(
        train,
        held_out(paths.validation, "validation", validation),
        held_out(paths.test, "test", test),
    )


def _open(paths: Path | tuple[Path, ...], split: str, seed: int) -> SpectraSource:
    from specvit.simulate import StoredSpectra
    from specvit.simulate.reference_shards import ReferenceShards

    several = paths if isinstance(paths, tuple) else (paths,)
    if not _is_reference(several[0]):
        return StoredSpectra(several[0])
    training = split == "train"
    # Its own truth is known, and never shown to an estimator: the subspace network finds its subspace from it.
    return ReferenceShards(several, split=split, seed=seed, fresh_noise=training, truth=training)


def _is_reference(path: Path) -> bool:
    return path.suffix.lower() in HDF5
