"""An SQLite table of all runs in a folder, for looking up; the folders are the truth."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from specvit.errors import DataError, RunError
from specvit.runs.folder import CONFIG, RunFolder

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

    def rebuild(self) -> int:
        """Make the index anew from the folders and return how many runs it holds.

        Folders that are no runs, or damaged ones, are left out.
        """
        with self._connection() as connection:
            connection.execute("DELETE FROM runs")
            connection.execute("DELETE FROM metrics")
            count = 0
            for config in sorted(self.root.glob(f"*/{CONFIG}")):
                try:
                    _enter(connection, RunFolder.open(config.parent))
                except DataError:
                    continue
                count += 1
            return count

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
    provenance, summary = run.provenance, run.summary
    machine = provenance["sessions"][-1]
    seconds = sum(stage["seconds"] for stage in provenance["stages"].values())
    connection.execute(
        "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            run.name,
            provenance["created"],
            provenance["finished"],
            provenance["fingerprint"],
            machine["specvit"],
            machine["git_commit"],
            seconds,
        ),
    )
    connection.execute("DELETE FROM metrics WHERE run = ?", (run.name,))
    for model, results in summary.get("models", {}).items():
        for metric, score in results["overall"].items():
            if score is not None:
                row = (run.name, model, metric, score["value"], score.get("low"), score.get("high"))
                connection.execute("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", row)
