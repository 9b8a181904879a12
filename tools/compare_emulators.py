"""Compare ways to build the emulator by their error on a validation set (the table in docs/library.md).

    python tools/compare_emulators.py [--steps N]

The held-out spectra of `train_emulator.py` are removed first and take no part; a second tenth of the box is
the validation set. Every error is on the PFS grid, in per cent.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import torch
from torch import Tensor

from pfs_errors import COOL, pfs_matrix, table_row
from specvit.library import FitSettings, SyntheticLibrary, load_builtin
from specvit.library.chemistry import ChemicalCoordinates, PlainCoordinates
from specvit.library.emulator_fit import (
    error_quantiles,
    principal_components,
    relative_flux,
    split_library,
    train_network,
)
from specvit.spectra import LOW_T_BOX

#: Labels (N, 5) and coefficients (N, K) to fit, labels to predict -> coefficients.
Regressor = Callable[[Tensor, Tensor, Tensor], Tensor]


def network(settings: FitSettings) -> Regressor:
    def predict(labels: Tensor, targets: Tensor, at: Tensor) -> Tensor:
        fitted = train_network(labels.float(), targets.float(), LOW_T_BOX, settings, None)
        with torch.no_grad():
            return fitted(at.float()).double()

    return predict


def gaussian_process(coordinates: torch.nn.Module) -> Regressor:
    """Return cubic polynomial in the labels + Matérn-5/2 GP, length scales by marginal likelihood."""

    def predict(labels: Tensor, targets: Tensor, at: Tensor) -> Tensor:
        with torch.no_grad():
            inside, outside = (coordinates(x.float()).double() for x in (labels, at))
        centre, scale = inside.mean(0), inside.std(0)
        inside, outside = (inside - centre) / scale, (outside - centre) / scale
        cubic = torch.linalg.lstsq(_cubic(inside[:, :5]), targets).solution
        result = _cubic(outside[:, :5]) @ cubic
        residual = targets - _cubic(inside[:, :5]) @ cubic
        for group in (slice(0, 8), slice(8, 32), slice(32, None)):
            lengths, noise = _marginal_likelihood(inside, residual[:, group])
            kernel = _matern(inside, inside, lengths) + noise * torch.eye(len(inside)).double()
            result[:, group] += _matern(outside, inside, lengths) @ torch.linalg.solve(
                kernel, residual[:, group]
            )
        return result

    return predict


def _cubic(x: Tensor) -> Tensor:
    powers = [c for degree in range(1, 4) for c in combinations_with_replacement(range(x.shape[1]), degree)]
    return torch.stack([torch.ones(len(x)).double(), *(x[:, list(c)].prod(1) for c in powers)], dim=1)


def _matern(a: Tensor, b: Tensor, lengths: Tensor) -> Tensor:
    square = ((a / lengths)[:, None] - (b / lengths)[None]).square().sum(-1)
    root = (5 * square).clamp_min(1e-18).sqrt()
    return (1 + root + root.square() / 3) * torch.exp(-root)


def _marginal_likelihood(x: Tensor, y: Tensor, points: int = 700, steps: int = 60) -> tuple[Tensor, Tensor]:
    some = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:points]
    x, y = x[some], y[some] / y.std(0)
    log_lengths = torch.ones(x.shape[1]).double().requires_grad_()
    log_noise = torch.tensor(-9.2).double().requires_grad_()
    optimiser = torch.optim.Adam([log_lengths, log_noise], 0.1)
    for _ in range(steps):
        kernel = _matern(x, x, log_lengths.exp()) + log_noise.exp() * torch.eye(len(x)).double()
        factor = torch.linalg.cholesky(kernel)
        white = torch.linalg.solve_triangular(factor, y, upper=False)
        loss = y.shape[1] * factor.diagonal().log().sum() + len(x) / 2 * white.square().sum(0).log().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return log_lengths.exp().detach(), log_noise.exp().detach()


def validation_errors(
    library: SyntheticLibrary, settings: FitSettings, regressor: Regressor | None, log_basis: bool = False
) -> dict[str, dict[str, float]]:
    """Return PFS-grid errors on the validation tenth; no regressor: the truncation of the basis alone."""
    rows, validation = split_library(library, LOW_T_BOX, settings.held_out, settings.seed + 1)
    flux = relative_flux(library)
    values = np.log(flux) if log_basis else flux
    mean, basis = principal_components(values[rows], settings.components)
    targets = torch.from_numpy(
        np.linalg.lstsq(basis.T.astype(np.float64), (values - mean).T.astype(np.float64))[0].T
    )
    labels = torch.from_numpy(library.labels)
    coefficients = targets[validation]
    if regressor is not None:
        coefficients = regressor(labels[rows], targets[rows], labels[validation])
    emulated = coefficients.numpy() @ basis + mean
    if log_basis:
        emulated = np.exp(emulated)
    matrix = pfs_matrix(library.grid, library.resolution)
    error = np.abs((matrix @ emulated.T) / (matrix @ flux[validation].T) - 1).T
    cool = library.labels[validation, 0] <= COOL
    parts = {"all": error, "above_4300": error[~cool], "below_4300": error[cool]}
    return {name: error_quantiles(part) for name, part in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=8000, help="optimiser steps per network")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    base = replace(FitSettings(), steps=options.steps)
    library = load_builtin()
    rows, _ = split_library(library, LOW_T_BOX, base.held_out, base.seed)
    library = library.select(rows)
    plain = replace(base, coordinates="labels")
    small, large = replace(base, components=64), replace(base, components=160)
    wide = replace(base, width=384)
    variants = {
        "truncation only, K = 64": (small, None, False),
        "truncation only, K = 128": (base, None, False),
        "truncation only, K = 128, log flux": (base, None, True),
        "truncation only, K = 160": (large, None, False),
        "GP + cubic, labels": (base, gaussian_process(PlainCoordinates(LOW_T_BOX)), False),
        "GP + cubic, chemical": (base, gaussian_process(ChemicalCoordinates(LOW_T_BOX)), False),
        "network 3 x 256, labels": (plain, network(plain), False),
        "network 3 x 256, chemical": (base, network(base), False),
        "network 3 x 256, chemical, log flux": (base, network(base), True),
        "network 3 x 384, chemical": (wide, network(wide), False),
        "network 3 x 256, chemical, K = 160": (large, network(large), False),
    }
    print(
        f"steps {base.steps}, seed {base.seed}; median / 95th / 99th percentile in per cent on the PFS grid"
    )
    print("| variant | all | above 4300 K | below 4300 K | minutes |\n|---|---|---|---|---|", flush=True)
    for name, (settings, regressor, log_basis) in variants.items():
        start = time.perf_counter()
        errors = validation_errors(library, settings, regressor, log_basis)
        print(f"| {name} | {table_row(errors)} | {(time.perf_counter() - start) / 60:.1f} |", flush=True)


if __name__ == "__main__":
    main()
