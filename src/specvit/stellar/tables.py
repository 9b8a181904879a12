"""What was found as a table: CSV, ECSV, FITS or JSON, by the name of the file."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import specvit
from specvit.errors import ConfigError, import_optional
from specvit.runs.atomic import write_atomic
from specvit.stellar.parameters import Refusal, StellarParameters

#: Endings of the names, and what astropy calls the forms it writes.
FORMS = (".csv", ".ecsv", ".fits", ".json")
#: Column -> unit, where there is one.
_UNITS = {"teff": "K", "rv": "km / s", "log_g": "dex", "m_h": "dex", "alpha_m": "dex", "c_m": "dex"}

Found = Sequence[StellarParameters | Refusal]


def check_table_name(path: Path) -> None:
    """Raise ConfigError if the ending of the name is of no form that is written, or it is a folder."""
    if path.suffix.lower() not in FORMS:
        raise ConfigError(f"--out {path}: expected a name that ends in {', '.join(FORMS)}")
    if path.is_dir():
        raise ConfigError(f"--out {path}: is a folder; name a file in it")


def rows_of(found: Found, provenance: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return one row per spectrum, all with the same columns; a refused one has its reason and no numbers."""
    fitted = next((one.row() for one in found if isinstance(one, StellarParameters)), {})
    empty = {key: math.nan if isinstance(value, int | float) else "" for key, value in fitted.items()}
    rows = []
    for one in found:
        if isinstance(one, Refusal):
            row = empty | {"name": one.name, "file": one.source, "flags": "REFUSED", "reason": one.reason}
        else:
            row = one.row() | {"reason": ""}
        rows.append(row | (provenance or {}))
    return rows


def write_found(found: Found, path: Path, provenance: dict[str, Any]) -> None:
    """Write what was found to `path`, atomically; its ending says how.

    Raises:
        ConfigError: for another ending than `FORMS`.
        RunError: if it cannot be written.
    """
    check_table_name(path)
    kind = path.suffix.lower()
    if kind == ".json":
        write_atomic(path, json.dumps(records_of(found, provenance), indent=1) + "\n")
    elif kind == ".csv":
        rows = rows_of(found, provenance)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows({key: _short(value) for key, value in row.items()} for row in rows)
        write_atomic(path, text.getvalue())
    else:
        write_atomic(path, _table_bytes(rows_of(found), provenance, kind))


def records_of(found: Found, provenance: dict[str, Any]) -> dict[str, Any]:
    """Return everything that was found, ready for JSON: what is not finite is null."""
    stars = [
        one.record()
        if isinstance(one, StellarParameters)
        else {"name": one.name, "file": one.source, "flags": ["REFUSED"], "reason": one.reason}
        for one in found
    ]
    cleaned: dict[str, Any] = _finite({"provenance": provenance, "stars": stars})
    return cleaned


def _table_bytes(rows: list[dict[str, Any]], provenance: dict[str, Any], kind: str) -> bytes:
    table_module = import_optional("astropy.table", None, f"writing {kind} files")
    if kind == ".fits":
        rows = [{key: _in_ascii(value) for key, value in row.items()} for row in rows]
    table = table_module.Table(rows=rows) if rows else table_module.Table()
    for name in table.colnames:
        unit = _UNITS.get(name.removesuffix("_err").removesuffix("_total"))
        # FITS has no dex.
        if unit is not None and not (unit == "dex" and kind == ".fits"):
            table[name].unit = unit
    table.meta.update(
        {key[:8].upper() if kind == ".fits" else key: value for key, value in provenance.items()}
    )
    if kind == ".fits":
        stream = io.BytesIO()
        table.write(stream, format="fits")
        return stream.getvalue()
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    return text.getvalue().encode()


def provenance_of(library: str, digest: str) -> dict[str, Any]:
    """Return what a table says of where it is from."""
    return {"specvit": specvit.__version__, "library": library, "emulator": digest}


def _short(value: Any) -> Any:
    return f"{value:.7g}" if isinstance(value, float) else value


def _in_ascii(value: Any) -> Any:
    """Return a value as FITS can hold it: texts in ASCII."""
    if not isinstance(value, str):
        return value
    return value.replace("Å", "Angstrom").encode("ascii", "backslashreplace").decode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
