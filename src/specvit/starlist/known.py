"""Stars of known parameters from a table of files: what a model error is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from specvit.errors import DataError
from specvit.observed import ReadOptions
from specvit.starlist.inputs import inputs_of_table
from specvit.starlist.work import targets_of
from specvit.stellar import Refusal
from specvit.stellar.calibration import KnownStar

#: Label -> names of its column.
LABEL_COLUMNS = {
    "teff": ("teff",),
    "log_g": ("log_g", "logg"),
    "m_h": ("m_h", "mh", "feh", "fe_h"),
    "alpha_m": ("alpha_m",),
}
NEEDED = ("teff", "log_g")
GROUP_COLUMNS = ("group", "survey", "instrument")


def known_stars(table: Path, options: ReadOptions, refuse: Callable[[str], None]) -> list[KnownStar]:
    """Return the stars of a table with the columns file, teff, log_g and, if there are, m_h and survey.

    Args:
        table: CSV or ECSV; further columns say how files are read, as for `specvit predict`.
        options: of all files.
        refuse: told why a row is left out.

    Raises:
        DataError: if it is no such table, or no row can be used.
    """
    found = []
    for number, (row, given) in enumerate(inputs_of_table(table, options), 1):
        try:
            labels = _labels(row)
        except ValueError as error:
            refuse(f"{table}, row {number}: {error}")
            continue
        target = next(iter(targets_of(given, tuple(LABEL_COLUMNS)))).found
        if isinstance(target, Refusal):
            refuse(target.reason)
            continue
        group = next((row[name] for name in GROUP_COLUMNS if row.get(name)), "")
        found.append(KnownStar(target, labels, group))
    if not found:
        raise DataError(f"{table}: no row names a spectrum that can be read and its teff and log_g")
    return found


def _labels(row: Mapping[str, str]) -> dict[str, float]:
    labels = {}
    for label, names in LABEL_COLUMNS.items():
        text = next((row[name].strip() for name in names if (row.get(name) or "").strip()), "")
        if text:
            labels[label] = float(text)
        elif label in NEEDED:
            raise ValueError(f"no {label}; it needs teff and log_g")
    if not all(math.isfinite(value) for value in labels.values()):
        raise ValueError("a label is not finite")
    return labels
