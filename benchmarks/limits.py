"""Speed of the Fisher forecast against a finite-difference loop over spectra, in the same run on one core.

The forecast: exact Jacobians of the folded emulator, 5 labels, free flux scale, float64, stars in batches.
The loop does what the reference's Fisher code does, one spectrum at a time with NumPy: central differences of
the forward model in each label (library spectrum, line-spread function and pixels, photometric band), noise,
JᵀWJ, inverse. A second, leaner loop differentiates the already folded emulator instead.

Times are CPU times of one thread, interleaved; the loops are timed on fewer stars. The bounds are compared.

    python benchmarks/limits.py [--stars 10000] [--loop 10] [--instrument pfs_mr_reference] [--device cpu]
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from specvit.instrument import Instrument
from specvit.library import Emulator
from specvit.limits import Forecaster, prior_draws

MAG = 21.5
LOG_G = 1
#: Central-difference steps in units of the labels: K and dex.
STEPS = np.array([5.0, 0.01, 0.01, 0.01, 0.01])

Flux = Callable[[np.ndarray], np.ndarray]


class ForwardModel:
    """Labels (P,) -> band-normalised flux (L,), one spectrum at a time from the library's own samples."""

    def __init__(self, emulator: Emulator, instrument: Instrument) -> None:
        self.emulator = emulator
        self.matrix = instrument.lsf_matrix(emulator.grid, emulator.resolution)
        self.band = instrument.band.weights(emulator.grid)

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Return the noise-free spectrum of one star."""
        with torch.no_grad():
            flux = self.emulator(torch.from_numpy(labels[None]))[0].numpy()
        return self.matrix @ flux / (self.band @ flux)


class FoldedModel:
    """The same from the folded emulator."""

    def __init__(self, emulator: Emulator, instrument: Instrument) -> None:
        self.observed = instrument.observe(emulator)

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Return the noise-free spectrum of one star."""
        with torch.no_grad():
            return self.observed(torch.from_numpy(labels[None]))[0].numpy()


def crlb_by_differences(model: Flux, instrument: Instrument, labels: np.ndarray) -> float:
    """Return the CRLB of log g of one star, flux scale free, from central differences."""
    flux = model(labels)
    columns = [(model(labels + s) - model(labels - s)) / (2 * s.sum()) for s in np.diag(STEPS)]
    conditions = instrument.fixed_conditions(1, mag=MAG)
    sigma = instrument.noise_sigma(torch.from_numpy(flux[None]), conditions)[0].numpy()
    weighted = np.stack([*columns, flux], axis=1) / sigma[:, None]
    return float(np.linalg.inv(weighted.T @ weighted)[LOG_G, LOG_G])


def seconds(job: Callable[[], object], wall: bool) -> float:
    """Return the CPU (or wall) seconds of `job`."""
    clock = time.perf_counter if wall else time.process_time
    began = clock()
    job()
    return clock() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stars", type=int, default=10_000)
    parser.add_argument("--loop", type=int, default=10, help="stars of the finite-difference loops")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--instrument", default="pfs_mr_reference")
    parser.add_argument(
        "--device", default="cpu", help="where the forecast runs; cuda is timed by wall clock"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)

    emulator, instrument = Emulator.builtin(), Instrument.load(options.instrument)
    space = emulator.label_space
    # The differences must stay inside the domain.
    edge = {n: (a + s, b - s) for n, a, b, s in zip(space.names, space.low, space.high, STEPS, strict=True)}
    stars = prior_draws(space.replace(**edge), options.stars, seed=1)
    forecaster = Forecaster(emulator, instrument, device=options.device)
    found: list[Tensor] = []

    def batched() -> None:
        conditions = instrument.fixed_conditions(len(stars), mag=MAG)
        found.append(forecaster.forecast(stars, [conditions])[0].crlb)

    on_gpu = options.device != "cpu"
    batched()
    double = copy.deepcopy(emulator).double()
    models: dict[str, Flux] = {
        "loop, full forward model": ForwardModel(double, instrument),
        "loop, folded emulator": FoldedModel(double, instrument),
    }
    few = stars[: options.loop].numpy()
    fast: list[float] = []
    slow: dict[str, list[float]] = {name: [] for name in models}
    bounds: dict[str, np.ndarray] = {}
    for _ in range(options.repeats):
        for name, model in models.items():
            began = time.process_time()
            bounds[name] = np.array([crlb_by_differences(model, instrument, row) for row in few])
            slow[name].append((time.process_time() - began) / len(few))
        fast.append(seconds(batched, wall=on_gpu) / options.stars)
    each = statistics.median(fast)
    print(
        f"Fisher forecast, {options.instrument}, 5 labels, {options.stars:,} stars, {options.device}; "
        f"median of {options.repeats} repeats"
    )
    print(f"  batched, exact Jacobian   {1e3 * each:9.3f} ms/star  {each * options.stars:8.1f} s in all")
    for name, times in slow.items():
        ratio = statistics.median(s / f for s, f in zip(times, fast, strict=True))
        difference = np.median(np.abs(bounds[name] / found[-1][: options.loop].numpy() - 1))
        print(
            f"  {name:25s} {1e3 * statistics.median(times):9.3f} ms/star  ratio {ratio:8,.0f}"
            f"   CRLB differs by {100 * difference:.3f} % (median)"
        )


if __name__ == "__main__":
    # NumPy's BLAS reads its thread count when it is loaded; idle threads of its own would count as CPU time.
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if not one_thread.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | one_thread)
    main()
