"""What a stored emulator says of itself beside its tensors, typed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from specvit.documents import Section
from specvit.spectra import LabelSpace

#: Far above any emulator, and small enough that a damaged number cannot ask for hours of building layers.
MOST_UNITS, MOST_LAYERS = 1_000_000, 1_000


class RegressorRecord(Section):
    """The shape of a `CoefficientNetwork`."""

    components: int = Field(ge=1, le=MOST_UNITS)
    width: int = Field(ge=1, le=MOST_UNITS)
    depth: int = Field(ge=1, le=MOST_LAYERS)
    coordinates: Literal["chemical", "labels"]


class CoverageRecord(Section):
    """The cells of the domain and those without nodes around them; see `CoveredCells`."""

    edges: list[list[float]]
    empty: list[int]


class EmulatorRecord(Section):
    """What every stored emulator says; see `Emulator`."""

    regressor: RegressorRecord
    resolution: float = Field(gt=0, description="λ/FWHM")
    provenance: dict[str, Any]
    errors: dict[str, Any]
    # Only where nodes do not cover all of the domain.
    coverage: CoverageRecord | None = None


class EmulatorFileRecord(EmulatorRecord):
    """What an emulator file says."""

    label_space: LabelSpace
    wavelength_medium: Literal["vacuum", "air"]
