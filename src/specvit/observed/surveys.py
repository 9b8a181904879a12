"""The forms of surveys: LAMOST, DESI, PFS, GALAH and ESO Phase 3 files.

Each form is two functions: whether an open FITS file is of it, by its content alone, and a reader that yields
what it holds. The references of each form are in its reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from specvit.errors import DataError
from specvit.observed.columns import find_columns, numbers, spectrum_of_columns
from specvit.observed.hdus import card, columns_of, header_of, table_with
from specvit.observed.request import Request
from specvit.observed.sdss import SDSS_BAD
from specvit.observed.spectrum import RawSpectrum
from specvit.observed.survey import facts_of, frame_of, medium_of_ucd, set_site, star_name, stated_fwhm
from specvit.observed.tables import notes_on_others
from specvit.observed.units import set_medium, to_angstrom
from specvit.spectra.resample import FWHM_PER_SIGMA

#: Names of mask planes of PFS after which a pixel is not used.
PFS_BAD = ("NO_DATA", "BAD", "BAD_FLAT", "SAT", "CR", "BAD_FLUXCAL", "BAD_SKY", "UNMASKEDNAN")
LAMOST_RESOLUTION = 1800.0
#: Pixels (Å) below which a red PFS spectrum is of the medium-resolution arm; FWHM there (Å, of the exposure time
#: calculator's optical model, pixel included), and λ/FWHM of the low-resolution arm.
PFS_MEDIUM_STEP, PFS_MEDIUM_FWHM, PFS_LOW = 0.6, 1.35, 3000.0


def is_lamost(hdus: Any) -> bool:
    """Return whether the file names LAMOST's telescope, image or table."""
    return "LAMOST" in str(card(hdus[0].header, "TELESCOP", "")).upper()


