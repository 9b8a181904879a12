"""A synthesis run: a plan, its points computed in chunks by isolated processes, and the library they make.

Resumable: a finished chunk is a file written under another name and renamed; a second run skips it. A point
that cannot be computed (even one where SMElib ends the process) is recorded with its reason and left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import specvit
from specvit.documents.npz import read_npz
from specvit.documents.opening import is_there, read_bytes
from specvit.documents.records import read_json
from specvit.errors import AccessError, DataError, RunError
from specvit.library.importers.nodes import free_labels
from specvit.library.importers.window import LibraryWindow, Transfer
from specvit.library.synthesis.atmosphere import ModelAtmosphere
from specvit.library.synthesis.atmosphere_grid import AtmosphereGrid
from specvit.library.synthesis.design import Design
from specvit.library.synthesis.engine import SOLAR_MIX, SmeEngine, with_pressure
from specvit.library.synthesis.hydrostatic import solve_gas_pressure
from specvit.library.synthesis.isolated import Outcome, map_isolated
from specvit.library.synthesis.lines import LineTable
from specvit.library.synthetic_library import SyntheticLibrary
from specvit.runs.atomic import write_atomic
from specvit.spectra.air import vacuum_to_air

PLAN_FILE = "plan.json"
CHUNK = 10


@dataclass(frozen=True)
class SynthesisPlan:
    """Everything that determines the spectra of a run.

    Args:
        lines: line list.
        models: model atmospheres.
        design: points to compute.
        window: range and resolution of the library.
        microturbulence: km/s.
        hydrostatic: compute the gas pressure from T(tau5000) for the composition of each point, instead of
            taking it from the models (needs models on tau5000).

    Raises:
        DataError: if `hydrostatic` does not fit the models.
    """

    lines: LineTable
    models: list[ModelAtmosphere]
    design: Design
    window: LibraryWindow = field(default_factory=LibraryWindow)
    microturbulence: float = 2.0
    hydrostatic: bool = False

    def __post_init__(self) -> None:
        grid = AtmosphereGrid(self.models)
        first = grid.models[0]
        if self.hydrostatic and first.scale != "tau5000":
            raise DataError(
                f"{first.name}: hydrostatic equilibrium needs T on tau5000, this model is on rhox"
            )
        if not self.hydrostatic and first.gas_pressure is None:
            raise DataError(f"{first.name}: has no gas_pressure; ask for hydrostatic equilibrium")

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that identify the plan, for chunks that must fit together."""
        digest = hashlib.sha256(repr((self.window, self.microturbulence, self.hydrostatic)).encode())
        for column in (*self.lines.columns(), self.design.values):
            digest.update(np.ascontiguousarray(column).tobytes())
        for model in self.models:
            for values in (model.depth, model.temperature, model.gas_pressure):
                digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """Return the JSON-ready provenance of the spectra."""
        grid = AtmosphereGrid(self.models)
        return {
            "name": "own synthesis",
            "source": "own synthesis, PySME/SMElib (LTE, plane parallel)",
            "specvit_version": specvit.__version__,
            "lines": len(self.lines),
            "model_atmospheres": len(self.models),
            "depth_scale": self.models[0].scale,
            "fixed_by_the_models": grid.frozen,
            "pressure": "hydrostatic equilibrium" if self.hydrostatic else "from the models",
            "design": self.design.origin,
            "microturbulence_km_s": self.microturbulence,
            "solar_mix": SOLAR_MIX,
            "plan": self.fingerprint,
        }


