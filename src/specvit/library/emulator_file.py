"""The emulator's file: safetensors with a JSON description and a checksum. Owns bytes, not meaning."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from specvit.documents.opening import check_readable
from specvit.documents.records import read_json, read_record
from specvit.documents.tensors import Tensors
from specvit.errors import DataError
from specvit.library.emulator_record import EmulatorFileRecord
from specvit.runs.atomic import write_atomic

FORMAT = "specvit-emulator-1"
#: What to do about a damaged file.
MEND = "restore it, or make one of a library with `specvit library build`"
TYPES = (torch.float32, torch.float64, torch.int16)
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
        RunError: if the file cannot be written.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if compact:
        stored["basis_codes"], stored["basis_step"] = _encode(stored.pop("basis"))
    description = json.dumps(metadata, sort_keys=True)
    header = {"format": FORMAT, "metadata": description, "sha256": _digest(stored, description)}
    write_atomic(path, save(stored, metadata=header))


def read_emulator_file(path: Path) -> tuple[Tensors, EmulatorFileRecord]:
    """Return tensors and description of an emulator file after verifying its checksum.

    The basis is `take_basis` of the tensors.

    Raises:
        AccessError: if the system does not give the file.
        DataError: if it is missing, truncated, altered, or not an emulator of this format; names the entry of the
            description that does not fit.
    """
    # Safetensors would call a file that is forbidden or on a drive that is away incomplete.
    check_readable(path, "file of an emulator", "give 'builtin' or a file made by `specvit library build`")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: not a complete emulator file ({error}); {MEND}") from error
    if header.get("format") != FORMAT:
        raise DataError(
            f"{path}: expected format {FORMAT}, got {header.get('format')}; rebuild it with this version"
        )
    found = Tensors(tensors, str(path), MEND)
    for name, tensor in tensors.items():
        if tensor.dtype not in TYPES:
            raise found.problem(f"tensor '{name}' is {str(tensor.dtype).removeprefix('torch.')}")
    description = header.get("metadata", "")
    if _digest(tensors, description) != header.get("sha256"):
        raise DataError(f"{path}: its content does not match its checksum; restore or rebuild the file")
    where = f"{path}: description"
    return found, read_record(EmulatorFileRecord, read_json(description, where, MEND), where, MEND)


def take_basis(tensors: Tensors) -> Tensor:
    """Return the basis (K, L), float32, in whichever of its two forms it is stored."""
    if "basis_codes" not in tensors:
        return tensors.take("basis", "KL", torch.float32)
    codes = tensors.take("basis_codes", "KL", torch.int16)
    return _decode(codes, tensors.take("basis_step", ("K", 1), torch.float32))


def _digest(tensors: dict[str, Tensor], description: str) -> str:
    digest = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        array = tensors[name].numpy()
        # Type and shape too: the same bytes can be other numbers.
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _encode(rows: Tensor) -> tuple[Tensor, Tensor]:
    step = (rows.abs().amax(dim=1, keepdim=True) / INT16_MAX).float()
    return torch.round(rows / step).to(torch.int16), step


def _decode(codes: Tensor, step: Tensor) -> Tensor:
    return codes.to(torch.float32) * step
