"""An SQLite table of all runs in a folder, for looking up; the folders are the truth."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from specvit.errors import DataError, RunError
from specvit.runs.folder import CONFIG, PROVENANCE, RunFolder
from specvit.runs.summary import ALL, read_summary

Row = tuple[str | float | None, ...]

_SCHEMA = (
    """CREATE TABLE runs (
        name TEXT PRIMARY KEY, created TEXT, finished TEXT,
        fingerprint TEXT, specvit TEXT, git_commit TEXT, seconds REAL, job TEXT, target TEXT
    )""",
    """CREATE TABLE metrics (
        run TEXT, estimator TEXT, label TEXT, metric TEXT, value REAL, low REAL, high REAL,
        PRIMARY KEY (run, estimator, label, metric)
    )""",
)
#: Raised when the tables change; an index of another version is made anew from the folders.
_VERSION = 2


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
        with self._connection() as connection:
            return self._make(connection)

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs, newest first."""
        with self._connection() as connection:
            return [dict(row) for row in connection.execute("SELECT * FROM runs ORDER BY created DESC, name")]

    def metrics(self, run: str) -> list[dict[str, Any]]:
        """Return `estimator`, `label`, `metric`, `value`, `low`, `high` of one run, over all its test spectra."""
        query = "SELECT estimator, label, metric, value, low, high FROM metrics WHERE run = ? ORDER BY rowid"
        with self._connection() as connection:
            return [dict(row) for row in connection.execute(query, (run,))]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            # sqlite3's own context commits and does not close. Jobs that end together wait for each other.
            with closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
                connection.row_factory = sqlite3.Row
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version != _VERSION:
                    self._make(connection)
                yield connection
        except sqlite3.DatabaseError as error:
            raise RunError(
                f"{self.path}: {error}; the index holds nothing of its own, remove it and it is rebuilt"
            ) from error

    def _make(self, connection: sqlite3.Connection) -> list[str]:
        """Fill new tables from the folders, all in one transaction; return one line for each run left out."""
        connection.execute("BEGIN IMMEDIATE")
        for table in ("runs", "metrics"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        left_out = []
        for config in sorted(self.root.glob(f"*/{CONFIG}")):
            if (config.parent / PROVENANCE).is_file():
                try:
                    _enter(connection, RunFolder.open(config.parent))
                except DataError as error:
                    left_out.append(str(error))
        connection.commit()
        return left_out


def _enter(connection: sqlite3.Connection, run: RunFolder) -> None:
    row, scores = _rows(run)
    connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.execute("DELETE FROM metrics WHERE run = ?", (run.name,))
    connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?)", scores)


def _rows(run: RunFolder) -> tuple[Row, list[Row]]:
    """Return the rows of a run in the two tables; of a run without results only the first.

    Raises:
        DataError: if its provenance or summary does not hold what they are made of.
    """
    provenance = run.provenance
    machine = provenance["sessions"][-1]
    seconds = sum(stage["seconds"] for stage in provenance["stages"].values())
    dates = (provenance["created"], provenance["finished"], provenance["fingerprint"])
    row = (run.name, *dates, machine["specvit"], machine["git_commit"], seconds)
    if not run.summary:
        return (*row, None, None), []
    summary = read_summary(run)
    scores: list[Row] = [
        (run.name, name, label, metric, score.value, score.low, score.high)
        for name in summary.estimators
        for label, parts in summary.scores.get(name, {}).items()
        for metric, score in parts[ALL].items()
    ]
    return (*row, summary.job, summary.target), scores
