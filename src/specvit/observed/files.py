"""From a path to spectra: what kind of file it is, which form, and one clear line for what cannot be read."""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from specvit.documents.opening import check_readable, system_cause
from specvit.documents.words import one_line
from specvit.errors import AccessError, ConfigError, DataError, SpecvitError, import_optional
from specvit.observed import images, multispec, sdss, surveys, tables
from specvit.observed.columns import holds_spectrum
from specvit.observed.hdus import chosen_hdu, columns_of
from specvit.observed.request import ReadOptions, Request
from specvit.observed.spectrum import ObservedSpectrum, RawSpectrum, checked_spectrum
from specvit.observed.texts import GZIP, read_text_table

#: Bytes beyond which a compressed file is not unpacked, and a FITS file not opened.
LARGEST_GZ, LARGEST_FITS = 1_000_000_000, 8_000_000_000
#: Bytes from which on a FITS file is mapped instead of read: of a survey's file each target is a small part.
MAPPED = 200_000_000
#: First bytes -> what such a file is, and what to do.
OTHER_FILES = {
    b"BZh": "compressed with bzip2; unpack it first (bunzip2)",
    b"\xfd7zXZ": "compressed with xz; unpack it first (unxz)",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it first (unzstd)",
    b"PK\x03\x04": "a zip archive (.zip, .npz, .xlsx); give the spectrum in it as FITS or text",
    b"\x89HDF": "an HDF5 file; give the spectrum as FITS or text",
    b"\x89PNG": "a picture; give the spectrum as FITS or text",
    b"%PDF": "a PDF document; give the spectrum as FITS or text",
    b"\x93NUMPY": "a NumPy array; give the spectrum as FITS or text",
    b"\xff\xfe": "text in UTF-16; save it as UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as UTF-8",
    b"<!doctype html": "a web page: the download failed or asks for a password; get the file again",
    b"<html": "a web page: the download failed or asks for a password; get the file again",
    b"version https://git-lfs": "a pointer of Git LFS and not the file itself; get that with `git lfs pull`",
}

Reader = Callable[[Any, Request], Iterator[RawSpectrum]]


class Form(NamedTuple):
    """One form of FITS files: its name, what it is, how it is recognised and read."""

    name: str
    title: str
    matches: Callable[[Any], bool]
    read: Reader


