"""The state of an unfinished training on disk. Owns what exact continuation needs; the result is a bundle.

Written with `torch.save` and read with `weights_only=True`: tensors and plain values, nothing executable.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import torch

from specvit.errors import RunError
from specvit.runs.atomic import write_atomic

NAME = "checkpoint.pt"
#: 2: what a training is for has an identity of its own.
FORMAT_VERSION = 2


def save_checkpoint(folder: Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Replace the checkpoint of `folder` in one step; a crash leaves the old one or the new one.

    Args:
        folder: made if missing.
        identity: what the state belongs to (network, recipe, ...), plain values.
        state: tensors and plain values, nested.
    """
    content = {"format_version": FORMAT_VERSION, "identity": identity, "state": state}

    def write(file: BinaryIO) -> None:
        torch.save(content, file)

    write_atomic(folder / NAME, write)


def load_checkpoint(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state in `folder`, or None if there is none.

    Raises:
        RunError: if the file is damaged, or belongs to another network or recipe (names the first
            difference).
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version, stored = content["format_version"], content["identity"]
        state: dict[str, Any] = content["state"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise RunError(f"{path}: cannot be read ({type(error).__name__}); delete it to start over") from error
    if version != FORMAT_VERSION:
        raise RunError(
            f"{path}: checkpoint format {version}, this specvit reads {FORMAT_VERSION}; start over"
        )
    for key in sorted(stored.keys() | identity.keys()):
        if stored.get(key) != identity.get(key):
            raise RunError(
                f"{path}: belongs to another training ({key}: {stored.get(key)!r} there, "
                f"{identity.get(key)!r} here); choose another folder, or delete it to start over"
            )
    return state
