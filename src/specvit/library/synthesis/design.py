"""Design points: the labels at which spectra are computed, from a CSV file or a Sobol sequence."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import qmc

from specvit.documents.opening import read_bytes
from specvit.errors import DataError, LabelError
from specvit.library.importers.nodes import Limits, check_limits
from specvit.spectra.labels import STELLAR_UNITS

REQUIRED = ("teff", "log_g", "m_h")


@dataclass(frozen=True)
class Design:
    """N points with all five stellar labels.

    Args:
        values: shape (N, 5), in the order of `STELLAR_UNITS`.
        origin: how the points were chosen, for the record.
    """

    values: np.ndarray
    origin: str

    names = tuple(STELLAR_UNITS)

    def __len__(self) -> int:
        return len(self.values)


def read_design(path: str | Path) -> Design:
    """Return the points in a CSV file with columns teff, log_g, m_h and, if given, alpha_m and c_m (else 0).

    Raises:
        DataError: if the file or a number cannot be read, or two rows are equal; names the line.
        LabelError: for an unknown or missing column.
    """
    path = Path(path)
    content = read_bytes(path, "CSV file of design points", "give one")
    try:
        rows = list(csv.DictReader(content.decode().splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV text file ({error}); give one of design points") from error
    columns = list(rows[0]) if rows else []
    unknown = [name for name in columns if name not in STELLAR_UNITS]
    missing = [name for name in REQUIRED if name not in columns]
    if unknown or missing:
        what = f"unknown column '{unknown[0]}'" if unknown else f"no column '{missing[0]}'"
        raise LabelError(f"{path.name}: {what}; needs {', '.join(REQUIRED)}, may have alpha_m, c_m")
    values = np.zeros((len(rows), len(STELLAR_UNITS)))
    for number, row in enumerate(rows):
        for i, name in enumerate(STELLAR_UNITS):
            try:
                values[number, i] = float(row[name]) if name in columns else 0.0
            except (TypeError, ValueError):
                values[number, i] = np.nan
            if not np.isfinite(values[number, i]):
                raise DataError(f"{path.name}: line {number + 2}: {name} = '{row[name]}' is no number")
    # Two equal points could stand on both sides of the held-out split.
    if len(np.unique(values, axis=0)) < len(values):
        raise DataError(f"{path.name}: two rows have the same labels; remove one")
    return Design(values, f"CSV file {path.name}")


def sobol_design(limits: Limits, count: int, seed: int = 0) -> Design:
    """Return `count` points of a scrambled Sobol sequence in `limits`; a label with low = high is fixed.

    Any prefix fills the box, so that a longer run continues a shorter one with the same seed.

    Args:
        limits: label -> (low, high); teff, log_g and m_h are needed, alpha_m and c_m default to 0.
        count: number of points.
        seed: seed of the scrambling.

    Raises:
        LabelError: if a limit is missing, unknown or empty.
        DataError: if count is not positive.
    """
    check_limits(limits)
    missing = [name for name in REQUIRED if name not in limits]
    if missing:
        raise LabelError(f"design: no limits for {missing[0]}; give {', '.join(REQUIRED)} as low:high")
    if count < 1:
        raise DataError(f"design: expected at least 1 point, got {count}")
    infinite = [name for name, pair in limits.items() if not np.isfinite(pair).all()]
    if infinite:
        raise LabelError(f"design: the limits of {infinite[0]} are not finite; give low:high")
    bounds = np.array([limits.get(name, (0.0, 0.0)) for name in STELLAR_UNITS])
    exponent = max(int(np.ceil(np.log2(count))), 1)
    # The sequence is balanced for powers of two only; SciPy draws those, and the rest is cut off.
    unit = qmc.Sobol(len(bounds), scramble=True, seed=seed).random_base2(exponent)[:count]
    return Design(bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) * unit, f"Sobol, seed {seed}, {count} points")
