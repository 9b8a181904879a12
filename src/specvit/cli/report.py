"""`specvit report`: the page, figures and tables of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from specvit.cli.terminal import say, show, show_json


def report(
    run: str = typer.Argument("", help="Run folder, or a run's name; the newest finished run if left out."),
    folder: Path = typer.Option(Path("runs"), help="Folder that holds the runs."),
    list_runs: bool = typer.Option(False, "--list", help="List the runs of the folder instead."),
    as_json: bool = typer.Option(False, "--json", help="Print the outcome as JSON."),
) -> None:
    """Turn a run folder into one HTML page, figures and tables.

    Reads the folder only: nothing is fitted or simulated again.
    """
    if list_runs:
        _list(folder, as_json)
        return
    from specvit.report import write_report

    page = write_report(find_run(run, folder))
    files = sorted(str(p) for kind in ("figures", "tables") for p in (page.parent / kind).iterdir())
    if as_json:
        show_json({"report": str(page), "files": files})
    else:
        show(f"{page}  (open it in a browser; {len(files)} figure and table files beside it)")


def find_run(run: str, folder: Path) -> Path:
    """Return the folder of a run given by path or name; for an empty name, the newest finished run's."""
    from specvit.errors import DataError

    if run:
        path = Path(run) if Path(run).is_dir() or "/" in run else folder / run
        if not path.is_dir():
            raise DataError(
                f"{path}: no such run; `specvit report --list --folder DIR` shows the runs of a folder"
            )
        return path
    finished: list[str] = [entry["name"] for entry in _entries(folder) if entry["finished"]]
    if not finished:
        raise DataError(f"{folder}: no finished run; make one with `specvit run`, or name a run folder")
    return folder / finished[0]


def _entries(folder: Path) -> list[dict[str, Any]]:
    from specvit.errors import DataError
    from specvit.runs import RunIndex

    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; make a run with `specvit run`, or name another with --folder"
        )
    index = RunIndex(folder)
    # The folders are the truth: runs may have been moved or deleted since the index was written.
    for problem in index.rebuild():
        say(f"left out: {problem}")
    return [
        {**run, "scores": [row for row in index.metrics(run["name"]) if _is_shown(row, run["target"])]}
        for run in index.runs()
    ]


def _list(folder: Path, as_json: bool) -> None:
    entries = _entries(folder)
    if as_json:
        show_json(entries)
        return
    for entry in entries:
        state = "finished" if entry["finished"] else "unfinished"
        scores = ", ".join(
            f"{row['estimator']} R² {row['value']:.3f}" for row in entry["scores"] if row["value"] is not None
        )
        show(f"{entry['name']:<20} {entry['created'][:16]}  {state:<10}  {entry['seconds']:8.0f} s  {scores}")
    if not entries:
        show(f"{folder}: no runs yet")


def _is_shown(row: dict[str, Any], target: str | None) -> bool:
    return bool(row["metric"] == "r2" and row["label"] == target)
