"""Gaia's mean RVS spectra, as its archive gives them: known by their pixels, whatever else names a Gaia source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from specvit.numerics import median
from specvit.observed.columns import spectrum_of_columns
from specvit.observed.request import Request
from specvit.observed.spectrum import RawSpectrum
from specvit.observed.units import angstroms_per

RVS_RESOLUTION, RVS_PIXELS = 11_500.0, 2401
#: Å: pixels of all mean spectra, the range that they cover and the widest that any of RVS has.
RVS_STEP, RVS_COVER, RVS_RANGE = 0.1, (8460.0, 8700.0), (8400.0, 8750.0)
RVS_COLUMNS = ("wavelength", "flux", "flux_error")


def is_rvs(
    columns: Mapping[str, Any], units: Mapping[str, str | None], request: Request, identified: bool
) -> bool:
    """Return whether the columns of one spectrum are Gaia's: its names, and pixels of 0.01 nm within its range.

    Args:
        columns: column -> values, shape (L,).
        units: column -> unit, where one is stated; nm where not.
        request: the file and its options.
        identified: whether a `source_id` stands beside them; without one all pixels have to be there.
    """
    names = {name.lower(): name for name in columns}
    if not set(RVS_COLUMNS) <= set(names):
        return False
    values = np.ma.getdata(columns[names["wavelength"]]).reshape(-1)
    scale = angstroms_per(_unit(names["wavelength"], units, request))
    if values.dtype.kind != "f" or values.size < 3 or scale is None or not np.isfinite(values).all():
        return False
    wavelength = values.astype(np.float64) * scale
    low, high = float(wavelength.min()), float(wavelength.max())
    if not (RVS_RANGE[0] <= low and high <= RVS_RANGE[1]):
        return False
    if abs(median(np.diff(wavelength)) / RVS_STEP - 1) > 0.05:
        return False
    whole = wavelength.size == RVS_PIXELS and np.allclose((low, high), RVS_COVER, atol=0.01)
    return identified or bool(whole)


def read_rvs(
    columns: Mapping[str, Any], units: Mapping[str, str | None], request: Request, name: str
) -> RawSpectrum:
    """Return one mean RVS spectrum: vacuum, the star's rest frame, above the atmosphere.

    Source: Cropper et al. 2018, A&A 616, A5; Seabroke et al., Gaia DR3 documentation, chapter 6.
    """
    names = {name.lower(): name for name in columns}
    used: dict[str, Any] = {key: columns[names[key]] for key in RVS_COLUMNS}
    unit = _unit(names["wavelength"], units, request)
    raw = spectrum_of_columns(used, {"wavelength": unit}, request, "gaia-rvs", name)
    raw.medium, raw.frame, raw.ground = "vacuum", "rest", False
    raw.fwhm = raw.wavelength / RVS_RESOLUTION
    raw.fwhm_notes.append(f"resolution {RVS_RESOLUTION:g} (Gaia RVS: Cropper et al. 2018, A&A 616, A5)")
    return raw


def _unit(column: str, units: Mapping[str, str | None], request: Request) -> str:
    return request.options.unit or units.get(column) or "nm"
