"""Ridge experts of nine bins from one pass over a stream of spectra, against scikit-learn's Ridge for each bin.

Both read the same simulated spectra in the same batches and fit the same penalty; scikit-learn has to hold the spectra
of a bin, so it is timed on as many spectra as fit in memory and its time per spectrum is scaled to the stream. That
both are the same models is checked first, on the spectra of scikit-learn.

    python benchmarks/experts.py [--spectra 1000000] [--held 20000] [--rebin 1] [--threads 0] [--quick]

Simulation is timed apart and is in neither figure.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from _machine import heading
from specvit.models.experts import parse_partition
from specvit.models.experts.pools import BinPools, RidgePath
from specvit.simulate import Simulator, splits

ALPHA, SEED, BATCH = 100.0, 1, 4096
PARTITION = parse_partition("teff-mh")


def grouped(flux: torch.Tensor, size: int) -> torch.Tensor:
    return flux if size == 1 else flux[:, : flux.shape[1] // size * size].unflatten(1, (-1, size)).mean(dim=2)


def bins_of(labels: torch.Tensor, names: tuple[str, ...]) -> torch.Tensor:
    bins = PARTITION.bins_of(dict(zip(names, labels.T, strict=True)), len(labels))
    return torch.where(bins < 0, len(PARTITION), bins)


def one_pass(simulator: Simulator, count: int, rebin: int) -> tuple[BinPools, float, float]:
    """Return the pools of `count` spectra, seconds of the sums, and seconds of the simulation."""
    names, pools = simulator.prior.label_space.names, BinPools(len(PARTITION) + 1)
    summing = drawing = 0.0
    begin = time.perf_counter()
    for batch in simulator.source(splits.TRAIN, SEED, count).batches(BATCH):
        drawn = time.perf_counter()
        log_g = batch.labels[:, [names.index("log_g")]]
        pools.add(grouped(batch.flux.double(), rebin), log_g, bins_of(batch.labels, names))
        summed = time.perf_counter()
        drawing, summing, begin = drawing + drawn - begin, summing + summed - drawn, summed
    return pools, summing, drawing


def solve(pools: BinPools) -> tuple[list[RidgePath], float]:
    begin = time.perf_counter()
    paths = [RidgePath.of(pool, standardise=False) for pool in pools.pools]
    for path in paths:
        path.weights([ALPHA])
    return paths, time.perf_counter() - begin


def scikit_learn(simulator: Simulator, count: int, rebin: int) -> tuple[list[np.ndarray], float]:
    """Return the weights of every bin and seconds of the fits, of spectra already in memory."""
    from sklearn.linear_model import Ridge as SklearnRidge

    names = simulator.prior.label_space.names
    batch = simulator.source(splits.TRAIN, SEED, count).draw(0, count)
    flux = grouped(batch.flux.double(), rebin).numpy()
    log_g = batch.labels[:, names.index("log_g")].double().numpy()
    bins = bins_of(batch.labels, names).numpy()
    begin = time.perf_counter()
    fits = [
        SklearnRidge(alpha=ALPHA).fit(flux[bins == k], log_g[bins == k]) for k in range(len(PARTITION) + 1)
    ]
    return [fit.coef_ for fit in fits], time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spectra", type=int, default=1_000_000)
    parser.add_argument("--held", type=int, default=20_000, help="spectra that scikit-learn holds at once")
    parser.add_argument("--rebin", type=int, default=1, help="pixels averaged")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="20,000 spectra of 1,024 inputs")
    options = parser.parse_args()
    if options.quick:
        options.spectra, options.held, options.rebin = 20_000, 5_000, 4
    if options.threads:
        torch.set_num_threads(options.threads)
    simulator = Simulator.build()
    inputs = simulator.grid.size // options.rebin
    print(f"Ridge experts of {len(PARTITION)} bins and the stars outside, {inputs:,} inputs")
    print(heading("cpu", torch.get_num_threads(), SEED, ("scikit-learn",)))
    theirs, seconds = scikit_learn(simulator, options.held, options.rebin)
    ours, _ = solve(one_pass(simulator, options.held, options.rebin)[0])
    worst = max(
        float(np.abs(path.weights([ALPHA])[:, 0].numpy() - one).max() / np.abs(one).max())
        for path, one in zip(ours, theirs, strict=True)
    )
    print(f"  weights of {options.held:,} spectra differ by {worst:.1e} of the largest at most")
    scaled = seconds * options.spectra / options.held
    pools, summing, drawing = one_pass(simulator, options.spectra, options.rebin)
    _, solving = solve(pools)
    total = summing + solving
    print(f"  {'':34} {'seconds':>9} {'spectra/s':>11}")
    print(f"  {'one pass: sums':34} {summing:9.1f} {options.spectra / summing:11,.0f}")
    print(f"  {'one pass: eigenvectors, all penalties':34} {solving:9.1f}")
    print(
        f"  {'one pass: both, ' + format(options.spectra, ','):34} {total:9.1f} {options.spectra / total:11,.0f}"
    )
    print(
        f"  {'scikit-learn, ' + format(options.held, ',') + ', one penalty':34} {seconds:9.1f} {options.held / seconds:11,.0f}"
    )
    print(f"  {'scikit-learn, scaled':34} {scaled:9.1f}")
    print(f"  ratio {scaled / total:.2f}; drawing the spectra took {drawing:.0f} s")


if __name__ == "__main__":
    main()
