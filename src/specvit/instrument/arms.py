"""What the arms of a spectrograph make together: one row of pixels, a line-spread function each, one set of counts.

A spectrograph without arms in its file is one with a single arm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from specvit.errors import DataError, SpecvitError, WavelengthRangeError
from specvit.instrument.counts import CountTables, build_count_tables, join_counts
from specvit.instrument.lsf import Lsf, build_lsf, lsf_matrix
from specvit.instrument.schema import InstrumentDescription, ObjectSection, SkySection
from specvit.instrument.schema_arms import ArmSection
from specvit.instrument.tables import Tables
from specvit.spectra import WavelengthGrid


@dataclass(frozen=True)
class Arm:
    """Pixels `pixels` of the instrument's grid, and the line-spread function they are seen with."""

    pixels: slice
    lsf: Lsf


@dataclass(frozen=True)
class Optics:
    """The pixels of a spectrograph.

    Args:
        grid: of all arms, one after the other.
        lsf: one line-spread function for each arm of the grid.
        counts: of all pixels.
    """

    grid: WavelengthGrid
    lsf: tuple[Lsf, ...]
    counts: CountTables

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms in the order of their pixels."""
        return tuple(Arm(pixels, lsf) for pixels, lsf in zip(self.grid.arm_pixels, self.lsf, strict=True))

    def take(self, pixels: np.ndarray) -> Optics:
        """Return what is left of these optics in the pixels where the mask (L,) is true."""
        lsf = tuple(arm.lsf for arm in self.arms if pixels[arm.pixels].any())
        return Optics(self.grid.take(pixels), lsf, self.counts.take(pixels))

    def lsf_matrix(self, grid_in: WavelengthGrid, resolution_in: float) -> scipy.sparse.csr_array:
        """Return the matrix (L, L_in) from library samples to pixels, see `lsf.lsf_matrix`."""
        if grid_in.medium != self.grid.medium:
            raise WavelengthRangeError(
                f"the library is in {grid_in.medium}, the instrument in {self.grid.medium} wavelengths; import the "
                "library anew, which converts them"
            )
        parts = [lsf_matrix(arm.lsf, self.grid, arm.pixels, grid_in, resolution_in) for arm in self.arms]
        return parts[0] if len(parts) == 1 else scipy.sparse.csr_array(scipy.sparse.vstack(parts))

    def fwhm(self) -> np.ndarray:
        """Return the FWHM at every pixel, without the pixel's own width, shape (L,), Å."""
        return np.concatenate([arm.lsf.fwhm(self.grid.wavelength[arm.pixels]) for arm in self.arms])


def build_optics(description: InstrumentDescription, tables: Tables) -> Optics:
    """Return the optics of an instrument file.

    Raises:
        DataError: for a table that does not fit; names the key, and the arm if there are several.
    """
    if not description.arm:
        return _one(description, tables)
    parts = []
    for arm in description.arm:
        try:
            parts.append(_one(_described(arm, description), tables))
        except SpecvitError as error:
            raise type(error)(f"arm '{arm.name}': {error}") from error
    return _joined(parts)


def _one(description: InstrumentDescription, tables: Tables) -> Optics:
    assert description.grid is not None
    tables = tables.measured_in(description.grid.medium)
    grid = tables.grid(description.grid)
    return Optics(
        grid, build_lsf(description.lsf, tables, grid), build_count_tables(description, tables, grid)
    )


def _described(arm: ArmSection, whole: InstrumentDescription) -> InstrumentDescription:
    """Return the description of one arm as if it were the whole spectrograph."""
    changes: dict[str, Any] = {name: getattr(arm, name) for name in arm.model_fields_set}

    def changed(section: ObjectSection | SkySection | None, keys: tuple[str, ...]) -> object:
        stated = {key: changes[key] for key in keys if key in changes}
        return section if section is None or not stated else section.model_copy(update=stated)

    detector: dict[str, Any] = {
        key: changes[key] for key in ("read_noise", "dark", "width") if key in changes
    }
    update = {
        "arm": [],
        "grid": arm.grid,
        "object": changed(whole.object, ("throughput", "transmission", "trace_fraction", "extinction")),
        "sky": changed(whole.sky, ("background", "line_rate", "continuum")),
        "detector": whole.detector and whole.detector.model_copy(update=detector),
    }
    return whole.model_copy(update=update | {key: changes[key] for key in ("lsf", "noise") if key in changes})


def _joined(parts: list[Optics]) -> Optics:
    """Return several optics one after the other."""
    first = np.cumsum([0, *(part.grid.size for part in parts)])
    arms = [
        int(start) + arm for start, part in zip(first, parts, strict=False) for arm in (0, *part.grid.arms)
    ]
    grid = WavelengthGrid(
        np.concatenate([part.grid.wavelength for part in parts]),
        "vacuum",
        tuple(arms[1:]),
        np.concatenate([np.stack([part.grid.lower, part.grid.upper]) for part in parts], axis=1),
    )
    if not any(part.counts.object_electrons.any() for part in parts):
        raise DataError("object.throughput: no light reaches any arm; give a throughput above 0")
    return Optics(
        grid, tuple(lsf for part in parts for lsf in part.lsf), join_counts([part.counts for part in parts])
    )