#: In the order in which they are tried: the more particular first.
FORMS = (
    Form("desi", "DESI coadd, spectra and cframe", surveys.is_desi, surveys.read_desi),
    Form("pfs", "PFS pfsObject, pfsSingle, pfsStar", surveys.is_pfs, surveys.read_pfs),
    Form("galah", "GALAH (AAT/HERMES), one camera", surveys.is_galah, surveys.read_galah),
    Form("lamost", "LAMOST low resolution, images and tables", surveys.is_lamost, surveys.read_lamost),
    Form("sdss", "SDSS, BOSS and SDSS-V spec", sdss.is_sdss, sdss.read_sdss),
    Form("sdss-spspec", "SDSS spSpec (data releases 1 to 7)", sdss.is_spspec, sdss.read_spspec),
    Form("eso-phase3", "ESO Phase 3", surveys.is_phase3, surveys.read_phase3),
    Form("iraf-multispec", "IRAF multispec", multispec.is_multispec, multispec.read_multispec),
    Form("table", "FITS table of pixels, Gaia RVS among them", tables.is_table, tables.read_table),
    Form("wcs", "FITS image, wavelengths in its header or an extension", images.is_image, images.read_wcs),
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
        AccessError: if the system does not give the file: no permission, in use, out of reach.
        DataError: if it is no spectrum, damaged, or contradicts itself; one line with the file and the mend.
        ConfigError: for options that do not go with the file.
    """
    options = options or ReadOptions()
    given = str(path)
    if "://" in given:
        raise ConfigError(f"{given}: spectra are read from files; download it first")
    file = Path(path)
    head = _head_of(file)
    count = 0
    request = Request(str(file), options)
    kind = _kind(head, file)
    raws = {"fits": _fits, "votable": _votable, "text": _text}[kind](file, request)
    for raw in raws:
        # Readers of many targets ask before they read one; this is for the only target of a file.
        if not any(options.wants(name, raw.number) for name in (raw.name, raw.alias)):
            continue
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


def _head_of(file: Path) -> bytes:
    """Return the first bytes; raise if the system does not give the file, or it is none or far too large."""
    try:
        check_readable(file, "spectrum", "give a file with one")
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(512)
    except (OSError, ValueError) as error:  # no name of a file may have a NUL
        raise DataError(f"{file}: cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    limit = LARGEST_GZ if file.suffix == ".gz" else LARGEST_FITS
    if size > limit:
        raise DataError(
            f"{file}: {size / 1e9:.1f} GB are more than the {limit / 1e9:.0f} GB read at once; split it"
        )
    return head


def _kind(head: bytes, file: Path) -> str:
    if head[:2] == GZIP:
        head = _unpacked_head(file)
    if head.startswith(b"SIMPLE"):
        return "fits"
    for first, words in OTHER_FILES.items():
        if head.lower().lstrip().startswith(first.lower()):
            raise DataError(f"{file}: is {words}")
    if b"<VOTABLE" in head or head.lstrip().startswith(b"<?xml"):
        return "votable"
    if b"\x00" in head:
        raise DataError(
            f"{file}: neither FITS nor text; give a spectrum as FITS, VOTable, ECSV, CSV or columns"
        )
    return "text"


def _unpacked_head(file: Path) -> bytes:
    """Return the first bytes within a gzip file, after all of it was unpacked once: half of one looks whole to FITS."""
    try:
        with gzip.open(file) as stream:
            head, size = stream.read(512), 512
            while part := stream.read(1 << 20):
                size += len(part)
                if size > LARGEST_FITS:
                    raise DataError(
                        f"{file}: more than {LARGEST_FITS / 1e9:.0f} GB when unpacked, which is not read at once; split it"
                    )
    except (OSError, EOFError, zlib.error) as error:
        cause = system_cause(file, getattr(error, "errno", None), str(error), "spectrum")
        if cause is not None:
            raise AccessError(f"{file}: {cause}") from error
        raise DataError(f"{file}: a damaged gzip file ({error}); get it again") from error
    return head


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
        number = error.errno if isinstance(error, OSError) else None
        if cause := system_cause(Path(request.source), number, str(error), "spectrum"):
            raise AccessError(f"{request.source}: {cause}") from error
        if isinstance(error, MemoryError):
            raise DataError(f"{request.source}: does not fit into memory; split it") from error
        reason = one_line(str(error))[:160] or type(error).__name__
        raise DataError(
            f"{request.source}: not a complete {what} ({reason}); get the file again, or check --hdu and --format"
        ) from error


def _fits(file: Path, request: Request) -> Iterator[RawSpectrum]:
    fits = import_optional("astropy.io.fits", None, "reading FITS files")
    # Opened here: astropy leaves a damaged file open.
    mapped = file.stat().st_size > MAPPED and file.suffix != ".gz"
    with _told(request, "FITS file"), file.open("rb") as stream, fits.open(stream, memmap=mapped) as hdus:
        if file.suffix != ".gz":
            _check_end(hdus, stream, request)
        form = _form(hdus, request)
        yield from form.read(hdus, request)


def _check_end(hdus: Any, stream: BinaryIO, request: Request) -> None:
    """Raise if the file ends within a header: the extension would be taken for none, and its mask be forgotten."""
    count = len(hdus)
    last = hdus[count - 1].fileinfo()
    stream.seek(last["datLoc"] + last["datSpan"])
    if stream.read(8) == b"XTENSION":
        raise DataError(
            f"{request.source}: not a complete FITS file (it ends within the header of extension {count}); "
            "get the file again"
        )


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
    # A table beside an image may be about the observation.
    if form.name == "table" and images.has_wavelengths(hdus) and not tables.spectrum_tables(hdus, request):
        return next(form for form in FORMS if form.name == "wcs")
    return form


def _votable(file: Path, request: Request) -> Iterator[RawSpectrum]:
    votable = import_optional("astropy.io.votable", None, "reading VOTables")
    with _told(request, "VOTable"):
        every = [table.to_table() for table in votable.parse(file, verify="ignore").iter_tables()]
        table = next((table for table in every if holds_spectrum(table.colnames, request)), every[0])
        columns = {name: table[name] for name in table.colnames}
        units = {name: str(table[name].unit) if table[name].unit else None for name in table.colnames}
        yield from _columns(columns, units, request, "votable")


def _text(file: Path, request: Request) -> Iterator[RawSpectrum]:
    with _told(request, "table of text"):
        asked = request.options.columns
        columns, units, headed = read_text_table(file, tuple(asked.values()))
        for raw in _columns(columns, units, request, "text"):
            if not headed and raw.sigma is not None and "sigma" not in asked:
                raw.notes.append(
                    "no headings: columns are taken to be wavelength, flux, sigma; say otherwise with --columns"
                )
            yield raw


def _columns(
    columns: dict[str, Any], units: dict[str, str | None], request: Request, form: str
) -> Iterator[RawSpectrum]:
    wanted = request.options.form
    if wanted not in (None, form):
        raise ConfigError(f"--format {wanted}: {request.source} is a {form} file")
    used = {
        name: values
        for name, values in columns.items()
        if name.lower() in tables.ROW_NAMES or np.asarray(values).dtype.kind in "iufbO"
    }
    yield from tables.spectra_of_columns(used, units, request, form, Path(request.source).name)
