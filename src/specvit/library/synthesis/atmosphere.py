"""Model atmospheres: the depth structure of a star, read from ATLAS9, MARCS and our own npz files.

Owns the three readers. Interpolating between models is the business of `atmosphere_grid`, filling in a
pressure that of `hydrostatic`.

- ATLAS9 / Kurucz (`.mod`, `.dat`, `.krz`): "TEFF ... GRAVITY ...", "ABUNDANCE SCALE ...", "READ DECK6 n
  RHOX,T,P,XNE,..." and n rows; a file may hold several models. P is the gas pressure.
- MARCS (`.mod`): the format of https://marcs.oreme.org, with a block "Model structure" of n rows. Spherical
  models are accepted and treated as plane parallel.
- npz: scalars `teff`, `log_g`, `m_h`; arrays `temperature` and `rhox` (g/cm²) or `tau5000`; `gas_pressure`
  (dyn/cm²), needed with `rhox`; `electron_pressure` optional.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from specvit.documents.npz import read_npz
from specvit.documents.opening import read_bytes
from specvit.errors import DataError

#: What our npz files hold: numbers, and arrays over the layers.
SCALARS = ("teff", "log_g", "m_h")
PROFILES = ("temperature", "rhox", "tau5000", "gas_pressure", "electron_pressure")

BOLTZMANN = 1.380649e-16  # erg/K


@dataclass(frozen=True)
class ModelAtmosphere:
    """A plane-parallel structure of D layers, from the surface inwards.

    Args:
        teff: K.
        log_g: dex cgs.
        m_h: metallicity the structure was computed for, dex.
        scale: what `depth` is: "rhox" (g/cm²) or "tau5000" (continuum optical depth at 5000 Å).
        depth: shape (D,), increasing.
        temperature: K, shape (D,).
        gas_pressure: dyn/cm², shape (D,), or None if hydrostatic equilibrium is to supply it.
        electron_pressure: dyn/cm², shape (D,), or None.
        name: where it comes from.

    Raises:
        DataError: if the arrays do not fit together or are not physical; names the model.
    """

    teff: float
    log_g: float
    m_h: float
    scale: Literal["rhox", "tau5000"]
    depth: np.ndarray
    temperature: np.ndarray
    gas_pressure: np.ndarray | None
    electron_pressure: np.ndarray | None
    name: str

    def __post_init__(self) -> None:
        given = {"depth": self.depth, "temperature": self.temperature, "gas_pressure": self.gas_pressure}
        given["electron_pressure"] = self.electron_pressure
        for what, values in given.items():
            if values is None:
                continue
            if values.shape != self.depth.shape or len(values) < 8:
                raise DataError(
                    f"{self.name}: {what} has {values.size} layers, depth {self.depth.size}; "
                    "expected the same number, at least 8"
                )
            if not (np.isfinite(values).all() and (values > 0).all()):
                raise DataError(
                    f"{self.name}: {what} is not finite and positive in every layer; check the file"
                )
        if not (np.diff(self.depth) > 0).all():
            raise DataError(f"{self.name}: depth does not increase inwards; sort the layers")
        if self.gas_pressure is None and self.scale == "rhox":
            raise DataError(f"{self.name}: a structure on rhox needs gas_pressure; add it")


def read_atmospheres(paths: Iterable[str | Path]) -> list[ModelAtmosphere]:
    """Return the models of every file; a folder stands for all files in it.

    Raises:
        DataError: if nothing is found or a file is not understood; names it.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(f"{path}: no such file or folder; give model atmospheres")
        files += sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    models = [model for file in files for model in _read_file(file)]
    if not models:
        raise DataError(f"{', '.join(map(str, paths))}: no model atmosphere found")
    return models


def _read_file(path: Path) -> list[ModelAtmosphere]:
    if path.suffix == ".npz":
        return [read_structure(path)]
    # Latin-1 decodes any byte: a stray accent in a heading is no error.
    text = read_bytes(path, "model atmosphere", "give model atmospheres").decode("latin-1")
    if "READ DECK6" in text:
        return read_atlas9(path.name, text)
    if "Number of depth points" in text:
        return [read_marcs(path.name, text)]
    raise DataError(f"{path.name}: neither an ATLAS9 (READ DECK6) nor a MARCS model nor .npz; move it away")


