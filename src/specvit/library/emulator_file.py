"""The emulator's file: safetensors with a JSON description and a checksum. Owns bytes, not meaning."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from specvit.errors import DataError

FORMAT = "specvit-emulator-1"
INT16_MAX = 32767


def round_to_int16(rows: Tensor) -> Tensor:
    """Return `rows` (K, L) rounded to what the compact file can hold: 65 535 steps per row."""
    codes, step = _encode(rows)
    return _decode(codes, step)


def write_emulator_file(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any], compact: bool
) -> None:
    """Write tensors and metadata to `path`, atomically; `compact` stores `basis` in 16 bits.

    Raises:
        DataError: if the file cannot be written.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if compact:
        stored["basis_codes"], stored["basis_step"] = _encode(stored.pop("basis"))
    description = json.dumps(metadata, sort_keys=True)
    header = {"format": FORMAT, "metadata": description, "sha256": _digest(stored, description)}
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(save(stored, metadata=header))
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot write the emulator: {error}") from error


def read_emulator_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, metadata) of an emulator file after verifying its checksum.

    Raises:
        DataError: if the file is missing, truncated, altered, or not an emulator of this format.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: no such emulator file; give 'builtin' or a file made by `specvit library build`"
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path}: not a complete emulator file ({error}); "
            "restore it, or make one of a library with `specvit library build`"
        ) from error
    if header.get("format") != FORMAT:
        raise DataError(
            f"{path}: expected format {FORMAT}, got {header.get('format')}; rebuild it with this version"
        )
    if _digest(tensors, header["metadata"]) != header.get("sha256"):
        raise DataError(f"{path}: its content does not match its checksum; restore or rebuild the file")
    if "basis_codes" in tensors:
        tensors["basis"] = _decode(tensors.pop("basis_codes"), tensors.pop("basis_step"))
    return tensors, json.loads(header["metadata"])


def _digest(tensors: dict[str, Tensor], description: str) -> str:
    digest = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        array = tensors[name].numpy()
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _encode(rows: Tensor) -> tuple[Tensor, Tensor]:
    step = (rows.abs().amax(dim=1, keepdim=True) / INT16_MAX).float()
    return torch.round(rows / step).to(torch.int16), step


def _decode(codes: Tensor, step: Tensor) -> Tensor:
    return codes.to(torch.float32) * step
