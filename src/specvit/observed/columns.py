"""Tables with named columns -> spectra: which column is what, by name, and rows that hold whole spectra.

For FITS tables, VOTables, CSV, ECSV and text alike. Knows no survey.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from specvit.errors import DataError
from specvit.numerics import locked, remembered
from specvit.observed.request import Request
from specvit.observed.spectrum import Medium, RawSpectrum
from specvit.observed.units import LOGARITHM, angstroms_per, is_unit, to_angstrom

#: Role -> names it has in files, the most telling first; lower case, without blanks.
NAMES: dict[str, tuple[str, ...]] = {
    "wavelength": (
        *("wavelength", "wave", "lambda", "lam", "wl", "wavelengths", "loglam", "log_lambda", "loglambda"),
        *("wavelength_vac", "wave_vac", "wavelength_air", "wave_air", "awav", "vwav", "ll", "spectral_axis"),
        *("opt_wave", "box_wave"),
    ),
    "flux": (
        *("flux", "fluxes", "flux_density", "flam", "f_lambda", "spectrum", "spec", "flux_norm", "norm_flux"),
        *("normalized_flux", "flux_reduced", "intensity", "counts", "data", "f"),
        *("opt_flam", "opt_counts", "box_flam", "box_counts"),
    ),
    "sigma": (
        *("sigma", "error", "err", "flux_error", "flux_err", "fluxerr", "e_flux", "err_flux", "sigma_flux"),
        *("flux_sigma", "uncertainty", "noise", "std", "stdev", "properr", "error_flux", "err_reduced"),
        *("staterror", "errors", "errs", "sig", "unc", "flux_unc", "flux_uncertainty", "spec_err", "e"),
    ),
    "ivar": (
        *("ivar", "flux_ivar", "invvar", "inverse_variance", "inv_var", "opt_flam_ivar", "opt_counts_ivar"),
        *("box_flam_ivar", "box_counts_ivar"),
    ),
    "variance": ("variance", "var", "fluxvariance", "flux_variance", "stat"),
    "mask": (
        *("mask", "flag", "flags", "qual", "quality", "dq", "data_quality", "and_mask", "andmask", "bad"),
        *("opt_mask", "box_mask"),
    ),
    "fwhm": ("fwhm",),
}
_LOGARITHMIC = {"loglam", "log_lambda", "loglambda", "ll"}
#: A unit at the end of a name: wavelength_nm, 'Wave [nm]'.
_UNIT_IN_NAME = re.compile(
    r"(?P<name>.+?)_*(?:[\[(](?P<told>.+)[\])]|_(?P<tail>nm|um|microns?|angstroms?|aa|ang|a))"
)
_AIR = {"wavelength_air", "wave_air", "awav"}
#: PypeIt's wavelengths are in vacuum, by their column or by one that only its files have.
_VACUUM = {"wavelength_vac", "wave_vac", "vwav", "opt_wave", "box_wave"}
_VACUUM_BESIDE = {"wave_grid_mid"}
#: Step in log10 λ of the pixels of SDSS, BOSS, MaNGA and LAMOST, all in vacuum.
SDSS_STEP = 1e-4


# Every row of a table asks again.
@lru_cache(maxsize=1024)
def _name_and_unit(name: str) -> tuple[str, str | None]:
    """Return a name as `NAMES` has it, and the unit of wavelength that it ends in."""
    plain = name.lower().strip().replace(" ", "_")
    match = _UNIT_IN_NAME.fullmatch(plain)
    if match is None or (match["tail"] and match["name"] not in NAMES["wavelength"]):
        return plain, None
    unit = match["told"] or match["tail"]
    # An "a" may be the first arm of several: the unit is left to the numbers.
    return match["name"], unit if unit != "a" and is_unit(unit) else None


def wavelength_unit(name: str) -> str | None:
    """Return the unit that the name of wavelengths says: 'wave_nm', 'loglam'."""
    plain, unit = _name_and_unit(name)
    return LOGARITHM if plain in _LOGARITHMIC else unit


def role_of(name: str) -> str | None:
    """Return the role of a column of that name, None if it has none."""
    plain, _ = _name_and_unit(name)
    return next((role for role, known in NAMES.items() if plain in known), None)


# Every row of a table asks again.
@lru_cache(maxsize=64)
def _roles(names: tuple[str, ...], asked: tuple[tuple[str, str], ...], source: str) -> dict[str, str]:
    plain = {_name_and_unit(name)[0]: name for name in reversed(names)}
    # A name as it stands counts before one without its unit.
    plain |= {name.lower().strip().replace(" ", "_"): name for name in reversed(names)}
    found = {}
    for role, known in NAMES.items():
        chosen = next((plain[name] for name in known if name in plain), None)
        if chosen is not None:
            found[role] = chosen
    for role, wanted in asked:
        found[role] = _column(wanted, names, source)
    return found


def _roles_of(names: list[str], request: Request) -> dict[str, str]:
    """Return role -> column as `NAMES` and the user have it."""
    return dict(_roles(tuple(names), tuple(request.options.columns.items()), request.source))


def holds_spectrum(names: list[str], request: Request) -> bool:
    """Return whether columns of these names have a wavelength and a flux, the user's word on them included."""
    try:
        return {"wavelength", "flux"} <= set(_roles_of(names, request))
    except DataError:
        return False


def find_columns(names: list[str], request: Request) -> dict[str, str]:
    """Return role -> column, for the roles that have one.

    Raises:
        DataError: if there is no wavelength or no flux, or a column asked for is not there; lists what is.
    """
    found = _roles_of(names, request)
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


