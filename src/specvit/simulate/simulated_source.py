"""Simulated spectra as a source: one split of a simulator, drawn when asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from specvit.errors import ConfigError
from specvit.runs.identity import content_digest
from specvit.simulate import splits
from specvit.simulate.seeding import check_seed
from specvit.spectra import SpectraBatch, check_rows, in_batches

if TYPE_CHECKING:
    from specvit.simulate.simulator import Simulator


class SimulatedSource:
    """A finite `SpectraSource` over one split of a simulator.

    With `fresh_noise` each epoch has other noise on the same stars (training); otherwise every epoch has the
    same spectra (validation, test).
    """

    def __init__(
        self,
        simulator: Simulator,
        split: str,
        seed: int,
        count: int,
        truth: bool,
        fresh_noise: bool,
        device: torch.device,
    ) -> None:
        splits.split_number(split)
        check_seed(seed)
        if fresh_noise and split != splits.TRAIN:
            raise ConfigError(
                f"fresh_noise: the noise of '{split}' is frozen; only '{splits.TRAIN}' is drawn anew"
            )
        if count < 1:
            raise ConfigError(f"{split}: expected at least 1 spectrum, got {count}")
        self.simulator, self.split, self.seed, self.count = simulator, split, seed, count
        self.truth, self.fresh_noise, self.device = truth, fresh_noise, device
        self.grid, self.label_space = simulator.grid, simulator.prior.label_space

    def __len__(self) -> int:
        return self.count

    @property
    def provenance(self) -> dict[str, Any]:
        """What these spectra are, JSON-ready: enough to draw them again."""
        own = {
            "split": self.split,
            "seed": self.seed,
            "spectra": self.count,
            "fresh_noise": self.fresh_noise,
            "stars": self._stars_fingerprint(),
        }
        identity = content_digest({**self.simulator.identity, **own})
        return {**self.simulator.describe(), **own, "identity": identity}

    def _stars_fingerprint(self) -> str:
        """Return a hash of the first stars: a prior of one's own has no description that says as much."""
        labels, conditions = self.simulator.labels_and_conditions(self.split, self.seed, 0)
        digest = hashlib.sha256(labels.numpy().tobytes())
        for name in sorted(conditions):
            digest.update(name.encode() + conditions[name].numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def lsf(self) -> dict[str, list[float]]:
        """The line-spread function of these spectra, see `Instrument.lsf_nodes`."""
        return self.simulator.instrument.lsf_nodes()

    def on(self, device: torch.device | str, truth: bool = False, compiled: bool = False) -> SimulatedSource:
        """Return the same set drawn on `device`, see `Generated`; equal there to float32 rounding."""
        simulator = self.simulator.with_compiled_observe() if compiled else self.simulator
        return simulator.source(self.split, self.seed, self.count, truth, self.fresh_noise, device)

    def draw(self, start: int, stop: int, epoch: int = 0) -> SpectraBatch:
        """Return spectra [start, stop); `epoch` changes the noise if it is fresh, and nothing else."""
        check_rows(start, stop, self.count, epoch)
        number = epoch if self.fresh_noise else 0
        return self.simulator.draw(self.split, self.seed, start, stop, number, self.device, self.truth)

    def batches(self, batch_size: int, epoch: int = 0) -> Iterator[SpectraBatch]:
        """Yield all spectra in order, `batch_size` at a time."""
        return in_batches(self.draw, self.count, batch_size, epoch)

    def reserve(self, count: int) -> SimulatedSource | None:
        """Return the first `count` spectra of the split that is kept for correcting errors."""
        if self.split == splits.CALIBRATION:
            return None
        return self.simulator.source(splits.CALIBRATION, self.seed, count)


class WithoutReserve(SimulatedSource):
    """A set to which there are no further spectra: what is fitted to it takes its errors from held-out ones."""

    def reserve(self, count: int) -> None:
        """Return None."""
        return None


def endless(simulator: Simulator, seed: int) -> SimulatedSource:
    """Return training spectra that no training will come to the end of."""
    return simulator.source(splits.TRAIN, seed, splits.ENDLESS)
