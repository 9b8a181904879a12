"""The state of an unfinished training on disk. Owns what exact continuation needs; the result is a bundle.

Written with `torch.save` and read with `weights_only=True`: tensors and plain values, nothing executable.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

import torch

from specvit.documents.opening import check_readable, is_there
from specvit.errors import AccessError, DataError, RunError
from specvit.runs.atomic import write_atomic

NAME = "checkpoint.pt"
#: 2: what a training is for has an identity of its own.
FORMAT_VERSION = 2
#: What to do about a checkpoint that cannot be continued.
START_OVER = "move it away to start over"


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
    """Return the state in `folder`, or None if there is none; `check_state` says whether it can be continued.

    Raises:
        AccessError: if the system does not give it.
        RunError: if the file is damaged, or belongs to another network or recipe (names the first
            difference).
    """
    path = folder / NAME
    if not is_there(path, "checkpoint"):
        return None
    try:
        check_readable(path, "checkpoint", START_OVER)
    except AccessError:
        raise
    except DataError as error:
        raise RunError(str(error)) from error
    try:
        # What a GPU wrote can be continued without one.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Whatever PyTorch's readers of zip files and of its own format make of damage: they have no error of their own.
        raise RunError(f"{path}: cannot be read ({type(error).__name__}); {START_OVER}") from error
    if not isinstance(content, dict) or content.keys() != {"format_version", "identity", "state"}:
        raise RunError(f"{path}: does not hold a training; {START_OVER}")
    version, stored = content["format_version"], content["identity"]
    if not isinstance(version, int) or version != FORMAT_VERSION:
        raise RunError(
            f"{path}: checkpoint format {version}, this specvit reads {FORMAT_VERSION}; {START_OVER}"
        )
    if not isinstance(stored, dict) or not isinstance(content["state"], dict):
        raise RunError(f"{path}: does not hold a training; {START_OVER}")
    for key in sorted(map(str, stored.keys() | identity.keys())):
        if _text(stored.get(key)) != _text(identity.get(key)):
            raise RunError(
                f"{path}: belongs to another training ({key}: {stored.get(key)!r} there, "
                f"{identity.get(key)!r} here); choose another folder, or move it away to start over"
            )
    return content["state"]


def check_state(folder: Path, state: Any, like: Any, name: str = "state") -> None:
    """Raise RunError unless `state` is built as `like`, the state of a training that begins.

    Both hold dictionaries, lists, tensors (of one shape and type) and plain values (of one type). An empty
    dictionary in `like` is filled as training goes on, and its entries are not compared.

    Args:
        folder: where the checkpoint lies.
        state, like: nested alike.
        name: the part, for the message.
    """

    def wrong(what: str) -> RunError:
        return RunError(f"{folder / NAME}: {name} {what}; {START_OVER}")

    if isinstance(like, float) and isinstance(state, int) and not isinstance(state, bool):
        return
    if type(state) is not type(like) and not (isinstance(state, dict) and isinstance(like, dict)):
        raise wrong(f"is {type(state).__name__}, expected {type(like).__name__}")
    if isinstance(like, dict) and like:
        if state.keys() != like.keys():
            raise wrong(
                f"has no, or unknown, entries {', '.join(sorted(map(str, state.keys() ^ like.keys())))}"
            )
        for key, part in like.items():
            check_state(folder, state[key], part, f"{name}.{key}")
    elif isinstance(like, list | tuple):
        if len(state) != len(like):
            raise wrong(f"has {len(state)} parts, expected {len(like)}")
        for at, part in enumerate(like):
            check_state(folder, state[at], part, f"{name}.{at}")
    elif isinstance(like, int | float) and not -math.inf <= state < math.inf:
        raise wrong(f"is {state}")
    elif isinstance(like, torch.Tensor):
        if (state.shape, state.dtype) != (like.shape, like.dtype):
            raise wrong(f"has shape {tuple(state.shape)}, expected {tuple(like.shape)} ({like.dtype})")
        if not bool(state.isfinite().all()):
            raise wrong("holds values that are not finite")


def _text(value: Any) -> str:
    """Return plain nested values as text to compare by; damage may have put anything among them."""
    return json.dumps(value, default=repr, sort_keys=True)