def read_lamost(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield a low-resolution spectrum: image (flux, inverse variance, ..., masks) or a table of one row.

    Vacuum, heliocentric. The third row is the wavelength in some releases and the continuum in others, so the
    wavelengths are those of the header. Source: LAMOST data release documents, DR1-DR7 (image), DR8 on (table).
    """
    header, table = header_of(hdus), table_with(hdus, "flux", "ivar", "wavelength")
    if table is not None:
        names = columns_of(table)
        columns = {
            low: numbers(table.data[names[low]], low, request.source)
            for low in ("flux", "ivar", "wavelength", "andmask")
            if low in names
        }
        flux, ivar, wavelength = columns["flux"], columns["ivar"], columns["wavelength"]
        bad = columns.get("andmask")
    else:
        data = np.asarray(hdus[0].data, dtype=np.float64)
        if data.ndim != 2 or len(data) < 2:
            raise DataError(
                f"{request.source}: a LAMOST image has rows of flux and inverse variance; this has shape {data.shape}"
            )
        flux, ivar, bad = data[0], data[1], data[3] if len(data) > 3 else None
        wavelength = np.power(10.0, float(header["COEFF0"]) + float(header["COEFF1"]) * np.arange(flux.size))
    # Its designation, "LAMOST J...": the name of the object is a number of the input catalogue.
    name = str(header.get("DESIG") or star_name(header, request.source)).strip()
    raw = RawSpectrum(name, "lamost", wavelength, flux, ivar=ivar)
    raw.bad = None if bad is None else (bad.astype(np.int64) & SDSS_BAD) != 0
    raw.fwhm_notes.append(f"resolution {LAMOST_RESOLUTION:g} (LAMOST LRS: Cui et al. 2012, RAA 12, 1197)")
    raw.fwhm, raw.medium, raw.frame = wavelength / LAMOST_RESOLUTION, "vacuum", "barycentric"
    speed = header.get("HELIO_RV")
    raw.to_observed = -float(speed) if isinstance(speed, int | float) else 0.0
    raw.facts = facts_of(header)
    yield raw


def is_desi(hdus: Any) -> bool:
    """Return whether the file has arms (R_FLUX, BRZ_FLUX, ...), or a fibre map beside flux, ivar and wavelength."""
    names = {hdu.name.upper() for hdu in hdus}
    return bool(_desi_arms(names)) or {"FLUX", "IVAR", "WAVELENGTH", "FIBERMAP"} <= names


def _desi_arms(names: set[str]) -> list[str]:
    """Return the prefixes of a file's arms; of cameras that were coadded (BRZ_) if it has no single ones."""
    arms = [match[1] for name in names if (match := re.fullmatch(r"([BRZ]{1,3}_)FLUX", name))]
    arms = [arm for arm in arms if {f"{arm}WAVELENGTH", f"{arm}IVAR"} <= names]
    return [arm for arm in arms if len(arm) == 2] or arms


def read_desi(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield one spectrum per fibre, its arms joined in the middle of their overlap: vacuum, barycentric.

    The FWHM is that of the second moment of each pixel's row of the resolution matrix. Sources: DESI data model
    (coadd, cframe); Guy et al. 2023, AJ 165, 144.
    """
    by_name = {hdu.name.upper(): hdu for hdu in hdus}
    arms = _desi_arms(set(by_name)) or [""]
    arms.sort(key=lambda arm: float(by_name[f"{arm}WAVELENGTH"].data[0]))
    fibres = by_name["FIBERMAP"].data if "FIBERMAP" in by_name else None
    count = by_name[f"{arms[0]}FLUX"].data.shape[0]
    names = [str(fibres["TARGETID"][k]) if fibres is not None else f"row {k}" for k in range(count)]
    for k in range(count):
        if request.options.wants(names[k], k):
            pieces = [_desi_arm(by_name, arm, k) for arm in arms]
            joined = [np.concatenate(part) for part in zip(*_cut(pieces), strict=True)]
            raw = RawSpectrum(names[k], "desi", joined[0], joined[1], ivar=joined[2], bad=joined[3] != 0)
            raw.fwhm, raw.medium, raw.frame, raw.number = joined[4], "vacuum", "barycentric", k
            if fibres is not None:
                raw.facts = {
                    key: float(fibres[key][k]) for key in ("TARGET_RA", "TARGET_DEC") if key in fibres.names
                }
            yield raw


def _desi_arm(by_name: dict[str, Any], arm: str, row: int) -> list[np.ndarray]:
    wavelength = np.asarray(by_name[f"{arm}WAVELENGTH"].data, dtype=np.float64)
    flux = np.asarray(by_name[f"{arm}FLUX"].data[row], dtype=np.float64)
    ivar = np.asarray(by_name[f"{arm}IVAR"].data[row], dtype=np.float64)
    mask = by_name.get(f"{arm}MASK")
    bad = np.asarray(mask.data[row] != 0, dtype=np.float64) if mask is not None else np.zeros(flux.size)
    resolution = by_name.get(f"{arm}RESOLUTION")
    if resolution is None:
        return [wavelength, flux, ivar, bad, np.full(flux.size, np.nan)]
    diagonals = np.asarray(resolution.data[row], dtype=np.float64)
    offset = np.arange(len(diagonals))[:, None] - (len(diagonals) - 1) / 2
    total = diagonals.sum(0)
    good = total > 0
    weight = np.where(good, diagonals / np.where(good, total, 1), 0)
    mean = (offset * weight).sum(0)
    width = np.sqrt((offset**2 * weight).sum(0) - mean**2)
    return [
        wavelength,
        flux,
        ivar,
        bad,
        np.where(good, FWHM_PER_SIGMA * width * np.gradient(wavelength), np.nan),
    ]


def _cut(pieces: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Return the arms without overlaps."""
    limits = [
        -np.inf,
        *(0.5 * (a[0][-1] + b[0][0]) for a, b in pairwise(pieces)),
        np.inf,
    ]
    cut = []
    for piece, low, high in zip(pieces, limits[:-1], limits[1:], strict=True):
        keep = (piece[0] > low) & (piece[0] <= high)
        cut.append([part[keep] for part in piece])
    return cut


def is_pfs(hdus: Any) -> bool:
    """Return whether the file is a pfsObject, pfsSingle or pfsStar by its extensions."""
    names = {hdu.name.upper() for hdu in hdus}
    return bool({"FLUXTBL", "FLUX_TABLE"} & names) or {"FLUX", "COVAR", "MASK"} <= names


def read_pfs(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield the spectrum of one PFS target: nm in vacuum, barycentric, flux in nJy made flux per wavelength.

    The table of fluxes is preferred to the resampled image. Source: data model of the PFS project
    (github.com/Subaru-PFS/datamodel).
    """
    by_name = {hdu.name.upper(): hdu for hdu in hdus}
    header, notes = header_of(hdus), list[str]()
    table = by_name.get("FLUX_TABLE", by_name.get("FLUXTBL"))
    names = columns_of(table) if table is not None else {}
    column = names.get("lambda", names.get("wavelength"))
    if table is not None and column is not None:
        wavelength = numbers(table.data[column], column, request.source)
    else:
        wavelength = _pfs_wavelength(by_name, request)
    if table is not None and column is not None:
        flux = numbers(table.data[names["flux"]], "flux", request.source)
        error = next((names[key] for key in ("error", "fluxerror") if key in names), None)
        if error is not None:
            sigma = numbers(table.data[error], error, request.source)
        else:
            sigma = np.sqrt(
                numbers(table.data[names["fluxvariance"]], "fluxVariance", request.source).clip(0)
            )
        mask = numbers(table.data[names["mask"]], "mask", request.source) if "mask" in names else None
    else:
        flux = np.asarray(by_name["FLUX"].data, dtype=np.float64)
        covariance = np.asarray(by_name["COVAR"].data, dtype=np.float64)
        sigma = np.sqrt(covariance.reshape(-1, flux.size)[0].clip(0))
        mask = np.asarray(by_name["MASK"].data, dtype=np.float64) if "MASK" in by_name else None
    wavelength, _ = to_angstrom(wavelength, request.options.unit or "nm", request.source, notes)
    # f_λ ∝ f_ν / λ²: only the shape matters to a fit with a free continuum.
    per_wavelength = (np.median(wavelength) / wavelength) ** 2
    raw = RawSpectrum(
        _pfs_name(header, request.source), "pfs", wavelength, flux * per_wavelength, notes=notes
    )
    raw.sigma = sigma * per_wavelength
    raw.bad = None if mask is None else _pfs_bad(mask.astype(np.int64), hdus, notes)
    red = (wavelength > 7000) & (wavelength < 9000)
    step = float(np.median(np.diff(wavelength[red]))) if red.sum() > 2 else 1.0
    medium = step < PFS_MEDIUM_STEP
    raw.fwhm = np.full(wavelength.size, PFS_MEDIUM_FWHM) if medium else wavelength / PFS_LOW
    words = f"{PFS_MEDIUM_FWHM:g} Å FWHM" if medium else f"resolution {PFS_LOW:g}"
    raw.fwhm_notes.append(f"{words}: that of PFS's red arm with pixels of {step:.2f} Å")
    raw.medium, raw.frame = "vacuum", "barycentric"
    raw.facts = facts_of(header)
    yield raw


def _pfs_wavelength(by_name: dict[str, Any], request: Request) -> np.ndarray:
    if "WAVELENGTH" in by_name:
        return np.asarray(by_name["WAVELENGTH"].data, dtype=np.float64).reshape(-1)
    header, size = by_name["FLUX"].header, by_name["FLUX"].data.size
    if "CRVAL1" not in header or "CD1_1" not in header:
        raise DataError(
            f"{request.source}: a PFS file without wavelengths: no table of fluxes, no WAVELENGTH and no CRVAL1"
        )
    return np.asarray(header["CRVAL1"] + header["CD1_1"] * (np.arange(1, size + 1) - header.get("CRPIX1", 1)))


def _pfs_name(header: dict[str, Any], source: str) -> str:
    parts = [str(header[key]).strip() for key in ("CATID", "TRACT", "PATCH", "OBJID") if key in header]
    return f"PFS {'-'.join(parts)}" if parts else star_name(header, source)


def _pfs_bad(mask: np.ndarray, hdus: Any, notes: list[str]) -> np.ndarray:
    """Return which pixels are bad by the planes that the file names, or by any plane if it names none."""
    planes = {
        key[3:]: int(value)
        for hdu in hdus
        for key in hdu.header
        if key.startswith("MP_") and isinstance(value := card(hdu.header, key), int)
    }
    if planes:
        bits = sum(1 << bit for name, bit in planes.items() if name in PFS_BAD)
        return np.asarray((mask & bits) != 0)
    if (mask != 0).mean() > 0.9:
        notes.append("the mask names no planes and marks nearly every pixel: it is left aside")
        return np.zeros(mask.size, bool)
    return np.asarray(mask != 0)


def is_galah(hdus: Any) -> bool:
    """Return whether the file has GALAH's extensions."""
    return {"RELATIVE_ERROR", "RESOLUTION_PROFILE"} <= {hdu.name.upper() for hdu in hdus}


def read_galah(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield one HERMES camera: air, barycentric; errors are relative, the resolution is a profile of FWHM.

    Source: Buder et al. 2021, MNRAS 506, 150 (DR3), and the files' own names.
    """
    by_name, header = {hdu.name.upper(): hdu for hdu in hdus}, header_of(hdus)
    flux = np.asarray(hdus[0].data, dtype=np.float64)
    wavelength = header["CRVAL1"] + header["CDELT1"] * (np.arange(1, flux.size + 1) - header["CRPIX1"])
    raw = RawSpectrum(star_name(header, request.source), "galah", wavelength, flux)
    raw.sigma = np.abs(flux) * np.asarray(by_name["RELATIVE_ERROR"].data, dtype=np.float64)
    raw.fwhm = np.asarray(by_name["RESOLUTION_PROFILE"].data, dtype=np.float64)
    raw.medium, raw.frame, raw.facts = "air", "barycentric", facts_of(header)
    yield raw


def is_phase3(hdus: Any) -> bool:
    """Return whether the file is an ESO Phase 3 spectrum: one row of arrays."""
    table = table_with(hdus, "wave", "flux")
    return table is not None and len(table.data) == 1 and np.ndim(table.data[columns_of(table)["wave"]]) == 2


def read_phase3(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield the spectrum of one row of arrays.

    Air if the UCD of the wavelengths says `obs.atmos`, vacuum if it does not; without one, what the header says.
    Source: ESO Science Data Products Standard, issue 8, section 13.
    """
    table = table_with(hdus, "wave", "flux")
    header = header_of(hdus) | {key: card(table.header, key) for key in table.header if key}
    names = table.columns.names
    units = {name: table.columns[name].unit for name in names}
    arrays = {name: table.data[name][0] for name in names if np.ndim(table.data[name]) == 2}
    raw = spectrum_of_columns(arrays, units, request, "eso-phase3", star_name(header, request.source))
    said = medium_of_ucd(header, names.index(find_columns(list(arrays), request)["wavelength"]) + 1)
    if said is not None:
        raw.medium = said
        set_medium(raw, header, request.source, request.options.medium, "the UCD of the wavelengths")
    else:
        set_medium(raw, header, request.source, request.options.medium)
    if raw.fwhm is None:
        raw.fwhm = stated_fwhm(header, raw.wavelength, raw.fwhm_notes)
    raw.frame, raw.to_observed = frame_of(header, raw.notes)
    raw.facts = facts_of(header)
    raw.notes += notes_on_others(hdus, table, request)
    set_site(raw, header)
    yield raw
