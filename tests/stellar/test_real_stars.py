"""The benchmark stars that are here come out near their known log g; skipped where there are no real spectra."""

import csv
from pathlib import Path

import numpy as np
import pytest

from specvit.observed import read_spectra
from specvit.stellar import StarFitter

FOLDER = next(
    (parent / "shared/data/real" for parent in Path(__file__).resolve().parents
     if (parent / "shared/data/real/manifest.csv").exists()),
    None,
)  # fmt: skip


@pytest.mark.skipif(FOLDER is None, reason="there are no real spectra here")
def test_benchmark_stars_come_out_near_their_log_g():
    with (FOLDER / "manifest.csv").open(encoding="utf-8") as stream:
        rows = [
            row for row in csv.DictReader(stream) if row["gbs_v3"] == "True" and "STELIB" in row["instrument"]
        ]
    rows = [row for row in rows if float(row["teff"]) < 6000]
    found = StarFitter().fit([read_spectra(FOLDER / row["file"])[0] for row in rows])
    off = np.array(
        [star.labels["log_g"] - float(row["logg"]) for (star, _), row in zip(found, rows, strict=True)]
    )
    errors = np.array([star.total_errors["log_g"] for star, _ in found])
    # What docs/predict.md promises of all benchmark stars, on the five of one kind.
    assert np.median(np.abs(off)) < 0.3
    assert np.median(np.abs(off) / errors) < 1