def _column(wanted: str, names: tuple[str, ...], source: str) -> str:
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
    notes, fwhm_notes = list[str](), list[str]()
    by_name = wavelength_unit(column)
    # "angstrom" beside the name of a logarithm is what it is the logarithm of.
    stated = by_name if by_name == LOGARITHM else units.get(column) or by_name
    unit = request.options.unit or stated
    wavelength, guessed, on_sdss, said = _wavelengths(arrays["wavelength"], unit, request.source)
    notes += said
    sigma = arrays.get("sigma")
    if "variance" in arrays:
        sigma = np.sqrt(arrays["variance"].clip(0))
    bad = None
    if "mask" in arrays:
        dead = ~((sigma if sigma is not None else arrays.get("ivar", np.ones(wavelength.size))) > 0)
        bad = bad_pixels(arrays["mask"] != 0, dead, f"column {roles['mask']}", notes)
    fwhm = arrays.get("fwhm")
    if fwhm is not None:
        per = np.nanmedian(wavelength / arrays["wavelength"])
        fwhm = _fwhm_in_angstrom(fwhm, units.get(roles["fwhm"]), float(per), fwhm_notes)
    raw = RawSpectrum(
        name,
        form,
        wavelength,
        arrays["flux"],
        sigma,
        arrays.get("ivar"),
        bad,
        fwhm,
        medium_by_name(column, list(table)),
        notes=notes,
        assumed={"unit"} if guessed else set(),
        fwhm_notes=fwhm_notes,
    )
    if not {"sigma", "ivar", "variance"} & set(roles):
        raw.no_errors = _no_errors(table, roles)
    if by_name == LOGARITHM:
        raw.medium_default = ("vacuum", f"a column {column} is SDSS's way, whose wavelengths are")
    elif on_sdss:
        raw.medium_default = ("vacuum", "the pixels are those of SDSS, whose wavelengths are")
    return raw


class _Wavelengths(NamedTuple):
    """Wavelengths in Å, shape (L,), whether their unit is a guess, whether they are SDSS's, and what to say of them."""

    wavelength: np.ndarray
    guessed: bool
    on_sdss: bool
    notes: tuple[str, ...]


@remembered
def _wavelengths(values: np.ndarray, unit: str | None, source: str) -> _Wavelengths:
    notes = list[str]()
    wavelength, guessed = to_angstrom(values, unit, source, notes)
    # A copy: the unit may leave the numbers, and the array, as they are.
    return _Wavelengths(locked(wavelength.copy()), guessed, on_sdss_pixels(wavelength), tuple(notes))


def _fwhm_in_angstrom(fwhm: np.ndarray, unit: str | None, per: float, notes: list[str]) -> np.ndarray | None:
    """Return a column of FWHM in Å, None if its unit is none of length.

    Args:
        fwhm: shape (L,).
        unit: the column's own, where stated.
        per: Å per unit of the wavelengths; what is no power of ten is a logarithm's, and fwhm in Å.
        notes: where what was taken for granted goes.
    """
    if unit and not is_unit(unit):
        notes.append(f"the column of the FWHM is in {unit}, which is no unit of wavelength: it is left aside")
        return None
    if unit and (own := angstroms_per(unit)) is not None:
        return fwhm * own
    linear = next((scale for scale in (10.0, 1e4, 1e10) if abs(per / scale - 1) < 1e-9), 1.0)
    if linear != 1:
        notes.append("the column of the FWHM has no unit and is taken to be in that of the wavelengths")
    return fwhm * linear


def _no_errors(table: Mapping[str, Any], roles: Mapping[str, str]) -> str:
    """Return how to say that no column of errors was found: columns that were not used may be such."""
    size = np.size(table[roles["flux"]])
    others = [
        name
        for name, values in table.items()
        if name not in roles.values()
        and role_of(name) is None
        and np.size(values) == size
        and np.asarray(values).dtype.kind in "iuf"
    ]
    if not others:
        return "the file has no errors"
    return f"no column is called like errors (not used: {', '.join(others[:12])}; say which with --columns)"


def medium_by_name(column: str, names: list[str]) -> Medium | None:
    """Return the medium that the name of a column of wavelengths, or of its neighbours, says."""
    plain, others = _name_and_unit(column)[0], {_name_and_unit(name)[0] for name in names if name != column}
    if plain in _AIR or (plain not in _VACUUM and others & _VACUUM):
        return "air"
    if plain in _VACUUM or others & (_AIR | _VACUUM_BESIDE):
        return "vacuum"
    return None


def on_sdss_pixels(wavelength: np.ndarray) -> bool:
    """Return whether wavelengths (Å) increase by `SDSS_STEP` in their logarithm."""
    if wavelength.size < 3 or not (wavelength > 0).all():
        return False
    steps = np.diff(np.log10(wavelength))
    return bool((np.abs(steps - SDSS_STEP) < 1e-7).all())


def bad_pixels(flagged: np.ndarray, dead: np.ndarray, what: str, notes: list[str]) -> np.ndarray | None:
    """Return which pixels a mask leaves out, shape (L,), bool; None if it cannot be one of bad pixels.

    In most files a pixel that is flagged is bad; in some (PypeIt's) it is good, which shows where pixels are dead.

    Args:
        flagged: where the mask is not zero, shape (L,), bool.
        dead: pixels without a positive error, shape (L,), bool.
        what: the mask, for notes.
        notes: where what was taken for granted goes.
    """
    if 0 < flagged.sum() < flagged.size and dead[~flagged].mean() > 0.5 and dead[flagged].mean() < 0.01:
        notes.append(f"{what} flags the pixels that have an error: it is taken to mark good ones")
        return ~flagged
    if flagged.mean() > 0.9:
        notes.append(f"{what} would mask {100 * flagged.mean():.0f} % of the pixels and is left aside")
        return None
    return flagged


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
