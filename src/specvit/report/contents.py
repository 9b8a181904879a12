"""A run folder, read and checked: all that figures, tables and pages are made of.

What may lie in the folder is written down in `specvit.runs.artefacts` and `specvit.runs.summary`; nothing here
computes a score.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specvit.errors import DataError
from specvit.report.checks import check_summary
from specvit.runs import (
    CellScores,
    Estimates,
    Examples,
    Explanation,
    Posteriors,
    RunFolder,
    StarBounds,
    StarTable,
    Summary,
    read_summary,
)
from specvit.runs.artefact import column
from specvit.runs.folder import MEND


@dataclass(frozen=True)
class RunContents:
    """The contents of one run folder.

    Args:
        name: name of the run.
        config: resolved configuration.
        provenance: as `RunFolder.provenance`.
        summary: the scores.
        test: labels, S/N and magnitudes of the test spectra.
        estimates: estimator -> what it says of them, in the order of the summary.
        bounds: Cramér-Rao bounds per star, or None if the run has none.
        posteriors: exact posteriors per star, or None if the run has none.
        cells: efficiency over the label plane, or None if the run has none.
        examples: example spectra, or None if the run has none.
        explain: what its network looks at, or None if the run has none.
    """

    name: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    summary: Summary
    test: StarTable
    estimates: dict[str, Estimates]
    bounds: StarBounds | None
    posteriors: Posteriors | None
    cells: CellScores | None
    examples: Examples | None
    explain: Explanation | None

    @property
    def target(self) -> str:
        """The label shown first."""
        return self.summary.target

    @property
    def truth(self) -> np.ndarray:
        """True values of the target, shape (N,)."""
        return self.test.truth(self.target)

    @property
    def names(self) -> list[str]:
        """The estimators of the target, in the order of the report."""
        return self.summary.estimating(self.target)

    def title(self, name: str) -> str:
        """Return what a reader calls an estimator."""
        return self.summary.estimators[name].title

    def predicted(self, name: str) -> np.ndarray:
        """Return the target as an estimator estimates it, shape (N,)."""
        return self.estimates[name].of(self.target)


def load_contents(folder: Path | str) -> RunContents:
    """Return the contents of a run folder.

    Raises:
        DataError: if there is no run, the run has no results yet, or a file does not hold what it must; names
            the file and the entry.
    """
    run = RunFolder.open(folder)
    config, provenance, summary = run.config, run.provenance, read_summary(run)
    check_summary(summary, f"{run.path}/summary.json")
    test = StarTable.read(run)
    ceiling, target = summary.ceiling, summary.target
    if target not in test.names:
        raise DataError(f"{run.path}/arrays/test.npz: no label '{target}'; it holds {', '.join(test.names)}")
    contents = RunContents(
        name=run.name,
        config=config,
        provenance=provenance,
        summary=summary,
        test=test,
        estimates={name: _estimates(run, name, summary, len(test)) for name in summary.estimators},
        bounds=StarBounds.read(run) if ceiling else None,
        posteriors=Posteriors.read(run) if ceiling and ceiling.exact else None,
        cells=CellScores.read(run) if CellScores.exists(run) else None,
        examples=Examples.read(run) if Examples.exists(run) else None,
        explain=Explanation.read(run) if Explanation.exists(run) else None,
    )
    _check_rows(run, contents)
    return contents


def _estimates(run: RunFolder, name: str, summary: Summary, spectra: int) -> Estimates:
    where = f"{run.path}/arrays/{Estimates.file(name)}.npz"
    estimates = Estimates.read(run, name)
    if len(estimates.mean) != spectra:
        raise DataError(f"{where}: {len(estimates.mean)} spectra, test.npz has {spectra}; {MEND}")
    for label in summary.scores.get(name, {}):
        if not estimates.knows(label):
            known = ", ".join(str(known) for known in estimates.names)
            raise DataError(f"{where}: no label '{label}'; it holds {known}")
    return estimates


def _check_sets(run: RunFolder, contents: RunContents) -> None:
    """Raise DataError unless the sets of free labels that the summary names are in the bounds."""
    ceiling, bounds = contents.summary.ceiling, contents.bounds
    if ceiling is None or bounds is None:
        return
    column(bounds.label_names, contents.target, f"{run.path}/arrays/bounds.npz")
    for free in ceiling.sets:
        if free.at >= len(bounds.sets):
            raise DataError(
                f"{run.path}/arrays/bounds.npz: no set {free.at} of free labels, which summary.json names; {MEND}"
            )


def _check_rows(run: RunFolder, contents: RunContents) -> None:
    """Raise DataError unless stars and estimators of every file are those of the others."""
    for artefact in (contents.bounds, contents.posteriors):
        if artefact is not None and artefact.rows.size and artefact.rows.max() >= len(contents.test):
            raise DataError(
                f"{run.path}/arrays/{artefact.file()}.npz: 'rows' names spectrum {artefact.rows.max()}, test.npz "
                f"has {len(contents.test)}; {MEND}"
            )
    _check_sets(run, contents)
    for name in contents.names if contents.cells is not None else ():
        assert contents.cells is not None
        contents.cells.of("precision", name)
