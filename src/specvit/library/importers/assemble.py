"""From nodes to a library: read every spectrum, bring it to the window, check that all share one grid.

Owns the loop, its processes and the bookkeeping; each format brings a `Reader`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import specvit
from specvit.errors import DataError, SpecvitError
from specvit.library.importers.nodes import Found, Node, label_array
from specvit.library.importers.window import LibraryWindow, Transfer
from specvit.library.synthetic_library import SyntheticLibrary
from specvit.runs.processes import WorkerPool

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SourceSpectrum:
    """One spectrum as the source gives it: Å (vacuum), flux, continuum or None; each of shape (L,).

    `reach` is the range of the whole file, Å (vacuum), of which this may be a part.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    continuum: np.ndarray | None = None
    reach: tuple[float, float] | None = None

    def part(self, low: float, high: float) -> SourceSpectrum:
        """Return what lies in [low, high] Å and a sample more on either side, for the interpolation at the ends."""
        wavelength, continuum = self.wavelength, self.continuum
        first = max(int(np.searchsorted(wavelength, low)) - 1, 0)
        kept = slice(first, int(np.searchsorted(wavelength, high)) + 1)
        reach = (float(wavelength[0]), float(wavelength[-1])) if len(wavelength) else (0.0, 0.0)
        return SourceSpectrum(
            wavelength[kept], self.flux[kept], None if continuum is None else continuum[kept], reach
        )


class Reader(Protocol):
    """Reads one node over at least [low, high] Å (vacuum); must be picklable."""

    def __call__(self, node: Node, low: float, high: float) -> SourceSpectrum:
        """Return the spectrum; raise DataError naming the file."""


class Converter:
    """Reads a node and returns (grid fingerprint, flux, continuum) on the window; keeps the last transfer."""

    def __init__(self, reader: Reader, window: LibraryWindow) -> None:
        self.reader, self.window = reader, window
        self._transfer: tuple[str, Transfer] | None = None

    def __call__(self, node: Node) -> tuple[str, np.ndarray, np.ndarray | None]:
        """Return the converted spectrum of `node`; errors name its file."""
        low, high = self.window.needed
        spectrum = self.reader(node, low, high)
        _check_values(node, spectrum)
        key = hashlib.sha256(np.ascontiguousarray(spectrum.wavelength).tobytes()).hexdigest()
        if self._transfer is None or self._transfer[0] != key:
            try:
                self._transfer = (
                    key,
                    Transfer(spectrum.wavelength, node.resolution, self.window, spectrum.reach),
                )
            except SpecvitError as error:
                raise type(error)(f"{node.name}: {error}") from error
        transfer = self._transfer[1]
        continuum = None if spectrum.continuum is None else transfer.continuum(spectrum.continuum)
        return key, transfer.flux(spectrum.flux), continuum


def assemble_library(
    found: Found,
    reader: Reader,
    window: LibraryWindow,
    provenance: dict[str, Any],
    source: str,
    workers: int = 1,
    progress: Progress | None = None,
) -> SyntheticLibrary:
    """Return the library of the nodes that were found, read and converted one by one.

    Args:
        found: distinct spectra of one kind, from `select_nodes`.
        reader: reads one node.
        window: range and resolution wanted.
        provenance: what to record; version, window, fixed labels and what was left out are added.
        source: what error messages call the whole.
        workers: processes that read; 1 reads in this one.
        progress: called with (done, total) after each spectrum.

    Raises:
        DataError: if a file cannot be used or has another wavelength grid than the first; names it.
        WavelengthRangeError: if the spectra do not cover the window or are not sharp enough.
    """
    nodes = found.nodes
    labels, label_space, fixed = label_array(nodes, source)
    flux = np.empty((len(nodes), window.grid.size), dtype=np.float32)
    continuum = np.empty((len(nodes), window.continuum_wavelength.size), dtype=np.float32)
    has_continuum, first_key = True, None
    for row, (key, spectrum, level) in enumerate(_converted(nodes, Converter(reader, window), workers)):
        first_key = first_key or key
        if key != first_key:
            raise DataError(
                f"{nodes[row].name}: its wavelengths differ from those of {nodes[0].name}; "
                "keep one wavelength grid per folder"
            )
        flux[row] = spectrum
        if level is None:
            has_continuum = False
        else:
            continuum[row] = level
        if progress is not None:
            progress(row + 1, len(nodes))
    recorded = provenance | {
        "specvit_version": specvit.__version__,
        "source_resolution": nodes[0].resolution,
        "kind": nodes[0].kind,
        "spectra": len(nodes),
        "fixed_labels": fixed,
        "left_out": found.left_out,
    }
    return SyntheticLibrary(
        labels,
        flux,
        window.grid,
        window.resolution,
        label_space,
        recorded,
        continuum if has_continuum else None,
        window.continuum_wavelength if has_continuum else None,
    )


def _check_values(node: Node, spectrum: SourceSpectrum) -> None:
    if len(spectrum.wavelength) < 2:
        raise DataError(f"{node.name}: no spectrum in the asked wavelength window; choose another window")
    for what, values in (("flux", spectrum.flux), ("continuum", spectrum.continuum)):
        if values is not None and not np.isfinite(values).all():
            at = spectrum.wavelength[int(np.argmin(np.isfinite(values)))]
            raise DataError(f"{node.name}: {what} is not finite at {at:.3f} Å (vacuum); leave this file out")
    if not (spectrum.flux > 0).any():
        raise DataError(f"{node.name}: flux is nowhere positive; leave this file out")


# Set once in each process: with the tasks it would be pickled again for each of them.
_worker_converter: Converter | None = None


def _start_worker(converter: Converter) -> None:
    global _worker_converter
    _worker_converter = converter


def _convert_in_worker(node: Node) -> tuple[str, np.ndarray, np.ndarray | None]:
    assert _worker_converter is not None
    return _worker_converter(node)


def _converted(
    nodes: list[Node], converter: Converter, workers: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    if workers <= 1:
        yield from map(converter, nodes)
        return
    with WorkerPool(workers, initializer=_start_worker, initargs=(converter,)) as pool:
        yield from pool.map(_convert_in_worker, nodes, chunksize=4)
