"""Fit an emulator to a synthetic library. Owns the split, the basis, the training loop and the stated error.

Works on any `SyntheticLibrary`; the built-in one has no privilege. Knows no instrument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date

import numpy as np
import torch
from torch import Tensor

from specvit import __version__
from specvit.errors import ConfigError, DataError
from specvit.library.coverage import covered_region
from specvit.library.emulator import Emulator
from specvit.library.emulator_file import round_to_int16
from specvit.library.regressor import CoefficientNetwork, CoordinateKind
from specvit.library.synthetic_library import SyntheticLibrary
from specvit.spectra import LabelSpace

#: progress(done, total, training loss): called after every report interval.
Progress = Callable[[int, int, float], None]
#: Fewer spectra than this do not determine a network and a held-out error.
FEWEST_SPECTRA = 40


@dataclass(frozen=True)
class FitSettings:
    """How the emulator is fitted; the defaults are those of the built-in one.

    Args:
        components: K, principal components kept (at most half the number of spectra).
        width, depth: hidden layers of the network.
        coordinates: see `CoefficientNetwork`.
        steps: optimiser steps.
        batch: spectra per step.
        learning_rate: peak of the one-cycle schedule (AdamW).
        weight_decay: on weight matrices only.
        held_out: fraction of the spectra inside the domain that the fit never sees.
        seed: of the split, the initial weights and the batches.

    Raises:
        ConfigError: if a number is not possible; names it.
    """

    components: int = 128
    width: int = 256
    depth: int = 3
    coordinates: CoordinateKind = "chemical"
    steps: int = 30_000
    batch: int = 256
    learning_rate: float = 4e-3
    weight_decay: float = 1e-5
    held_out: float = 0.1
    seed: int = 20261121

    def __post_init__(self) -> None:
        for name in ("components", "width", "depth", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out: expected a fraction between 0 and 1, got {self.held_out}")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed: expected a whole number from 0 to 2^63 - 1, got {self.seed}")


def split_library(
    library: SyntheticLibrary, domain: LabelSpace, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows to fit, rows held out): a seeded `fraction` of the spectra inside `domain` is held out."""
    inside = (library.labels >= np.array(domain.low)) & (library.labels <= np.array(domain.high))
    # Held out from inside the domain only: errors are stated for where the emulator answers, while all of the
    # margin helps the fit.
    candidates = np.random.default_rng(seed).permutation(np.flatnonzero(inside.all(axis=1)))
    held_out = np.sort(candidates[: int(fraction * len(candidates))])
    return np.setdiff1d(np.arange(len(library)), held_out), held_out


def relative_flux(library: SyntheticLibrary) -> np.ndarray:
    """Return each spectrum divided by its mean over the window, shape (N, L), float32."""
    mean = library.flux.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    relative: np.ndarray = library.flux / mean
    return relative


