"""A run folder, read and checked: all that figures, tables and pages are made of.

What must lie in the folder is written down in `specvit.runs.results`; nothing here computes a score.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specvit.documents.records import read_record
from specvit.errors import DataError
from specvit.report.checks import (
    REMEDY,
    check_ceiling,
    check_cells,
    check_config,
    check_shapes,
    check_summary,
    check_test,
    check_values,
)
from specvit.runs import RunFolder, Summary, check_arrays

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class RunContents:
    """The contents of one run folder.

    Args:
        name: name of the run.
        config: resolved configuration.
        provenance: as `RunFolder.provenance`.
        summary: the scores.
        test: labels, S/N and magnitudes of the test spectra, see `specvit.runs.results`.
        predictions: model -> arrays, in the order of the summary.
        ceiling: per-star ceilings, or None if the run has none.
        cells: efficiency over the label plane, or None if the run has none.
        examples: example spectra, or None if the run has none.
        explain: what its network looks at, or None if the run has none.
    """

    name: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    summary: Summary
    test: Arrays
    predictions: dict[str, Arrays]
    ceiling: Arrays | None
    cells: Arrays | None
    examples: Arrays | None
    explain: Arrays | None

    @property
    def truth(self) -> np.ndarray:
        """True values of the target, shape (N,)."""
        return self.test["labels"][:, _column(self.test["label_names"], self.summary.target, "test.npz")]

    def predicted(self, model: str) -> np.ndarray:
        """Return the target as `model` estimates it, shape (N,)."""
        arrays = self.predictions[model]
        return arrays["mean"][:, _column(arrays["names"], self.summary.target, f"predictions_{model}.npz")]


def load_contents(folder: Path | str) -> RunContents:
    """Return the contents of a run folder.

    Raises:
        DataError: if there is no run, the run has no results yet, or a file does not hold what it must; names
            the file and the entry.
    """
    run = RunFolder.open(folder)
    config, provenance = run.config, run.provenance
    check_config(config, f"{run.path}/config.toml")
    summary = _summary(run)
    test = _arrays(run, "test", "test")
    check_test(test, f"{run.path}/arrays/test.npz")
    _column(test["label_names"], summary.target, f"{run.path}/arrays/test.npz")
    return RunContents(
        name=run.name,
        config=config,
        provenance=provenance,
        summary=summary,
        test=test,
        predictions={model: _predictions(run, model, summary.target, test) for model in summary.models},
        ceiling=_ceiling(run, len(test["snr"])) if summary.ceiling else None,
        cells=_cells(run, summary) if run.has_arrays("cells") else None,
        examples=_examples(run) if run.has_arrays("examples") else None,
        explain=_explain(run) if run.has_arrays("explain") else None,
    )


def _summary(run: RunFolder) -> Summary:
    values = run.summary
    if not values:
        done = ", ".join(run.stages) or "none"
        raise DataError(
            f"{run.path}: no results yet (finished stages: {done}); start the same run again to go on"
        )
    summary = read_record(Summary, values, f"{run.path}/summary.json", REMEDY)
    check_summary(summary, f"{run.path}/summary.json")
    return summary


def _predictions(run: RunFolder, model: str, target: str, test: Arrays) -> Arrays:
    where = f"{run.path}/arrays/predictions_{model}.npz"
    arrays = _arrays(run, f"predictions_{model}", "predictions")
    if len(arrays["mean"]) != len(test["labels"]):
        raise DataError(
            f"{where}: {len(arrays['mean'])} spectra, test.npz has {len(test['labels'])}; "
            "start the run again with --fresh"
        )
    check_shapes("predictions", arrays, where)
    if not np.isfinite(arrays["mean"][:, _column(arrays["names"], target, where)]).any():
        raise DataError(f"{where}: 'mean' holds no finite {target}; the fit failed, run again with --fresh")
    return arrays


def _ceiling(run: RunFolder, spectra: int) -> Arrays:
    arrays = _arrays(run, "ceiling", "ceiling")
    check_ceiling(arrays, f"{run.path}/arrays/ceiling.npz", spectra)
    return arrays


def _cells(run: RunFolder, summary: Summary) -> Arrays:
    arrays = _arrays(run, "cells", "cells")
    check_cells(arrays, f"{run.path}/arrays/cells.npz", summary.models)
    return arrays


def _examples(run: RunFolder) -> Arrays:
    arrays = _arrays(run, "examples", "examples")
    check_shapes("examples", arrays, f"{run.path}/arrays/examples.npz")
    return arrays


def _explain(run: RunFolder) -> Arrays:
    arrays = _arrays(run, "explain", "explain")
    check_shapes("explain", arrays, f"{run.path}/arrays/explain.npz")
    return arrays


def _arrays(run: RunFolder, name: str, kind: str) -> Arrays:
    arrays = run.read_arrays(name)
    where = f"{run.path}/arrays/{name}.npz"
    check_arrays(kind, arrays, where)
    check_values(arrays, where)
    return arrays


def _column(names: np.ndarray, wanted: str, where: str) -> int:
    known = [str(name) for name in names]
    if wanted not in known:
        raise DataError(f"{where}: no label '{wanted}'; it holds {', '.join(known)}")
    return known.index(wanted)
