"""Tables of pixels -> spectra: FITS tables, and the columns of any other file.

All rows are one spectrum, or those of one `source_id` each, or every row holds whole spectra in arrays. Owns how a
table is divided and which table of a FITS file is read; what a column is, is `columns`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from specvit.errors import DataError
from specvit.observed.columns import find_columns, holds_spectrum, spectrum_of_columns
from specvit.observed.hdus import card, chosen_hdu, columns_of, header_of
from specvit.observed.request import Request
from specvit.observed.rvs import is_rvs, read_rvs
from specvit.observed.spectrum import Frame, RawSpectrum
from specvit.observed.survey import facts_of, frame_of, medium_of_ucd, set_site, star_name, stated_fwhm
from specvit.observed.units import set_medium

#: Columns that name the star of a row.
ROW_NAMES = ("name", "id", "star", "object", "target", "targetid", "mangaid", "source_id", "obj_id", "objid")


class _Part(NamedTuple):
    """One spectrum of a table: name of its star, Gaia's number if the table has them, and what reads its columns."""

    name: str
    source_id: str | None
    take: Callable[[], Mapping[str, Any]]


def spectra_of_columns(
    columns: Mapping[str, Any], units: Mapping[str, str | None], request: Request, form: str, name: str
) -> Iterator[RawSpectrum]:
    """Yield the spectra of a table; those that `--select` does not want are not read.

    Args:
        columns: column -> values, shape (rows,) or (rows, L), or rows of arrays of any lengths.
        units: column -> unit, where one is stated.
        request: the file and its options.
        form: name of the form.
        name: of the star, where no column says.
    """
    for number, part in enumerate(_parts(columns, request, name)):
        gaia = f"Gaia DR3 {part.source_id}"
        if not any(request.options.wants(word, number) for word in (part.name, part.source_id or "", gaia)):
            continue
        one = part.take()
        if is_rvs(one, units, request, part.source_id is not None):
            raw = read_rvs(one, units, request, gaia if part.source_id else part.name)
        else:
            raw = spectrum_of_columns(one, units, request, form, part.name)
        if part.source_id is not None:
            raw.facts["source_id"] = raw.alias = part.source_id
        raw.number = number
        yield raw


def _parts(columns: Mapping[str, Any], request: Request, name: str) -> Iterator[_Part]:
    names = {column.lower(): column for column in columns}
    flux = find_columns(list(columns), request)["flux"]
    if _holds_arrays(columns[flux]):
        yield from _rows(columns, names, len(columns[flux]), name)
    elif "source_id" in names:
        yield from _grouped(columns, np.asarray(columns[names["source_id"]]))
    else:
        yield _Part(name, None, lambda: columns)


def _holds_arrays(values: Any) -> bool:
    return len(values) > 0 and np.ndim(values[0]) > 0


def _rows(columns: Mapping[str, Any], names: Mapping[str, str], count: int, name: str) -> Iterator[_Part]:
    """Yield one spectrum per row."""
    arrays = {column: values for column, values in columns.items() if _holds_arrays(values)}
    title = next((names[key] for key in ROW_NAMES if key in names), None)
    identity = names.get("source_id")
    for row in range(count):
        own = str(columns[title][row]).strip() if title is not None else ""
        own = own or (f"{name} row {row}" if count > 1 else name)
        source = str(columns[identity][row]) if identity is not None else None
        yield _Part(own, source, partial(_taken, arrays, row))


