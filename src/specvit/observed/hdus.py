"""Open FITS files: cards that cannot be parsed, columns of tables, and which HDU is meant. Knows no form."""

from __future__ import annotations

from typing import Any

from specvit.errors import DataError


def card(header: Any, key: str, default: Any = None) -> Any:
    """Return a value of a FITS header, the default if it is missing or cannot be parsed."""
    try:
        value = header.get(key, default)
    except Exception:  # a card that no standard allows says nothing
        return default
    return default if type(value).__name__ == "Undefined" else value


def header_of(hdus: Any) -> dict[str, Any]:
    """Return the primary header, without what cannot be parsed."""
    header = hdus[0].header
    return {key: card(header, key) for key in header if key}


def columns_of(hdu: Any) -> dict[str, str]:
    """Return lower-case name -> name of a table's columns, {} for an image."""
    return {name.lower(): name for name in hdu.columns.names} if hasattr(hdu, "columns") else {}


def table_with(hdus: Any, *names: str) -> Any:
    """Return the first table with all of these columns (lower case), or None."""
    return next((hdu for hdu in hdus if set(names) <= set(columns_of(hdu))), None)


def chosen_hdu(hdus: Any, wanted: str, source: str) -> Any:
    """Return the HDU of a name or number; DataError lists what there is."""
    for number, hdu in enumerate(hdus):
        if wanted == str(number) or wanted.upper() == hdu.name.upper():
            return hdu
    there = ", ".join(f"{k} {hdu.name}" for k, hdu in enumerate(hdus))
    raise DataError(f"{source}: has no HDU {wanted}; there are {there}")
