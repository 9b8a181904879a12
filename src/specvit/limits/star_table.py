"""One row per star and magnitude: what a forecast says of each, as plain columns. Owns their names."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from specvit.limits.forecast import Forecast
from specvit.runs.atomic import write_atomic


def star_columns(
    mag: float, forecast: Forecast, names: Sequence[str], variances: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Return the columns of N stars under one forecast, name -> shape (N,).

    Columns: `mag`, the true labels, `snr`, `sigma_min` (label units), `schur_decay`, one `r2_max_NAME` per
    entry of `variances`, `condition` (unit diagonal), `condition_unscaled`, and the error correlations
    `correlation_A_B` of every pair of free labels (NaN where the labels are degenerate).

    Args:
        mag: magnitude of all stars.
        forecast: the bounds.
        names: names of the columns of `forecast.labels`.
        variances: prior variances of the label by name, see `variance_choices`.
    """
    columns = {"mag": np.full(len(forecast.labels), float(mag))}
    columns |= {name: forecast.labels[:, k].numpy() for k, name in enumerate(names)}
    columns |= {
        "snr": forecast.snr.numpy(),
        "sigma_min": forecast.sigma_min.numpy(),
        "schur_decay": forecast.schur_decay.numpy(),
    }
    columns |= {f"r2_max_{name}": forecast.r2_max(value).numpy() for name, value in variances.items()}
    columns |= {
        "condition": forecast.condition.numpy(),
        "condition_unscaled": forecast.condition_unscaled.numpy(),
    }
    correlation = forecast.correlation.numpy()
    for (i, first), (j, second) in combinations(enumerate(forecast.free.labels), 2):
        columns[f"correlation_{first}_{second}"] = correlation[:, i, j]
    return columns


def write_star_table(tables: Sequence[Mapping[str, np.ndarray]], path: Path) -> int:
    """Write tables of equal columns below each other as one CSV file, all or nothing; return the rows.

    Raises:
        RunError: if the file cannot be written; an older file then stays as it was.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(tables[0])
    for table in tables:
        rows = np.stack(list(table.values()), axis=1)
        writer.writerows([f"{value:.8g}" for value in row] for row in rows.tolist())
    # In memory first: a table is megabytes, and half a file would look like a smaller sweep.
    write_atomic(path, text.getvalue())
    return sum(len(table["mag"]) for table in tables)