def principal_components(flux: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (mean (L,), basis (count, L)) of the spectra (N, L), float32; rows orthonormal up to rounding.

    The rows are rounded to what the compact emulator file holds, so that coefficients fitted afterwards
    absorb the rounding.
    """
    mean = flux.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = flux - mean
    # Through the (N, N) Gram matrix: two thousand spectra of twelve thousand pixels.
    _, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    basis = vectors[:, ::-1][:, :count].T.astype(np.float32) @ centred
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    return mean, round_to_int16(torch.from_numpy(basis)).numpy()


def fit_emulator(
    library: SyntheticLibrary,
    domain: LabelSpace | None = None,
    settings: FitSettings | None = None,
    progress: Progress | None = None,
) -> Emulator:
    """Return an emulator of `library`, with its interpolation error on held-out spectra in `.errors`.

    Args:
        library: the spectra; those outside `domain` help the fit near its edges.
        domain: box in which the emulator will answer, inside the library's extent, which is the default; of it, the
            part that has spectra around it.
        settings: default `FitSettings()`.
        progress: called now and then with (steps done, steps in all, loss).

    Raises:
        DataError: if the library is too small.
        DomainError: if `domain` reaches beyond the spectra; names the label.
        LabelError: if chemical coordinates are asked for and the library has no `teff`.
    """
    settings, domain = settings or FitSettings(), domain or library.label_space
    library.label_space.check(np.array([domain.low, domain.high]), "domain")
    coverage = covered_region(library.labels, library.label_space)
    coverage = None if coverage is None else coverage.cut(domain)
    rows, held_out = split_library(library, domain, settings.held_out, settings.seed)
    if len(rows) < FEWEST_SPECTRA or len(held_out) < 1:
        raise DataError(
            f"library: {len(rows)} spectra to fit and {len(held_out)} held out; an emulator needs at least "
            f"{FEWEST_SPECTRA} and 1 (choose a wider domain or another held_out fraction)"
        )
    flux = relative_flux(library)
    mean, basis = principal_components(flux[rows], min(settings.components, len(rows) // 2))
    # Least squares, not a projection: after rounding to 16 bits the rows are no longer exactly orthonormal.
    targets = np.linalg.lstsq(basis.T.astype(np.float64), (flux[rows] - mean).T.astype(np.float64))[0].T
    network = train_network(
        torch.from_numpy(library.labels[rows]).float(),
        torch.from_numpy(targets).float(),
        library.label_space,
        settings,
        progress,
    )
    emulator = Emulator(
        network,
        torch.from_numpy(mean),
        torch.from_numpy(basis),
        library.grid,
        library.resolution,
        domain,
        {
            "library": library.provenance.get("name", "unnamed"),
            "settings": asdict(settings),
            "fitted_spectra": len(rows),
            "specvit": __version__,
            "torch": torch.__version__,
            "date": date.today().isoformat(),
        },
        coverage=coverage,
    )
    error = relative_errors(emulator, library.labels[held_out], flux[held_out])
    emulator.errors = {
        "held_out_spectra": len(held_out),
        "seed": settings.seed,
        "native": error_quantiles(error),
    }
    return emulator.requires_grad_(False).eval()


def relative_errors(emulator: Emulator, labels: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Return |emulated / flux - 1|, shape (N, L), for spectra in the emulator's normalisation and grid."""
    with torch.no_grad():
        emulated = emulator(torch.from_numpy(labels).to(emulator.basis.dtype), check=False)
    errors: np.ndarray = np.abs(emulated.numpy() / flux - 1)
    return errors


def error_quantiles(error: np.ndarray) -> dict[str, float]:
    """Return median, 95th and 99th percentile and maximum over pixels and spectra."""
    median, p95, p99 = np.quantile(error, [0.5, 0.95, 0.99])
    return {"median": float(median), "p95": float(p95), "p99": float(p99), "max": float(error.max())}


def train_network(
    labels: Tensor,
    targets: Tensor,
    label_space: LabelSpace,
    settings: FitSettings,
    progress: Progress | None,
) -> CoefficientNetwork:
    """Return a network fitted to coefficients `targets` (N, K) of an orthonormal basis at `labels` (N, P)."""
    # The global generator seeds the layers; fork it, so that fitting does not change a caller's draws.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = CoefficientNetwork(
            label_space, targets.shape[1], settings.width, settings.depth, settings.coordinates
        )
        network.standardise(labels, targets)
        matrices = [p for p in network.parameters() if p.ndim > 1]
        vectors = [p for p in network.parameters() if p.ndim <= 1]
        optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            settings.learning_rate,
            betas=(0.9, 0.99),
        )
        # Smith & Topin 2019, SPIE 11006 (one cycle).
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
        )
        for step in range(1, settings.steps + 1):
            batch = torch.randperm(len(labels))[: settings.batch]
            miss = network(labels[batch]) - targets[batch]
            # The basis is orthonormal: this is each spectrum's L2 flux error. Its mean, not its square's:
            # squares would spend the network on the few coolest stars.
            # The small number keeps the slope of the root finite at zero.
            loss = (miss.square().sum(dim=1) + 1e-6).sqrt().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if progress is not None and (step % 500 == 0 or step == settings.steps):
                progress(step, settings.steps, float(loss.detach()))
    return network
