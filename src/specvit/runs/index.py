"""An SQLite table of all runs in a folder, for looking up; the folders are the truth."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from specvit.errors import DataError, RunError
from specvit.runs.folder import CONFIG, MEND, PROVENANCE, SUMMARY, RunFolder

Row = tuple[str | float | None, ...]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    name TEXT PRIMARY KEY, created TEXT, finished TEXT,
    fingerprint TEXT, specvit TEXT, git_commit TEXT, seconds REAL
);
CREATE TABLE IF NOT EXISTS metrics (
    run TEXT, model TEXT, metric TEXT, value REAL, low REAL, high REAL, PRIMARY KEY (run, model, metric)
);
"""


class RunIndex:
    """The index `ROOT/index.sqlite` of the runs in `root`."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.path = self.root / "index.sqlite"

    def update(self, run: RunFolder) -> None:
        """Enter one run, replacing its earlier entry.

        Raises:
            RunError: if the index cannot be written.
        """
        with self._connection() as connection:
            _enter(connection, run)

    def rebuild(self) -> list[str]:
        """Make the index anew from the folders and return one line for each run left out as damaged.

        Folders that are no runs are left out without a word.
        """
        left_out = []
        with self._connection() as connection:
            connection.execute("DELETE FROM runs")
            connection.execute("DELETE FROM metrics")
            for config in sorted(self.root.glob(f"*/{CONFIG}")):
                if (config.parent / PROVENANCE).is_file():
                    try:
                        _enter(connection, RunFolder.open(config.parent))
                    except DataError as error:
                        left_out.append(str(error))
        return left_out

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs, newest first."""
        with self._connection() as connection:
            return [dict(row) for row in connection.execute("SELECT * FROM runs ORDER BY created DESC, name")]

    def metrics(self, run: str) -> list[dict[str, Any]]:
        """Return `model`, `metric`, `value`, `low`, `high` of one run."""
        query = "SELECT model, metric, value, low, high FROM metrics WHERE run = ? ORDER BY rowid"
        with self._connection() as connection:
            return [dict(row) for row in connection.execute(query, (run,))]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
                connection.row_factory = sqlite3.Row
                connection.executescript(_SCHEMA)
                yield connection
        except sqlite3.DatabaseError as error:
            raise RunError(
                f"{self.path}: {error}; the index holds nothing of its own, remove it and it is rebuilt"
            ) from error


def _enter(connection: sqlite3.Connection, run: RunFolder) -> None:
    row, scores = _rows(run)
    connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    connection.execute("DELETE FROM metrics WHERE run = ?", (run.name,))
    connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", scores)


def _rows(run: RunFolder) -> tuple[Row, list[Row]]:
    """Return the rows of a run in the two tables.

    Raises:
        DataError: if its provenance or summary does not hold what they are made of.
    """
    provenance, summary = run.provenance, run.summary
    machine = provenance["sessions"][-1]
    seconds = sum(stage["seconds"] for stage in provenance["stages"].values())
    dates = (provenance["created"], provenance["finished"], provenance["fingerprint"])
    row = (run.name, *dates, machine["specvit"], machine["git_commit"], seconds)
    try:
        scores: list[Row] = [
            (run.name, model, metric, *(_number(score.get(part)) for part in ("value", "low", "high")))
            for model, results in summary.get("models", {}).items()
            for metric, score in results["overall"].items()
            if score is not None
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{run.path / SUMMARY}: an entry of 'models' is missing or of another kind "
            f"({type(error).__name__}: {error}); {MEND}"
        ) from error
    return row, scores


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
