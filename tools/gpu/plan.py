"""The stages of a visit: in which order, until when each may run, and how large its work is. Knows no device."""

from __future__ import annotations

import time
from dataclasses import dataclass

#: Stage -> share of the visit at which it has to be over, in order of value. A stage that is done early leaves its time
#: to the next; one that is not done in time is stopped. What is left after the last is for the table.
ENDS = {"check": 0.15, "throughput": 0.28, "step": 0.46, "train": 0.91, "inference": 0.97}


@dataclass(frozen=True)
class Sizes:
    """How much work the stages do.

    Args:
        chunk: spectra drawn at once.
        repeats: timed calls of which the median counts.
        fisher_stars, bayes_stars, bayes_bank: of the throughput stage.
        batches: spectra per step that are tried.
        steps: timed steps of each setting.
        copied: bytes of the copy that measures the memory.
        product: rows and columns of the matrices that measure the arithmetic.
        validation: spectra that select the weights.
        validations: how often.
        inference: spectra.
        checked: spectra of every comparison with the CPU.
        network: options of the networks that are not the published one's; empty: all are full size.
    """

    chunk: int = 4096
    repeats: int = 10
    fisher_stars: int = 20_000
    bayes_stars: int = 2048
    bayes_bank: int = 1 << 16
    batches: tuple[int, ...] = (256, 512, 1024, 2048)
    steps: int = 12
    copied: int = 1 << 30
    product: int = 8192
    validation: int = 2048
    validations: int = 30
    inference: int = 16_384
    checked: int = 256
    network: tuple[tuple[str, str], ...] = ()


#: For a rehearsal on a CPU: every line runs, and no figure means anything.
TINY = Sizes(
    chunk=64, repeats=2, fisher_stars=16, bayes_stars=4, bayes_bank=1 << 8, batches=(8, 16), steps=2, copied=1 << 20,
    product=64, validation=64, validations=20, inference=64, checked=8,
    network=(("width", "16"), ("depth", "2"), ("heads", "2"), ("patch", "64")),
)  # fmt: skip


def sizes_for(device: str) -> Sizes:
    """Return what a visit to such a device does."""
    return TINY if device == "cpu" else Sizes()


@dataclass(frozen=True)
class Budget:
    """Until when a stage may run; `time.monotonic()` of this machine."""

    deadline: float

    @property
    def left(self) -> float:
        """Seconds until it is stopped."""
        return self.deadline - time.monotonic()


def deadlines(began: float, minutes: float) -> dict[str, float]:
    """Return when each stage has to be over, for a visit that began at `began`."""
    return {stage: began + 60 * minutes * end for stage, end in ENDS.items()}
