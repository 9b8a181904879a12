"""Tables with named columns -> spectra: which column is what, by name, and rows that hold whole spectra.

For FITS tables, VOTables, CSV, ECSV and text alike. Knows no survey.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from specvit.errors import DataError
from specvit.observed.request import Request
from specvit.observed.spectrum import Medium, RawSpectrum
from specvit.observed.units import to_angstrom

#: Role -> names it has in files, the most telling first; lower case, without blanks.
NAMES: dict[str, tuple[str, ...]] = {
    "wavelength": (
        *("wavelength", "wave", "lambda", "lam", "wl", "wavelengths", "loglam", "log_lambda", "loglambda"),
        *("wavelength_vac", "wave_vac", "wavelength_air", "wave_air", "awav", "vwav", "ll", "spectral_axis"),
    ),
    "flux": (
        *("flux", "fluxes", "flux_density", "flam", "f_lambda", "spectrum", "spec", "flux_norm", "norm_flux"),
        *("normalized_flux", "flux_reduced", "intensity", "counts", "data", "f"),
    ),
    "sigma": (
        *("sigma", "error", "err", "flux_error", "flux_err", "fluxerr", "e_flux", "err_flux", "sigma_flux"),
        *("flux_sigma", "uncertainty", "noise", "std", "stdev", "properr", "error_flux", "err_reduced", "e"),
    ),
    "ivar": ("ivar", "flux_ivar", "invvar", "inverse_variance", "inv_var"),
    "variance": ("variance", "var", "fluxvariance", "flux_variance", "stat"),
    "mask": ("mask", "flag", "flags", "qual", "and_mask", "andmask", "bad"),
    "fwhm": ("fwhm",),
}
_LOGARITHMIC = {"loglam", "log_lambda", "loglambda", "ll"}
_AIR, _VACUUM = {"wavelength_air", "wave_air", "awav"}, {"wavelength_vac", "wave_vac", "vwav"}


def find_columns(names: list[str], request: Request) -> dict[str, str]:
    """Return role -> column, for the roles that have one.

    Raises:
        DataError: if there is no wavelength or no flux, or a column asked for is not there; lists what is.
    """
    plain = {name.lower().strip().replace(" ", "_"): name for name in reversed(names)}
    found = {}
    for role, known in NAMES.items():
        chosen = next((plain[name] for name in known if name in plain), None)
        if chosen is not None:
            found[role] = chosen
    for role, wanted in request.options.columns.items():
        found[role] = _column(wanted, names, request.source)
    for role in ("wavelength", "flux"):
        if role not in found:
            raise DataError(
                f"{request.source}: no column is called like a {role}; there are {', '.join(map(str, names[:12]))}; "
                f"say which with --columns {role}=NAME"
            )
    # What the user names stands alone.
    errors = [role for role in ("sigma", "ivar", "variance") if role in found]
    asked = [role for role in errors if role in request.options.columns]
    for role in errors:
        if role != (asked or errors)[0]:
            del found[role]
    return found


def _column(wanted: str, names: list[str], source: str) -> str:
    if wanted in names:
        return wanted
    folded = {name.lower(): name for name in names}
    if wanted.lower() in folded:
        return folded[wanted.lower()]
    if wanted.isdigit() and int(wanted) < len(names):
        return names[int(wanted)]
    raise DataError(f"{source}: has no column '{wanted}'; there are {', '.join(names[:12])}")


def spectrum_of_columns(
    table: Mapping[str, Any],
    units: Mapping[str, str | None],
    request: Request,
    form: str,
    name: str,
) -> RawSpectrum:
    """Return the spectrum of columns that are arrays of one length.

    Args:
        table: column -> values, shape (L,) or (1, L).
        units: column -> unit, where one is stated.
        request: the file and its options.
        form: name of the form.
        name: of the star.
    """
    roles = find_columns(list(table), request)
    arrays = {role: numbers(table[column], column, request.source) for role, column in roles.items()}
    column = roles["wavelength"]
    notes: list[str] = []
    unit = request.options.unit or units.get(column)
    if request.options.unit is None and column.lower() in _LOGARITHMIC:
        unit = "log10(angstrom)"
    wavelength, guessed = to_angstrom(arrays["wavelength"], unit, request.source, notes)
    medium: Medium | None = (
        "air" if column.lower() in _AIR else "vacuum" if column.lower() in _VACUUM else None
    )
    sigma = arrays.get("sigma")
    if "variance" in arrays:
        sigma = np.sqrt(arrays["variance"].clip(0))
    bad = arrays["mask"] != 0 if "mask" in arrays else None
    if bad is not None and bad.mean() > 0.9:
        notes.append(
            f"column {roles['mask']} would mask {100 * bad.mean():.0f} % of the pixels and is left aside"
        )
        bad = None
    raw = RawSpectrum(
        name,
        form,
        wavelength,
        arrays["flux"],
        sigma,
        arrays.get("ivar"),
        bad,
        arrays.get("fwhm"),
        medium,
        notes=notes,
        assumed={"unit"} if guessed else set(),
    )
    if column.lower() in _LOGARITHMIC:
        raw.medium_default = ("vacuum", f"a column {column} is SDSS's way, whose wavelengths are")
    return raw


def numbers(values: Any, column: str, source: str) -> np.ndarray:
    """Return a column as float64, shape (L,); masked entries are NaN; DataError if it holds no numbers."""
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "iufb":
        values = np.ma.filled(values.astype(np.float64), np.nan)
    try:
        array = np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise DataError(
            f"{source}: column {column} does not hold numbers; choose another with --columns"
        ) from None
    return array