class PointSynthesis:
    """Labels (5,) -> flux and continuum on the window of a plan; lives in a worker process."""

    def __init__(self, plan: SynthesisPlan) -> None:
        self.plan, self.grid = plan, AtmosphereGrid(plan.models)
        # 6 km/s more on either side, so that rounding cannot leave the window short of a sample.
        low, high = (float(vacuum_to_air(edge)) for edge in plan.window.needed)
        self.engine = SmeEngine(plan.lines, low * (1 - 2e-5), high * (1 + 2e-5), plan.microturbulence)
        # Computed, not observed: there is no resolution to be taken off.
        self.transfer = Transfer(self.engine.wavelength, np.inf, plan.window)

    def __call__(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (flux (L,), continuum (C,)), erg/s/cm²/Å; RunError if they are not physical."""
        teff, log_g, m_h, alpha_m, c_m = map(float, labels)
        model = self.grid.at(teff, log_g, m_h)
        composition = self.engine.composition(m_h, alpha_m, c_m)
        if self.plan.hydrostatic:
            model = self._with_hydrostatic_pressure(model, composition)
        flux, continuum = self.engine.spectrum(model, composition)
        if not (np.isfinite(flux).all() and (continuum > 0).all() and (flux > 0).all()):
            raise RunError("the spectrum is not finite and positive")
        return self.transfer.flux(flux), self.transfer.continuum(continuum)

    def _with_hydrostatic_pressure(self, model: ModelAtmosphere, composition: Any) -> ModelAtmosphere:
        def opacity(pressure: np.ndarray) -> np.ndarray:
            return self.engine.opacity_5000(with_pressure(model, pressure), composition)

        pressure = solve_gas_pressure(opacity, model.depth, model.teff, model.log_g, model.gas_pressure)
        return with_pressure(model, pressure)


@dataclass(frozen=True)
class SynthesisReport:
    """What a run has: points tried now, points found from before, and failures (index -> reason)."""

    computed: int
    found: int
    failures: dict[int, str]


def synthesize(
    plan: SynthesisPlan,
    folder: str | Path,
    workers: int = 1,
    timeout: float = 900.0,
    progress: Callable[[int, int], None] | None = None,
    build: Callable[[SynthesisPlan], Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = PointSynthesis,
) -> SynthesisReport:
    """Compute the points of `plan` that `folder` does not hold yet, ten to a file.

    Args:
        plan: what to compute.
        folder: where chunks go; made if needed, and continued if it holds the same plan.
        workers: processes.
        timeout: seconds after which a point is given up.
        progress: called with (points done, points in all).
        build: makes the function of a worker process.

    Raises:
        RunError: if the folder holds another plan or cannot be written, or no worker can start.
    """
    folder = Path(folder)
    _claim(folder, plan)
    total = len(plan.design)
    chunks = [range(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]
    todo = [chunk for chunk in chunks if _read_chunk(folder, plan, chunk) is None]
    found = total - sum(map(len, todo))
    pending: dict[int, list[Outcome | None]] = {chunk.start: [None] * len(chunk) for chunk in todo}
    items = ((index, plan.design.values[index]) for chunk in todo for index in chunk)
    done = found
    if progress is not None:
        progress(done, total)
    for outcome in map_isolated(partial(build, plan), items, workers, timeout):
        start = outcome.key - outcome.key % CHUNK
        pending[start][outcome.key - start] = outcome
        finished = [outcome for outcome in pending[start] if outcome is not None]
        if len(finished) == len(pending[start]):
            del pending[start]
            _write_chunk(folder, plan, start, finished)
        done += 1
        if progress is not None:
            progress(done, total)
    return SynthesisReport(total - found, found, _failures(folder, plan, chunks))


def gather(plan: SynthesisPlan, folder: str | Path) -> SyntheticLibrary:
    """Return the library of all points that were computed.

    Raises:
        RunError: if a chunk is missing: the run is not finished.
        DataError: if no point succeeded or no label varies.
    """
    folder, total = Path(folder), len(plan.design)
    parts = []
    for start in range(0, total, CHUNK):
        part = _read_chunk(folder, plan, range(start, min(start + CHUNK, total)))
        if part is None:
            raise RunError(
                f"{folder}: points {start} and following are not computed yet; run synthesize again"
            )
        parts.append(part)
    failure = np.concatenate([part["failure"] for part in parts])
    good = failure == ""
    if not good.any():
        raise DataError(f"{folder}: no point could be computed; the first failed because {failure[0]}")
    values, space, fixed = free_labels(list(plan.design.names), plan.design.values[good], str(folder))
    provenance = plan.describe() | {"fixed_labels": fixed, "failed_points": int((~good).sum())}
    return SyntheticLibrary(
        values,
        np.concatenate([part["flux"] for part in parts])[good],
        plan.window.grid,
        plan.window.resolution,
        space,
        provenance,
        np.concatenate([part["continuum"] for part in parts])[good],
        plan.window.continuum_wavelength,
    )


def _claim(folder: Path, plan: SynthesisPlan) -> None:
    record = folder / PLAN_FILE
    if not is_there(record, "plan of a synthesis"):
        write_atomic(record, json.dumps(plan.describe(), indent=1))
        return
    text = read_bytes(record, "plan of a synthesis", "give another folder")
    other = read_json(text, str(record), "give another folder or empty it").get("plan")
    if other != plan.fingerprint:
        raise RunError(f"{folder}: holds another synthesis (plan {other}); give another folder or empty it")


def _chunk_path(folder: Path, start: int) -> Path:
    return folder / f"chunk_{start // CHUNK:06d}.npz"


def _read_chunk(folder: Path, plan: SynthesisPlan, chunk: range) -> dict[str, np.ndarray] | None:
    """Return the arrays of a finished chunk, or None if it is missing or damaged.

    Raises:
        AccessError: if the system does not give it.
    """
    try:
        part = read_npz(_chunk_path(folder, chunk.start), "run synthesize again")
    except AccessError:
        # It may be whole: it is not computed anew and written over.
        raise
    except DataError:
        return None
    rows, window = len(chunk), plan.window
    forms = {
        "flux": ("f", (rows, window.grid.size)),
        "continuum": ("f", (rows, window.continuum_wavelength.size)),
        "failure": ("U", (rows,)),
    }
    fits = part.keys() == forms.keys() and all(
        (part[name].dtype.kind, part[name].shape) == form for name, form in forms.items()
    )
    return part if fits else None


def _write_chunk(folder: Path, plan: SynthesisPlan, start: int, outcomes: list[Outcome]) -> None:
    flux = np.full((len(outcomes), plan.window.grid.size), np.nan, dtype=np.float32)
    continuum = np.full((len(outcomes), plan.window.continuum_wavelength.size), np.nan, dtype=np.float32)
    for row, outcome in enumerate(outcomes):
        if outcome.failure is None:
            flux[row], continuum[row] = outcome.value
    # Failed points are written too, with their reason: a continued run does not try them for ever.
    failure = np.array([outcome.failure or "" for outcome in outcomes], dtype=str)

    def write(file: BinaryIO) -> None:
        np.savez(file, flux=flux, continuum=continuum, failure=failure)

    write_atomic(_chunk_path(folder, start), write)


def _failures(folder: Path, plan: SynthesisPlan, chunks: list[range]) -> dict[int, str]:
    def reasons() -> Iterator[tuple[int, str]]:
        for chunk in chunks:
            part = _read_chunk(folder, plan, chunk)
            for row, reason in enumerate([] if part is None else part["failure"]):
                if reason:
                    yield chunk.start + row, str(reason)

    return dict(reasons())
