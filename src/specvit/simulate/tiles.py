"""Drawing spectra on a CPU: the same steps as on an accelerator, in pieces that stay in a core's cache.

Three sizes: the emulator's network and the conditions' multipliers go by `STARS`, matrix products by `BLOCK`,
noise by `TILE` (`recording` says who does everything per pixel). Whatever range is asked for, each piece is
computed whole and in the same way, so that a spectrum is bitwise the same in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specvit.instrument import Instrument, ObservedEmulator
from specvit.instrument.noise import NoiseMultipliers
from specvit.numerics.products import FixedProduct, with_fixed_products
from specvit.simulate.observer import Observer, Records
from specvit.simulate.recording import TileRecorder, tile_recorder
from specvit.simulate.seeding import BLOCK, STARS, TILE, noise_key
from specvit.simulate.widening import NOISE_FACTOR
from specvit.spectra import SpectraBatch

#: float32 numbers in a cache line.
LINE = 16

LabelsAndConditions = Callable[[str, int, int], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True)
class _Stars:
    """`STARS` stars, and what multiplies the tables to make their spectra and noise."""

    labels: Tensor
    conditions: dict[str, Tensor]
    flux: Tensor
    noise: NoiseMultipliers
    noise_factor: Tensor


class TiledDrawing:
    """Draws spectra of one simulated world on the CPU.

    Args:
        observed, instrument, observer: of the world.
        labels_and_conditions: (split, seed, group) -> labels (STARS, P) and conditions.
    """

    def __init__(
        self,
        observed: ObservedEmulator,
        instrument: Instrument,
        observer: Observer,
        labels_and_conditions: LabelsAndConditions,
    ) -> None:
        self._observed, self._noise = with_fixed_products(observed, STARS), instrument.noise
        self._observer, self._labels_and_conditions = observer, labels_and_conditions
        self._continuum, self._live = instrument.continuum.to(torch.float32), instrument.live_pixels()
        self._flux = FixedProduct(observed.rows, BLOCK)
        self._response = FixedProduct(instrument.noise.response_table(torch.float32), BLOCK)
        self._sky = FixedProduct(instrument.noise.sky_table(torch.float32), BLOCK)
        self._latest: tuple[tuple[str, int, int], _Stars] | None = None

    def draw(self, split: str, seed: int, start: int, stop: int, epoch: int, truth: bool) -> SpectraBatch:
        """Return spectra `start` to `stop` of a split; see `Simulator.draw`."""
        first, last = start // TILE * TILE, -(-stop // TILE) * TILE
        pixels = self._continuum.numel()
        seen = Records.empty((last - first, pixels), truth, _in_huge_pages)
        key = noise_key(seed, split, epoch)
        recorder = tile_recorder(self._noise, self._observer, self._continuum, key, TILE, self._live)
        labels, conditions = [], []
        for group in range(first // STARS, -(-last // STARS)):
            origin, stars = group * STARS, self._stars(split, seed, group)
            low, high = max(first - origin, 0), min(last - origin, STARS)
            labels.append(stars.labels[low:high])
            conditions.append({name: value[low:high] for name, value in stars.conditions.items()})
            # Inference mode halves the cost of a call; what is returned was made outside it.
            with torch.inference_mode():
                for at in range(low // BLOCK * BLOCK, high, BLOCK):
                    begin, end = max(at, low), min(at + BLOCK, high)
                    into = seen[origin + begin - first : origin + end - first]
                    self._record(recorder, stars, at, range(begin, end, TILE), origin, into)
        batch = SpectraBatch(
            seen.flux,
            seen.sigma,
            torch.cat(labels),
            {name: torch.cat([c[name] for c in conditions]) for name in conditions[0]},
            seen.snr,
            seen.truth,
        )
        return batch[start - first : stop - first]

    def _record(
        self, recorder: TileRecorder, stars: _Stars, at: int, tiles: range, origin: int, seen: Records
    ) -> None:
        """Write into `seen` the tiles that begin at the given rows, all of the block that begins at row `at`.

        The products live as long as this call: those of the next block find their memory in the cache.
        """
        rows = slice(at, at + BLOCK)
        flux = self._flux(stars.flux[rows]).split(TILE)
        response = self._response(stars.noise.response[rows]).split(TILE)
        sky = self._sky(stars.noise.sky[rows]).split(TILE)
        constant = stars.noise.constant[rows].split(TILE)
        factor = stars.noise_factor[rows].split(TILE)
        for row in tiles:
            k = (row - at) // TILE
            into = seen[row - tiles.start : row - tiles.start + TILE]
            recorder.record(
                (origin + row) // TILE, flux[k], response[k], sky[k], constant[k], factor[k], into
            )

    def _stars(self, split: str, seed: int, group: int) -> _Stars:
        # The stars last used are kept: small batches in order would otherwise compute them again and again.
        key, latest = (split, seed, group), self._latest
        if latest is not None and latest[0] == key:
            return latest[1]
        labels, conditions = self._labels_and_conditions(split, seed, group)
        coefficients = self._observed.coefficients(labels)
        stars = _Stars(
            labels,
            conditions,
            self._observed.multipliers(coefficients),
            self._noise.multipliers(conditions, torch.float32),
            conditions.get(NOISE_FACTOR, torch.ones(STARS)),
        )
        self._latest = key, stars
        return stars


def _in_huge_pages(shape: tuple[int, ...]) -> Tensor:
    """Return an uninitialised float32 array that begins with a cache line.

    NumPy asks for huge pages, which spares most page faults, but begins in the middle of a line: every vector
    written would touch two.
    """
    count = math.prod(shape)
    values = torch.from_numpy(np.empty(count + LINE, np.float32))
    skip = -(values.data_ptr() // values.element_size()) % LINE
    return values[skip : skip + count].view(shape)
