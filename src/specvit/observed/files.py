"""From a path to spectra: what kind of file it is, which form, and one clear line for what cannot be read."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from specvit.documents.words import one_line
from specvit.errors import ConfigError, DataError, SpecvitError, import_optional
from specvit.observed import images, surveys
from specvit.observed.columns import spectrum_of_columns
from specvit.observed.hdus import card, chosen_hdu, columns_of, header_of
from specvit.observed.request import ReadOptions, Request
from specvit.observed.spectrum import ObservedSpectrum, RawSpectrum, checked_spectrum
from specvit.observed.survey import facts_of, frame_of, star_name, stated_fwhm
from specvit.observed.texts import read_text_table
from specvit.observed.units import set_medium

#: Bytes beyond which a compressed file is not unpacked, and a FITS file not opened.
LARGEST_GZ, LARGEST_FITS = 1_000_000_000, 8_000_000_000

Reader = Callable[[Any, Request], Iterator[RawSpectrum]]


class Form(NamedTuple):
    """One form of FITS files: its name, what it is, how it is recognised and read."""

    name: str
    title: str
    matches: Callable[[Any], bool]
    read: Reader


def is_table(hdus: Any) -> bool:
    """Return whether the file holds a table."""
    return any(columns_of(hdu) for hdu in hdus)


def read_table(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield the spectra of a FITS table: columns of pixels, or one row with arrays; Gaia's by their sources."""
    hdu = _table_hdu(hdus, request)
    names = list(hdu.columns.names)
    if "source_id" in columns_of(hdu):
        yield from surveys.read_gaia({name: hdu.data[name] for name in names}, {}, request)
        return
    units = {name: hdu.columns[name].unit for name in names}
    one_row = len(hdu.data) == 1
    arrays = {
        name: (hdu.data[name][0] if one_row and np.ndim(hdu.data[name]) == 2 else hdu.data[name])
        for name in names
    }
    header = header_of(hdus)
    raw = spectrum_of_columns(arrays, units, request, "table", star_name(header, request.source))
    header |= {key: card(hdu.header, key) for key in hdu.header if key}
    set_medium(raw, header, request.source, request.options.medium)
    raw.fwhm = raw.fwhm if raw.fwhm is not None else stated_fwhm(header, raw.wavelength, raw.notes)
    raw.frame, raw.to_observed = frame_of(header, raw.notes)
    raw.facts = facts_of(header)
    yield raw


def _table_hdu(hdus: Any, request: Request) -> Any:
    if request.options.hdu is not None:
        hdu = chosen_hdu(hdus, request.options.hdu, request.source)
        if columns_of(hdu):
            return hdu
        raise DataError(f"{request.source}: HDU {request.options.hdu} is no table")
    return next(hdu for hdu in hdus if columns_of(hdu))


def is_image(hdus: Any) -> bool:
    """Return whether the file holds pixels in an image."""
    return any(getattr(hdu, "is_image", False) and card(hdu.header, "NAXIS", 0) for hdu in hdus)


#: In the order in which they are tried: the more particular first.
FORMS = (
    Form("desi", "DESI coadd, spectra and cframe", surveys.is_desi, surveys.read_desi),
    Form("pfs", "PFS pfsObject, pfsSingle, pfsStar", surveys.is_pfs, surveys.read_pfs),
    Form("galah", "GALAH (AAT/HERMES), one camera", surveys.is_galah, surveys.read_galah),
    Form("lamost", "LAMOST low resolution, images and tables", surveys.is_lamost, surveys.read_lamost),
    Form("sdss", "SDSS, BOSS and SDSS-V spec", surveys.is_sdss, surveys.read_sdss),
    Form("eso-phase3", "ESO Phase 3", surveys.is_phase3, surveys.read_phase3),
    Form("iraf-multispec", "IRAF multispec", images.is_multispec, images.read_multispec),
    Form("table", "FITS table of pixels, Gaia RVS among them", is_table, read_table),
    Form("wcs", "FITS image with wavelengths in its header", is_image, images.read_wcs),
)
_OTHER_FORMS = {"votable": "VOTable, Gaia RVS among them", "text": "text: CSV, ECSV, two or three columns"}


def form_names() -> dict[str, str]:
    """Return the forms that can be read: name, as `ReadOptions.form` takes it, and what it is."""
    return {form.name: form.title for form in FORMS} | _OTHER_FORMS


#: What is told of a target that cannot be used, in a file with others.
Refused = Callable[[str, DataError], None]


def read_spectra(
    path: str | Path, options: ReadOptions | None = None, refused: Refused | None = None
) -> list[ObservedSpectrum]:
    """Return all spectra of a file that `options.select` wants; see `iter_spectra`."""
    return list(iter_spectra(path, options, refused))


