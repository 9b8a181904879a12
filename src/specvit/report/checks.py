"""Whether the parts of a run folder fit together: shapes of arrays, and the scores that a page quotes.

Files are checked one by one by `specvit.runs`; here it is said which entry does not go with the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from specvit.documents import dump_toml
from specvit.documents.records import read_record
from specvit.errors import ConfigError, DataError
from specvit.runs import Summary

Arrays = Mapping[str, np.ndarray]

#: kind -> array -> its axes, one letter each; arrays that may be absent are among them. See `runs.results`.
SHAPES: dict[str, dict[str, str]] = {
    "test": {"label_names": "P", "labels": "NP", "snr": "N", "mag": "N"},
    "predictions": {"names": "Q", "mean": "NQ", "std": "NQ"},
    "ceiling": {
        **dict.fromkeys(("rows", "snr", "crlb_3", "r2_max_3", "schur_3"), "M"),
        **dict.fromkeys(("crlb_5", "r2_max_5", "schur_5"), "M"),
        **dict.fromkeys(("bayes_mean", "bayes_var"), "B"),
    },
    "cells": {"axes": "T", "stars": "KGF", "ceiling": "KGF", "exact": "", "least_stars": ""},
    "examples": {
        "wavelength": "L",
        **dict.fromkeys(("flux", "clean", "sigma", "jacobian"), "SL"),
        **{"label_names": "P", "labels": "SP", "snr": "S", "mag": "S"},
    },
    "explain": {
        **{"model": "", "target": "", "gap": "", "snr": "E", "wavelength": "L", "window": "L"},
        **{"windows": "W", "ranges": "R", "stars": "R", "quantities": "Q"},
        **{"density": "QRL", "share": "QRWI", "likeness": "QR", "blocks": "DL"},
    },
}

#: Kinds of values (`dtype.kind`, and in words) of the arrays that do not hold numbers.
TEXT, WHOLE, TRUTH, NUMBERS = (
    ("U", "text"),
    ("iu", "whole numbers"),
    ("b", "true or false"),
    ("iuf", "numbers"),
)
KINDS = {
    **dict.fromkeys(("label_names", "names", "axes", "model", "target"), TEXT),
    **dict.fromkeys(("windows", "ranges", "quantities"), TEXT),
    **dict.fromkeys(("rows", "stars", "window", "least_stars"), WHOLE),
    "exact": TRUTH,
}
#: Arrays in which a number may be missing (NaN or infinite): estimates that failed, bounds that do not exist,
#: cells and groups of stars without any.
WITH_GAPS = re.compile(
    r"mean|std|quantiles|(crlb|r2_max|schur|bayes)_.*|ceiling|(precision|efficiency)_.*|"
    r"density|share|likeness|gap|blocks"
)
#: Arrays that increase strictly.
AXES = ("first_edges", "second_edges", "snr_edges", "wavelength")

REMEDY = "the folder was changed by hand or written by another version; run again with --fresh"


class _Told(BaseModel):
    """A section of the configuration of which a page quotes entries."""

    model_config = ConfigDict(extra="allow")


class _Named(_Told):
    name: str


class _Simulate(_Told):
    prior: str
    noise_level: float


class _Config(_Told):
    library: _Named
    instrument: _Named
    simulate: _Simulate


def check_config(config: Mapping[str, Any], where: str) -> None:
    """Raise DataError unless the configuration has the entries that a page quotes, and can be printed."""
    try:
        dump_toml(config)
    except ConfigError as error:
        raise DataError(f"{where}: {error}; {REMEDY}") from error
    read_record(_Config, config, where, REMEDY)


def check_values(arrays: Arrays, where: str) -> None:
    """Raise DataError naming the first array that holds another kind of values than it must."""
    for name, values in arrays.items():
        kinds, wanted = KINDS.get(name, NUMBERS)
        if values.dtype.kind not in kinds:
            raise DataError(f"{where}: '{name}' is {values.dtype}, expected {wanted}; {REMEDY}")
        if kinds == NUMBERS[0] and not WITH_GAPS.fullmatch(name) and not np.isfinite(values).all():
            raise DataError(f"{where}: '{name}' holds values that are not finite; {REMEDY}")
        if name in AXES and (values.ndim != 1 or len(values) < 2 or (np.diff(values) <= 0).any()):
            raise DataError(f"{where}: '{name}' does not increase strictly; {REMEDY}")


def check_shapes(kind: str, arrays: Arrays, where: str, sizes: Mapping[str, int] | None = None) -> None:
    """Raise DataError naming the first array whose shape does not go with those before it.

    Args:
        kind: of the file, a key of `SHAPES`.
        arrays: its content.
        where: its path.
        sizes: lengths of axes that are known beforehand.
    """
    known = dict(sizes or {})
    for name, axes in SHAPES[kind].items():
        if name not in arrays:
            continue
        shape = arrays[name].shape
        expected = tuple(known.get(axis, axis) for axis in axes)
        if len(shape) != len(axes) or any(
            known.setdefault(a, n) != n for a, n in zip(axes, shape, strict=True)
        ):
            wanted = ", ".join(map(str, expected))
            raise DataError(f"{where}: '{name}' has shape {shape}, expected ({wanted}); {REMEDY}")


def check_test(arrays: Arrays, where: str) -> None:
    """Raise DataError unless the test spectra have labels and a positive S/N each."""
    check_shapes("test", arrays, where)
    bad = int((~(np.isfinite(arrays["snr"]) & (arrays["snr"] > 0))).sum())
    if bad:
        raise DataError(f"{where}: 'snr' of {bad} spectra is not a positive number; {REMEDY}")


def check_ceiling(arrays: Arrays, where: str, spectra: int) -> None:
    """Raise DataError unless every star of the ceiling is one of the test spectra."""
    check_shapes("ceiling", arrays, where)
    rows = arrays["rows"]
    if rows.size and not (rows.min() >= 0 and rows.max() < spectra):
        raise DataError(f"{where}: 'rows' names spectrum {rows.max()}, test.npz has {spectra}; {REMEDY}")


def check_cells(arrays: Arrays, where: str, models: Iterable[str]) -> None:
    """Raise DataError unless every model has its scores in cells that fit the edges."""
    edges = {"K": "snr_edges", "G": "second_edges", "F": "first_edges"}
    shape = tuple(len(arrays[name]) - 1 for name in edges.values())
    check_shapes("cells", arrays, where, dict(zip(edges, shape, strict=True)) | {"T": 2})
    for model in models:
        for kind in ("precision", "efficiency"):
            for name in (f"{kind}_{model}{ending}" for ending in ("", "_low", "_high")):
                if name not in arrays or arrays[name].shape != shape:
                    raise DataError(f"{where}: no '{name}' of shape {shape}; {REMEDY}")


def check_summary(summary: Summary, where: str) -> None:
    """Raise DataError naming the first score that a page quotes and the summary lacks."""
    newest = Summary.model_fields["schema_version"].default
    if summary.schema_version > newest:
        raise DataError(
            f"{where}: schema_version {summary.schema_version} is newer than this specvit knows ({newest}); "
            "upgrade it: pip install --upgrade specvit"
        )
    wanted: list[tuple[str, Mapping[str, Any], tuple[str, ...]]] = [("counts", summary.counts, ("test",))]
    against = () if summary.ceiling is None else ("efficiency", "headroom")
    expected = any("efficiency_expected" in model.bins for model in summary.models.values())
    binned = (
        "r2",
        "mae",
        "rmse",
        "residual_50",
        "residual_68",
        *(("efficiency_expected",) if expected else ()),
    )
    for name, model in summary.models.items():
        leak = ("headroom",) if model.above_ceiling else ()
        wanted.append((f"models.{name}.overall", model.overall, ("r2", "mae", *against, *leak)))
        wanted.append((f"models.{name}.bins", model.bins, (*binned, *against)))
        if not isinstance(model.facts.get(summary.target, {}), Mapping):
            raise DataError(f"{where}: 'models.{name}.facts.{summary.target}' holds no entries; {REMEDY}")
    if summary.ceiling is not None:
        bounds = ("r2_max_3", "r2_max_5", "sigma_min_5")
        wanted.append(("ceiling.overall", summary.ceiling.overall, bounds))
        wanted.append(("ceiling.bins", summary.ceiling.bins, bounds))
        wanted.append(("ceiling.labels", summary.ceiling.labels, ("5",)))
    if not summary.models:
        raise DataError(f"{where}: 'models' is empty, so there is nothing to report; {REMEDY}")
    for place, entries, keys in wanted:
        for key in keys:
            if key not in entries:
                raise DataError(f"{where}: no '{place}.{key}'; {REMEDY}")
