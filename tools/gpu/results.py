"""What a visit has found so far, on disk: one file that is replaced whole, so that a cut at any moment leaves the last.

And weights, in pieces of less than 16 MiB with their checksums: the file says which pieces belong together.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from specvit.errors import DataError
from specvit.runs.atomic import write_atomic

NAME = "results.json"
FORMAT = 1
#: Some ways to bring files back from a lent machine take none of 16 MiB.
PIECE = 15 * 1024**2
#: States of a stage.
RUNNING, DONE, FAILED, STOPPED = "running", "done", "failed", "stopped"
#: What to do about a folder that cannot be used.
ANOTHER = "give another folder, or empty this one"


class Results:
    """The results in a folder; every change is on disk when the call returns.

    One process writes at a time: the stage that runs, else the one that started it.
    """

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self.folder, self.content = folder, content

    @classmethod
    def begin(cls, folder: Path, device: str) -> Results:
        """Return the results in `folder`, new ones if there are none.

        Raises:
            DataError: if it holds those of another device, or something else under that name.
        """
        # Of a writer that was killed.
        for partial in folder.glob(".*.partial"):
            partial.unlink(missing_ok=True)
        if (folder / NAME).is_file():
            found = cls.read(folder)
            if found.content["device"] != device:
                raise DataError(
                    f"{folder}: holds a visit to {found.content['device']}, not to {device}; {ANOTHER}"
                )
            return found
        today = datetime.date.today().isoformat()
        return cls(folder, {"format": FORMAT, "device": device, "date": today, "stages": {}})

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Return the results in `folder`; DataError if there are none, or they are not whole."""
        path = folder / NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: no results of a visit ({error}); {ANOTHER}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT or "stages" not in content:
            raise DataError(f"{path}: no results of a visit of format {FORMAT}; {ANOTHER}")
        return cls(folder, content)

    def stage(self, name: str) -> dict[str, Any]:
        """Return what is known of a stage: "state", "seconds", "error" and "found", whichever there are."""
        known: dict[str, Any] = self.content["stages"].get(name, {})
        return known

    def found(self, stage: str) -> dict[str, Any]:
        """Return the figures of a stage by name."""
        figures: dict[str, Any] = self.stage(stage).get("found", {})
        return figures

    def start(self, stage: str) -> None:
        """Note that a stage begins, with nothing found."""
        self.content["stages"][stage] = {"state": RUNNING, "found": {}}
        self._write()

    def note(self, stage: str, name: str, value: Any) -> None:
        """Note one figure of a stage, in place of an earlier one of that name; JSON-ready."""
        self.content["stages"][stage]["found"][name] = value
        self._write()

    def end(self, stage: str, state: str, seconds: float, error: str = "") -> None:
        """Note how a stage ended."""
        self.content["stages"][stage] |= {"state": state, "seconds": round(seconds, 2)}
        if error:
            self.content["stages"][stage]["error"] = error
        self._write()

    def keep_weights(self, stage: str, name: str, tensors: dict[str, Tensor]) -> None:
        """Write tensors in pieces and note them; those of before go when the new ones are noted."""
        content = save({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
        digest = hashlib.sha256(content).hexdigest()
        pieces = [content[at : at + PIECE] for at in range(0, len(content), PIECE)]
        files = [f"{name}.{digest[:8]}.{number}" for number in range(len(pieces))]
        for file, piece in zip(files, pieces, strict=True):
            write_atomic(self.folder / file, piece)
        self.note(stage, f"weights {name}", {"files": files, "sha256": digest})
        for old in self.folder.glob(f"{name}.*"):
            if old.name not in files:
                old.unlink()

    def weights(self, stage: str, name: str) -> dict[str, Tensor]:
        """Return the tensors that `keep_weights` wrote; DataError if there are none or a piece is damaged."""
        noted = self.found(stage).get(f"weights {name}")
        if noted is None:
            raise DataError(f"{self.folder}: no weights '{name}' were written before the visit ended")
        try:
            content = b"".join((self.folder / file).read_bytes() for file in noted["files"])
        except OSError as error:
            raise DataError(f"{self.folder}: a piece of the weights '{name}' is missing: {error}") from error
        if hashlib.sha256(content).hexdigest() != noted["sha256"]:
            raise DataError(
                f"{self.folder}: the pieces of the weights '{name}' are damaged; fetch them again"
            )
        return load(content)

    def _write(self) -> None:
        write_atomic(self.folder / NAME, json.dumps(self.content, indent=1, ensure_ascii=False))
