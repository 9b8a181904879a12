"""What is asked of a reader: the file, and what its user knows better than its header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from specvit.errors import ConfigError
from specvit.observed.spectrum import Medium
from specvit.observed.units import NO_UNIT, is_unit

#: What `--columns` may name.
ROLES = ("wavelength", "flux", "sigma", "ivar", "mask", "fwhm", "name")


@dataclass(frozen=True)
class ReadOptions:
    """How files are to be read where detection is not to decide.

    Args:
        form: a name of `form_names`, or None to detect it.
        medium: "air" or "vacuum", whatever the file says.
        resolution: λ/FWHM, whatever the file says.
        columns: role (wavelength, flux, sigma, ivar, mask, fwhm, name) -> name or number (from 0) of a column.
        hdu: name or number of the FITS extension.
        unit: of the wavelengths: angstrom, nm, um or log10(angstrom).
        select: names or numbers (from 0) of the targets wanted from a file; empty for all.

    Raises:
        ConfigError: for a role, a unit or a resolution that cannot be.
    """

    form: str | None = None
    medium: Medium | None = None
    resolution: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    hdu: str | None = None
    unit: str | None = None
    select: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if odd := sorted(set(self.columns) - set(ROLES)):
            raise ConfigError(f"columns: '{odd[0]}' is no role; known are {', '.join(ROLES)}")
        if self.medium not in (None, "air", "vacuum"):
            raise ConfigError(f"medium: expected air or vacuum, got '{self.medium}'")
        if self.unit is not None and not is_unit(self.unit):
            raise ConfigError(f"unit: '{self.unit}' {NO_UNIT}")
        if self.resolution is not None and not 100 <= self.resolution <= 1e6:
            raise ConfigError(f"resolution: expected λ/FWHM between 100 and 1e6, got {self.resolution:g}")

    def wants(self, name: str, number: int) -> bool:
        """Return whether the target of that name and number is selected."""
        return not self.select or name in self.select or str(number) in self.select


@dataclass(frozen=True)
class Request:
    """One file to one reader: what to call it in messages, and the options."""

    source: str
    options: ReadOptions
