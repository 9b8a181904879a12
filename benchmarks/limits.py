"""Speed of the Fisher forecast against a finite-difference loop over spectra, in the same run.

The forecast: exact Jacobians of the folded emulator, 5 labels, free flux scale, stars in batches. The loop
does what the reference's Fisher code does, one spectrum at a time with NumPy: central differences of the
forward model in each label (library spectrum, line-spread function and pixels, photometric band), noise,
JᵀWJ, inverse. A second, leaner loop differentiates the already folded emulator instead.

Two ratios: wall-clock time (what a user waits), each job on one thread or on all, whichever is faster, as a
loop over spectra has little use for a second core; and CPU time, both on one thread. All jobs are interleaved and the loops timed on fewer
stars; ratios are medians over the repeats. Stars share their conditions, as in a table of magnitudes; the
forecast is also timed with conditions of each star's own, as for the stars of a survey. The bounds are
compared, with the loops' and between float32 and float64.

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
SINGLE, OWN = "batched, exact Jacobian", "batched, own conditions"
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


def timed(job: Callable[[], object], threads: int) -> tuple[float, float]:
    """Return wall and CPU seconds of `job` on this many threads of PyTorch."""
    torch.set_num_threads(threads)
    wall, cpu = time.perf_counter(), time.process_time()
    job()
    return time.perf_counter() - wall, time.process_time() - cpu


def forecasts(
    emulator: Emulator, instrument: Instrument, stars: Tensor, device: str, dtype: torch.dtype
) -> dict[str, Callable[[], Tensor]]:
    """Return the batched jobs by name; each returns the CRLB of log g of all stars."""
    forecaster = Forecaster(emulator, instrument, device=device, dtype=dtype)
    same = instrument.fixed_conditions(len(stars), mag=MAG)
    drawn = instrument.sample_conditions(len(stars), torch.Generator().manual_seed(1))
    return {
        name: lambda conditions=conditions: forecaster.forecast(stars, [conditions])[0].crlb
        for name, conditions in ((SINGLE, same), (OWN, drawn))
    }


def largest_difference(emulator: Emulator, instrument: Instrument, stars: Tensor, device: str) -> float:
    """Return the largest relative change of the CRLB of log g from float64 to float32."""
    single, double = (
        forecasts(emulator, instrument, stars, device, dtype)[SINGLE]()
        for dtype in (torch.float32, torch.float64)
    )
    return float((single / double - 1).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stars", type=int, default=10_000)
    parser.add_argument("--loop", type=int, default=10, help="stars of the finite-difference loops")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--instrument", default="pfs_mr_reference")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--device", default="cpu", help="where the forecast runs; the loops stay on the CPU")
    options = parser.parse_args()
    threads = torch.get_num_threads()

    emulator, instrument = Emulator.builtin(), Instrument.load(options.instrument)
    space = emulator.label_space
    # The differences must stay inside the domain.
    edge = {n: (a + s, b - s) for n, a, b, s in zip(space.names, space.low, space.high, STEPS, strict=True)}
    stars = prior_draws(space.replace(**edge), options.stars, seed=1)
    few, double = stars[: options.loop].numpy(), copy.deepcopy(emulator).double()
    loops: dict[str, Flux] = {
        "loop, full forward model": ForwardModel(double, instrument),
        "loop, folded emulator": FoldedModel(double, instrument),
    }
    jobs: dict[str, Callable[[], object]] = {
        name: lambda model=model: [crlb_by_differences(model, instrument, row) for row in few]
        for name, model in loops.items()
    }
    batched = forecasts(emulator, instrument, stars, options.device, getattr(torch, options.dtype))
    jobs |= batched
    count = dict.fromkeys(loops, len(few)) | dict.fromkeys(batched, len(stars))
    bounds = {name: np.asarray(job()) for name, job in jobs.items()}  # also warms up

    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(options.repeats):
        for name, job in jobs.items():
            alone, together = timed(job, 1), timed(job, threads)
            wall = min(alone[0], together[0])
            spent[name].append((wall / count[name], alone[1] / count[name]))
    print(
        f"Fisher forecast, {options.instrument}, 5 labels, {options.stars:,} stars, {options.device}, "
        f"{options.dtype}; medians of {options.repeats} interleaved repeats\n"
        f"{'':28s}{f'wall, up to {threads} threads':>30s}{'CPU, one thread':>30s}"
    )
    for name, times in spent.items():
        cells = ""
        for column in range(2):
            each = statistics.median(t[column] for t in times)
            ratio = statistics.median(
                t[column] / f[column] for t, f in zip(times, spent[SINGLE], strict=True)
            )
            cells += f"{1e3 * each:13.3f} ms/star x {ratio:6.1f}"
        print(f"  {name:26s}{cells}")
    for name in loops:
        difference = np.median(np.abs(bounds[name] / bounds[SINGLE][: len(few)] - 1))
        print(f"  {name}: CRLB differs by {100 * difference:.3f} % (median)")
    rounding = largest_difference(emulator, instrument, stars[:2000], options.device)
    print(f"  float32 against float64: CRLB differs by {rounding:.1e} at most ({len(stars[:2000]):,} stars)")


if __name__ == "__main__":
    # NumPy's BLAS reads its thread count when it is loaded. Its products here are too small for two threads,
    # and an idle second one would count as CPU time.
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    main()
