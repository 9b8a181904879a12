"""A run folder, read and checked: all that figures, tables and pages are made of.

What must lie in the folder is written down in `specvit.runs.results`; nothing here computes a score.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from specvit.errors import DataError
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
    summary = _summary(run)
    test = _arrays(run, "test", "test")
    predictions = {model: _arrays(run, f"predictions_{model}", "predictions") for model in summary.models}
    for model, arrays in predictions.items():
        if len(arrays["mean"]) != len(test["labels"]):
            raise DataError(
                f"{run.path}/arrays/predictions_{model}.npz: {len(arrays['mean'])} spectra, "
                f"test.npz has {len(test['labels'])}; remove both and run again"
            )
    return RunContents(
        name=run.name,
        config=run.config,
        provenance=run.provenance,
        summary=summary,
        test=test,
        predictions=predictions,
        ceiling=_arrays(run, "ceiling", "ceiling") if summary.ceiling else None,
        cells=_arrays(run, "cells", "cells") if run.has_arrays("cells") else None,
        examples=_arrays(run, "examples", "examples") if run.has_arrays("examples") else None,
    )


def _summary(run: RunFolder) -> Summary:
    values = run.summary
    if not values:
        done = ", ".join(run.stages) or "none"
        raise DataError(
            f"{run.path}: no results yet (finished stages: {done}); start the same run again to go on"
        )
    try:
        return Summary.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise DataError(f"{run.path}/summary.json: {where}: {problem['msg']}") from None


def _arrays(run: RunFolder, name: str, kind: str) -> Arrays:
    arrays = run.read_arrays(name)
    check_arrays(kind, arrays, f"{run.path}/arrays/{name}.npz")
    return arrays


def _column(names: np.ndarray, wanted: str, where: str) -> int:
    known = [str(name) for name in names]
    if wanted not in known:
        raise DataError(f"{where}: no label '{wanted}'; it holds {', '.join(known)}")
    return known.index(wanted)