def _grouped(columns: Mapping[str, Any], identity: np.ndarray) -> Iterator[_Part]:
    """Yield one spectrum for each `source_id`, in the order of their first rows."""
    _, first, counts = np.unique(identity, return_index=True, return_counts=True)
    # Sorted once: to look for every star's rows among all would take the square of their number.
    order = np.argsort(identity, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    for k in np.argsort(first):
        star = str(identity[first[k]])
        yield _Part(star, star, partial(_taken, columns, order[starts[k] : starts[k + 1]]))


def _taken(columns: Mapping[str, Any], rows: Any) -> dict[str, Any]:
    return {name: values[rows] for name, values in columns.items()}


def is_table(hdus: Any) -> bool:
    """Return whether the file holds a table."""
    return any(columns_of(hdu) for hdu in hdus)


def read_table(hdus: Any, request: Request) -> Iterator[RawSpectrum]:
    """Yield the spectra of a FITS table: columns of pixels, of one star or of many, or rows with arrays."""
    hdu = _table_hdu(hdus, request)
    names = list(hdu.columns.names)
    header = header_of(hdus)
    name = star_name(header, request.source)
    header |= {key: card(hdu.header, key) for key in hdu.header if key}
    # Asked of the file once: each time astropy looks whether the column has to be scaled.
    columns = {column: hdu.data[column] for column in names}
    units = {column: hdu.columns[column].unit for column in names}
    at = names.index(find_columns(names, request)["wavelength"]) + 1
    others = notes_on_others(hdus, hdu, request)
    said = _Header.of(header, at)
    for raw in spectra_of_columns(columns, units, request, "table", name):
        raw.notes += others
        if raw.form == "table":
            said.tell(raw, header, request)
        yield raw


class _Header(NamedTuple):
    """What a header says of all rows: whether wavelengths are in air by their UCD, velocity frame, notes on it, facts."""

    in_air: bool
    frame: Frame
    to_observed: float
    notes: tuple[str, ...]
    facts: dict[str, str | float]

    @classmethod
    def of(cls, header: dict[str, Any], at: int) -> _Header:
        """Return it for the column of wavelengths `at`, counted from 1."""
        notes = list[str]()
        frame, to_observed = frame_of(header, notes)
        return cls(medium_of_ucd(header, at) == "air", frame, to_observed, tuple(notes), facts_of(header))

    def tell(self, raw: RawSpectrum, header: dict[str, Any], request: Request) -> None:
        """Put what the header says into one row."""
        if raw.medium is None and self.in_air:
            raw.medium = "air"
        set_medium(raw, header, request.source, request.options.medium)
        # Nobody asks for it where the user gave a resolution.
        if raw.fwhm is None and request.options.resolution is None:
            raw.fwhm = stated_fwhm(header, raw.wavelength, raw.fwhm_notes)
        raw.frame, raw.to_observed = self.frame, self.to_observed
        raw.notes += self.notes
        raw.facts |= self.facts
        set_site(raw, header)


def spectrum_tables(hdus: Any, request: Request) -> list[tuple[int, Any]]:
    """Return number and HDU of the tables with a wavelength and a flux."""
    return [
        (number, hdu)
        for number, hdu in enumerate(hdus)
        if columns_of(hdu) and holds_spectrum(list(hdu.columns.names), request)
    ]


def notes_on_others(hdus: Any, used: Any, request: Request) -> list[str]:
    """Return what to say of the tables that hold a spectrum and are not the one that is read."""
    if request.options.hdu is not None:
        return []
    return [
        f"HDU {number} {hdu.name} holds another spectrum; give it with --hdu {number}"
        for number, hdu in spectrum_tables(hdus, request)
        if hdu is not used
    ]


def _table_hdu(hdus: Any, request: Request) -> Any:
    """Return the table asked for, or the first with a wavelength and a flux."""
    if request.options.hdu is not None:
        hdu = chosen_hdu(hdus, request.options.hdu, request.source)
        if columns_of(hdu):
            return hdu
        raise DataError(f"{request.source}: HDU {request.options.hdu} is no table")
    found = spectrum_tables(hdus, request)
    if found:
        return found[0][1]
    there = [
        f"{number} {hdu.name} ({', '.join(hdu.columns.names[:12])})"
        for number, hdu in enumerate(hdus)
        if columns_of(hdu)
    ]
    raise DataError(
        f"{request.source}: no table has columns called like a wavelength and a flux; there are "
        f"{'; '.join(there[:8])}; say which with --columns wavelength=NAME,flux=NAME, and the table with --hdu"
    )
