"""Who writes a tile of spectra on a CPU: compiled code where Numba is installed, else PyTorch and NumPy.

Both take the same products and random bits, and agree to float32 rounding.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from specvit.instrument.noise import NoiseModel
from specvit.simulate.deviates import WARM_UP, NoiseStream, stream_state
from specvit.simulate.observer import MINIMUM_LEVEL, STEEPEST, Observer, Records, parts_of
from specvit.simulate.seeding import NoiseKey


class TileRecorder(Protocol):
    """Observes tiles of one (seed, split, epoch); not for two threads at once, as it keeps its work space."""

    def record(
        self,
        piece: int,
        flux: Tensor,
        response: Tensor,
        sky: Tensor,
        constant: Tensor,
        factor: Tensor,
        seen: Records,
    ) -> None:
        """Write into `seen` what is observed of clean flux with the noise of tile `piece`.

        Args:
            piece: number of the tile.
            flux: noise-free, band-normalised, shape (B, L), float32.
            response, sky, constant: as `NoiseModel.combine` takes them; overwritten.
            factor: multiplies the noise level, shape (B,), float32.
            seen: overwritten.
        """


def tile_recorder(
    noise: NoiseModel,
    observer: Observer,
    continuum: Tensor,
    key: NoiseKey,
    rows: int,
    live: Tensor | None = None,
) -> TileRecorder:
    """Return the fastest recorder there is here.

    Args:
        noise: of the instrument.
        observer: the conventions.
        continuum: the pipeline's, median over pixels 1, shape (L,), float32.
        key: of the noise.
        rows: spectra per tile, even.
        live: numbers of the pixels that are not dead; None: all.
    """
    # The compiled code knows neither dead pixels nor several detectors.
    if live is None and len(noise.detectors) == 1 and compiled_code() is not None:
        return CompiledRecorder(noise, observer, continuum, key, rows)
    return TorchRecorder(noise, observer, continuum, key, rows, live)


@functools.cache
def compiled_code() -> ModuleType | None:
    """Return the module of compiled functions, or None where Numba is missing or switched off."""
    try:
        from numba import config

        from specvit.simulate import compiled
    except ImportError:  # also what Numba says to a NumPy it does not know
        return None
    return None if getattr(config, "DISABLE_JIT", 0) else compiled


class TorchRecorder:
    """The definition itself, `Observer.record`, on whole tiles."""

    def __init__(
        self,
        noise: NoiseModel,
        observer: Observer,
        continuum: Tensor,
        key: NoiseKey,
        rows: int,
        live: Tensor | None = None,
    ) -> None:
        self._model, self._observer, self._continuum, self._live = noise, observer, continuum, live
        # Drawn into over and over: it stays in the cache.
        self._deviates = torch.empty(rows, continuum.numel())
        self._stream = NoiseStream(key, self._deviates.numel())

    def record(
        self,
        piece: int,
        flux: Tensor,
        response: Tensor,
        sky: Tensor,
        constant: Tensor,
        factor: Tensor,
        seen: Records,
    ) -> None:
        """See `TileRecorder`."""
        terms = self._model.combine(response, sky, constant, self._deviates)
        self._stream.fill(piece, self._deviates)
        self._observer.record(flux, terms, self._continuum, self._deviates, seen, factor, self._live)


class CompiledRecorder:
    """The same row by row, each while it is in the first cache (`compiled`)."""

    def __init__(
        self, noise: NoiseModel, observer: Observer, continuum: Tensor, key: NoiseKey, rows: int
    ) -> None:
        from specvit.simulate import compiled

        self._code, self._key, self._noise_level = compiled, key, np.float32(observer.noise_level)
        pixels = continuum.numel()
        self._convention = compiled.Convention(
            continuum.numpy(),
            np.array([0, *(segment.stop for segment in noise.segments)]),
            np.float32(noise.floor_factor),
            np.float32(MINIMUM_LEVEL),
            observer.normalisation == "observed_median",
            observer.visible_sigma != "true",
            *self._parts(pixels if observer.visible_sigma == "tilted" else 0),
            np.float32(STEEPEST),
        )
        self._words = np.empty(rows * pixels, np.int32)
        self._work = np.empty((compiled.WORK_ROWS, pixels), np.float32)

    def record(
        self,
        piece: int,
        flux: Tensor,
        response: Tensor,
        sky: Tensor,
        constant: Tensor,
        factor: Tensor,
        seen: Records,
    ) -> None:
        """See `TileRecorder`."""
        levels = self._noise_level * factor.numpy()
        products = self._code.BlockProducts(
            flux.numpy(), response.numpy(), sky.numpy(), constant.numpy(), levels
        )
        written = self._code.Written(
            seen.flux.numpy(), seen.sigma.numpy(), seen.snr.numpy(), *self._truth(seen)
        )
        state = stream_state(self._key, piece)
        self._code.record_tile(state, WARM_UP, products, self._convention, written, self._words, self._work)

    @staticmethod
    def _parts(pixels: int) -> tuple[np.ndarray, np.ndarray]:
        return parts_of(pixels) if pixels else (np.empty(0, np.int32), np.empty(0, np.float32))

    @staticmethod
    def _truth(seen: Records) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if seen.truth is None:
            return np.empty((0, 0), np.float32), np.empty((0, 0), np.float32), np.empty(0, np.float32)
        return seen.truth.flux.numpy(), seen.truth.sigma.numpy(), seen.truth.scale.numpy()