def read_atlas9(name: str, text: str) -> list[ModelAtmosphere]:
    """Return the models in the text of an ATLAS9 file.

    Raises:
        DataError: if a heading or a row cannot be read; names the file.
    """
    lines, models, heading = text.splitlines(), [], []
    for number, line in enumerate(lines):
        heading.append(line)
        deck = re.match(r"\s*READ DECK6\s+(\d+)\s+RHOX,T,P,XNE", line)
        if deck is None:
            continue
        found = " ".join(heading)
        basic = re.search(r"TEFF\s+([\d.]+)\s+GRAVITY\s+([\d.+-]+)", found)
        metals = re.search(r"ABUNDANCE SCALE\s+([\d.Ee+-]+)", found)
        if basic is None or metals is None:
            raise DataError(f"{name}: no TEFF, GRAVITY and ABUNDANCE SCALE before line {number + 1}")
        rows = _table(name, lines[number + 1 : number + 1 + int(deck[1])], 4)
        if len(rows) != int(deck[1]):
            raise DataError(f"{name}: announces {deck[1]} layers, holds {len(rows)}; it is truncated")
        temperature, electrons = rows[:, 1], rows[:, 3]
        teff, log_g = (_number(name, word) for word in basic.groups())
        models.append(
            ModelAtmosphere(
                teff,
                log_g,
                round(math.log10(_number(name, metals[1], positive=True)), 3) + 0.0,
                "rhox",
                rows[:, 0],
                temperature,
                rows[:, 2],
                electrons * BOLTZMANN * temperature,
                f"{name} (Teff {teff:g}, log g {log_g:g})",
            )
        )
        heading = []
    return models


def read_marcs(name: str, text: str) -> ModelAtmosphere:
    """Return the model in the text of a MARCS `.mod` file.

    Raises:
        DataError: if a heading or a row cannot be read; names the file.
    """
    lines = text.splitlines()

    def heading(pattern: str, positive: bool = False) -> tuple[float, int]:
        for number, line in enumerate(lines):
            if re.search(pattern, line):
                return _number(name, line, positive), number
        raise DataError(f"{name}: no line '{pattern}'; is it a complete MARCS model?")

    teff, gravity = heading(r"Teff \[K\]")[0], heading("Surface gravity", positive=True)[0]
    m_h = heading("Metallicity")[0]
    count, at = heading("Number of depth points", positive=True)
    start = next((i for i in range(at, len(lines)) if "lgTau5" in lines[i]), None)
    if start is None:
        raise DataError(f"{name}: no 'Model structure' block; is it a complete MARCS model?")
    columns = lines[start].split()
    rows = _table(name, lines[start + 1 : start + 1 + int(count)], len(columns))
    if len(rows) != int(count):
        raise DataError(f"{name}: announces {int(count)} layers, holds {len(rows)}; it is truncated")
    value = {column: rows[:, i] for i, column in enumerate(columns)}
    if missing := [column for column in ("lgTau5", "T", "Pg", "Pe") if column not in value]:
        raise DataError(f"{name}: no column '{missing[0]}' of layers; is it a complete MARCS model?")
    return ModelAtmosphere(
        teff,
        float(np.log10(gravity)),
        m_h,
        "tau5000",
        10 ** value["lgTau5"],
        value["T"],
        value["Pg"],
        value["Pe"],
        name,
    )


def read_structure(path: Path) -> ModelAtmosphere:
    """Return the structure in one of our npz files (see the module's text).

    Raises:
        DataError: if an array is missing or not usable; names file and array.
    """
    found = read_npz(path, "make it again")
    arrays = {name: found[name] for name in found.keys() & {*SCALARS, *PROFILES}}
    for name, values in arrays.items():
        if values.dtype.kind not in "fiu" or values.ndim != (name in PROFILES):
            raise DataError(
                f"{path.name}: '{name}' is {values.dtype} of shape {values.shape}, expected "
                f"{'one number per layer' if name in PROFILES else 'a number'}"
            )
        if not np.isfinite(values).all():
            raise DataError(f"{path.name}: '{name}' is not finite")
        arrays[name] = values.astype(np.float64)
    scales = [name for name in ("rhox", "tau5000") if name in arrays]
    missing = [name for name in ("teff", "log_g", "m_h", "temperature") if name not in arrays]
    if missing or len(scales) != 1:
        raise DataError(f"{path.name}: needs teff, log_g, m_h, temperature and one of rhox, tau5000")
    return ModelAtmosphere(
        float(arrays["teff"]),
        float(arrays["log_g"]),
        float(arrays["m_h"]),
        "rhox" if scales[0] == "rhox" else "tau5000",
        arrays[scales[0]],
        arrays["temperature"],
        arrays.get("gas_pressure"),
        arrays.get("electron_pressure"),
        path.name,
    )


def _number(name: str, text: str, positive: bool = False) -> float:
    """Return the first word of a heading as a finite number."""
    word = (text.split() or [""])[0]
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (positive and value <= 0):
        kind = "a positive number" if positive else "a number"
        raise DataError(f"{name}: a heading has '{word[:40]}' where {kind} is expected; check the file")
    return value


def _table(name: str, lines: list[str], columns: int) -> np.ndarray:
    rows = []
    for line in lines:
        words = line.split()[:columns]
        try:
            # A short row ends the table; callers compare the number of rows with the one announced.
            if len(words) < columns:
                break
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise DataError(f"{name}: a layer cannot be read ('{line.strip()[:50]}'): {error}") from error
    return np.array(rows).reshape(len(rows), columns)