def iter_spectra(
    path: str | Path, options: ReadOptions | None = None, refused: Refused | None = None
) -> Iterator[ObservedSpectrum]:
    """Yield the spectra of a file, its form known by its content.

    Args:
        path: FITS (also .gz), VOTable, ECSV, CSV or columns of text.
        options: what the user knows better.
        refused: told the name and the reason of each target that cannot be used, so that the others of its file can;
            without it the first such target is an error.

    Raises:
        DataError: if it is no spectrum, damaged, or contradicts itself; one line with the file and the mend.
        ConfigError: for options that do not go with the file.
    """
    options = options or ReadOptions()
    given = str(path)
    if "://" in given:
        raise ConfigError(f"{given}: spectra are read from files; download it first")
    file = Path(path)
    _check_file(file)
    count = 0
    with file.open("rb") as stream:
        head = stream.read(512)
    if not head:
        raise DataError(f"{file}: the file is empty")
    request = Request(str(file), options)
    kind = _kind(head, file)
    raws = {"fits": _fits, "votable": _votable, "text": _text}[kind](file, request)
    for raw in raws:
        count += 1
        try:
            spectrum = checked_spectrum(raw, f"{file} ({raw.name})", options.medium, options.resolution)
        except DataError as error:
            if refused is None:
                raise
            refused(raw.name, error)
            continue
        yield spectrum
    if not count:
        wanted = f" of {', '.join(options.select)}" if options.select else ""
        raise DataError(f"{file}: holds no spectrum{wanted}")


def _check_file(file: Path) -> None:
    try:
        if file.is_dir():
            raise DataError(f"{file}: is a folder; give the files in it")
        if not file.exists():
            raise DataError(f"{file}: no such file")
        size = file.stat().st_size
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    limit = LARGEST_GZ if file.suffix == ".gz" else LARGEST_FITS
    if size > limit:
        raise DataError(
            f"{file}: {size / 1e9:.1f} GB are more than the {limit / 1e9:.0f} GB read at once; split it"
        )


def _kind(head: bytes, file: Path) -> str:
    if head[:2] == b"\x1f\x8b":
        try:
            with gzip.open(file) as stream:
                head = stream.read(512)
        except (OSError, EOFError) as error:
            raise DataError(f"{file}: a damaged gzip file ({error}); get it again") from error
        if not head.startswith(b"SIMPLE"):
            raise DataError(f"{file}: unpack it first; only FITS is read from .gz files")
    if head.startswith(b"SIMPLE"):
        return "fits"
    if b"<VOTABLE" in head or head.lstrip().startswith(b"<?xml"):
        return "votable"
    if b"\x00" in head:
        raise DataError(
            f"{file}: neither FITS nor text; give a spectrum as FITS, VOTable, ECSV, CSV or columns"
        )
    return "text"


@contextmanager
def _told(request: Request, what: str) -> Iterator[None]:
    """Turn whatever a damaged file makes libraries raise into one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            yield
    except SpecvitError:
        raise
    except GeneratorExit:
        raise
    except Exception as error:
        reason = one_line(str(error))[:160] or type(error).__name__
        raise DataError(
            f"{request.source}: not a complete {what} ({reason}); get the file again, or check --hdu and --format"
        ) from error


def _fits(file: Path, request: Request) -> Iterator[RawSpectrum]:
    fits = import_optional("astropy.io.fits", None, "reading FITS files")
    # Opened here: astropy leaves a damaged file open.
    with _told(request, "FITS file"), file.open("rb") as stream, fits.open(stream, memmap=False) as hdus:
        form = _form(hdus, request)
        yield from form.read(hdus, request)


def _form(hdus: Any, request: Request) -> Form:
    wanted = request.options.form
    if wanted is not None:
        form = next((form for form in FORMS if form.name == wanted), None)
        if form is None:
            raise ConfigError(
                f"--format {wanted}: a FITS file is one of {', '.join(form.name for form in FORMS)}"
            )
        if not form.matches(hdus):
            raise DataError(f"{request.source}: has not what a file of the form {wanted} ({form.title}) has")
        return form
    if request.options.hdu is not None:
        hdu = chosen_hdu(hdus, request.options.hdu, request.source)
        kind = "table" if columns_of(hdu) else "wcs"
        return next(form for form in FORMS if form.name == kind)
    form = next((form for form in FORMS if form.matches(hdus)), None)
    if form is None:
        raise DataError(f"{request.source}: a FITS file without pixels; this is no spectrum")
    return form


def _votable(file: Path, request: Request) -> Iterator[RawSpectrum]:
    votable = import_optional("astropy.io.votable", None, "reading VOTables")
    with _told(request, "VOTable"):
        table = votable.parse_single_table(file, verify="ignore").to_table()
        columns = {name: table[name] for name in table.colnames}
        units = {name: str(table[name].unit) if table[name].unit else None for name in table.colnames}
        yield from _columns(columns, units, request, "votable")


def _text(file: Path, request: Request) -> Iterator[RawSpectrum]:
    with _told(request, "table of text"):
        columns, units = read_text_table(file)
        yield from _columns(columns, units, request, "text")


def _columns(
    columns: dict[str, Any], units: dict[str, str | None], request: Request, form: str
) -> Iterator[RawSpectrum]:
    wanted = request.options.form
    if wanted not in (None, form):
        raise ConfigError(f"--format {wanted}: {request.source} is a {form} file")
    if "source_id" in {name.lower() for name in columns}:
        yield from surveys.read_gaia(columns, units, request)
        return
    numeric = {name: values for name, values in columns.items() if np.asarray(values).dtype.kind in "iufb"}
    yield spectrum_of_columns(numeric, units, request, form, Path(request.source).name)
