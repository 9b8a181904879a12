"""One run on disk: what was asked, what was done, what came out.

    NAME/config.toml      the resolved configuration
    NAME/provenance.json  versions, machine, command, date; seconds and record of every finished stage
    NAME/metrics.jsonl    append-only log, one JSON object per line
    NAME/summary.json     the results
    NAME/arrays/*.npz     what figures are drawn from
    NAME/models/          fitted estimators

Every file but the log is replaced whole, so a killed job is continued after its last finished stage. What the
results mean is agreed in `artefacts` and `summary`, between the jobs that write them and `report`, which reads them.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from specvit.documents.npz import read_npz
from specvit.documents.opening import is_there, read_bytes
from specvit.documents.records import read_json
from specvit.documents.toml import dump_toml
from specvit.errors import DataError, RunError
from specvit.runs.atomic import disk_errors, write_atomic, write_atomic_folder
from specvit.runs.identity import RESULTS, content_digest
from specvit.runs.provenance import describe_machine, now, provenance_problem

CONFIG, PROVENANCE, SUMMARY, LOG = "config.toml", "provenance.json", "summary.json", "metrics.jsonl"

#: A stage that counts as finished is not done again, whatever became of its files.
MEND = "start the run again with --fresh"


class RunFolder:
    """An existing run folder, open for reading and writing. Make one with `create`, find one with `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(
        cls,
        root: Path | str,
        name: str,
        config: Mapping[str, Any],
        *,
        identity: Mapping[str, Any] | None = None,
        fresh: bool = False,
    ) -> RunFolder:
        """Return the run of these inputs: the existing one, to be continued, or a new folder.

        A folder of that name that is another run, or whose results another version counts otherwise, is left
        alone; `name-2`, `name-3`, ... are tried in turn.

        Args:
            root: the folder that holds runs; made if missing.
            name: wanted name of the folder.
            config: resolved configuration as plain values (`Config.to_dict()`).
            identity: all that the results depend on, JSON-ready, files by the digest of their content; None takes
                the configuration without its section `run`.
            fresh: start over in a new folder even if there is a run of the same configuration.

        Raises:
            RunError: if `root` cannot be written.
        """
        root = Path(root)
        inputs = {k: v for k, v in config.items() if k != "run"} if identity is None else identity
        fingerprint = content_digest({"results": RESULTS, "inputs": inputs})
        number = 1
        while True:
            path = root / (name if number == 1 else f"{name}-{number}")
            if not path.exists():
                # If another process was first, the next round looks at what it made.
                if _found(path, config, inputs, fingerprint):
                    return cls(path)
            elif (
                not fresh
                and (path / CONFIG).is_file()
                and (path / PROVENANCE).is_file()
                and cls(path).provenance.get("fingerprint") == fingerprint
            ):
                run = cls(path)
                run._update_provenance(sessions=[*run.provenance["sessions"], describe_machine()])
                return run
            else:
                number += 1

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Return an existing run.

        Raises:
            AccessError: if the system does not say whether there is one.
            DataError: if there is no run at `path`.
        """
        path = Path(path)
        if not all(is_there(path / name, "file of a run") for name in (CONFIG, PROVENANCE)):
            state = "is not a run folder" if path.is_dir() else "does not exist"
            raise DataError(f"{path} {state} (expected a folder with {CONFIG} and {PROVENANCE})")
        return cls(path)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration the run was created with."""
        try:
            return tomllib.loads(self._read(CONFIG))
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"{self.path / CONFIG} is damaged: {error}; {MEND}") from error

    @property
    def provenance(self) -> dict[str, Any]:
        """`fingerprint` of `inputs`, `created`, `sessions` (machine and command of each start), `stages`, `finished`."""
        found = self._read_json(PROVENANCE)
        if problem := provenance_problem(found):
            raise DataError(f"{self.path / PROVENANCE}: {problem}; {MEND}")
        return found

    @property
    def summary(self) -> dict[str, Any]:
        """The results; empty before the first are written."""
        return self._read_json(SUMMARY) if (self.path / SUMMARY).exists() else {}

    @property
    def finished(self) -> bool:
        """Whether the job came to its end."""
        return bool(self.provenance.get("finished"))

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """Finished stages by name: `seconds`, `finished` (date) and what the stage recorded."""
        stages: dict[str, dict[str, Any]] = self.provenance["stages"]
        return stages

    def is_done(self, stage: str) -> bool:
        """Return whether `stage` was finished, in this process or an earlier one."""
        return stage in self.stages

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Time the enclosed lines and mark stage `name` finished, unless they raise.

        Yields a dictionary for small facts worth keeping beside the seconds (a chosen alpha, a device):

            if not run.is_done("ridge"):
                with run.stage("ridge") as record:
                    ...
                    record["alpha"] = model.alpha

        Write arrays inside the block: what a stage made must be on disk before the stage counts as finished.
        """
        record: dict[str, Any] = {}
        self.log(event="stage started", stage=name)
        started = time.perf_counter()
        # No `finally`: a stage that raises is not finished.
        yield record
        entry = {"seconds": round(time.perf_counter() - started, 3), "finished": now(), **record}
        self._update_provenance(stages={**self.stages, name: entry})
        self.log(event="stage finished", stage=name, **entry)

    def finish(self) -> None:
        """Mark the whole run finished."""
        self._update_provenance(finished=now())

    def log(self, **record: Any) -> None:
        """Append one line to the log, with the time (s since the epoch)."""
        line = json.dumps({"time": round(time.time(), 3), **record}, default=_plain)
        with disk_errors(self.path / LOG), open(self.path / LOG, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def read_log(self) -> list[dict[str, Any]]:
        """Return the log; a line cut off by a crash is left out."""
        if not (self.path / LOG).exists():
            return []
        records = []
        for line in self._read(LOG).splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records

    def write_arrays(self, name: str, **arrays: Any) -> Path:
        """Write `arrays/NAME.npz`, compressed; values are anything `numpy.asarray` takes without objects."""
        values = {key: np.asarray(value) for key, value in arrays.items()}
        if objects := [key for key, value in values.items() if value.dtype.hasobject]:
            raise RunError(f"arrays/{name}.npz: '{objects[0]}' is not a plain array (numbers or strings)")

        def save(file: BinaryIO) -> None:
            np.savez_compressed(file, **values)  # type: ignore[arg-type]  # NumPy's stub sees one keyword

        return write_atomic(self.path / "arrays" / f"{name}.npz", save)

    def has_arrays(self, name: str) -> bool:
        """Return whether `arrays/NAME.npz` exists."""
        return (self.path / "arrays" / f"{name}.npz").exists()

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays of `arrays/NAME.npz`.

        Raises:
            DataError: if the file is missing or damaged.
        """
        path = self.path / "arrays" / f"{name}.npz"
        if not path.exists():
            raise DataError(
                f"{path} is missing; start the run again to go on if it is not finished, with --fresh if it is"
            )
        return read_npz(path, MEND)

    def write_summary(self, summary: Mapping[str, Any]) -> Path:
        """Replace summary.json; NaN becomes null."""
        return self._write_json(SUMMARY, _without_nan(summary))

    def _update_provenance(self, **changes: Any) -> None:
        self._write_json(PROVENANCE, {**self.provenance, **changes})

    def _write_json(self, name: str, values: Mapping[str, Any]) -> Path:
        return write_atomic(self.path / name, as_json(values))

    def _read(self, name: str) -> str:
        try:
            return read_bytes(self.path / name, "file of a run", MEND).decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path / name} is damaged: it is no text ({error}); {MEND}") from error

    def _read_json(self, name: str) -> dict[str, Any]:
        return read_json(self._read(name), str(self.path / name), MEND)


def _found(path: Path, config: Mapping[str, Any], inputs: Mapping[str, Any], fingerprint: str) -> bool:
    """Make the folder `path` in one step; return False if another process made it first."""
    machine = describe_machine()
    first = {"fingerprint": fingerprint, "results": RESULTS, "inputs": dict(inputs)}
    first |= {"created": machine["date"], "sessions": [machine], "stages": {}}
    files = {CONFIG: dump_toml(config), PROVENANCE: as_json({**first, "finished": None})}
    return write_atomic_folder(path, files, replace=False)


def as_json(values: Any) -> str:
    """Return plain values as the text of a JSON file; NaN is refused."""
    # NaN is no JSON: it fails here, not in whatever reads the file.
    return json.dumps(values, indent=1, default=_plain, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    """Return NumPy and torch values, paths and tuples as what JSON knows."""
    if hasattr(value, "tolist"):
        return _without_nan(value.tolist())
    if isinstance(value, Path):
        return str(value)
    raise RunError(f"cannot be written to JSON: {type(value).__name__} {value!r:.60}")


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value
