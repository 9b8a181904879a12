"""Time and precision of the exact Bayes ceiling, and what the known amplitude would change.

    python benchmarks/bayes.py [--stars 2000] [--instrument pfs_mr_reference] [--prior uniform] [--threads 1]
        [--known-amplitude] [--device cpu]

Prints wall and CPU time, effective sample sizes, R2_bayes pooled and per SNR bin with its errors, what the
posterior mean reaches on the same stars, the widths of the posteriors against the true labels, and the p-values of
simulation-based calibration.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import time

import numpy as np
import torch
from scipy import stats

from specvit.limits.bayes import (
    BayesCeiling,
    BayesR2,
    Observation,
    Posterior,
    bayes_r2,
    bayes_r2_by_bin,
    posterior_widths,
)
from specvit.simulate import Simulator

LABEL = "log_g"
EDGES = torch.tensor([0.0, 2.0, 3.5, 5.0, 7.0, 10.0, 14.0, 1000.0])
RANK_BINS = 16


def run(options: argparse.Namespace, amplitude: str) -> tuple[Posterior, torch.Tensor, torch.Tensor, float]:
    """Return posteriors, true labels, S/N and prior variance; prints the time."""
    simulator = Simulator.build(options.instrument, prior=options.prior)
    batch = simulator.draw("test", options.seed, 0, options.stars)
    seen = Observation.from_batch(batch, simulator.instrument)
    moved = Observation(*(getattr(seen, f.name).to(options.device) for f in dataclasses.fields(seen)))
    observed = copy.deepcopy(simulator.observed).to(options.device)
    ceiling = BayesCeiling(observed, simulator.prior, amplitude=amplitude)
    wall, cpu = time.perf_counter(), time.process_time()
    posterior = ceiling.posterior(moved)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{options.instrument}, {options.prior} prior, amplitude {amplitude}, {options.stars} stars: "
        f"{wall:.0f} s wall, {cpu:.0f} s CPU ({cpu / options.stars:.3f} s per star, bank included), "
        f"{torch.get_num_threads()} threads, {options.device}"
    )
    print(
        f"likelihoods per star: mean {posterior.samples.double().mean():.0f}, "
        f"most {posterior.samples.max()}; effective samples: median {posterior.ess.median():.0f}, "
        f"least {posterior.ess.min():.0f}; Pareto k: median {posterior.pareto_k.median():.2f}, "
        f"largest {posterior.pareto_k.max():.2f}; not converged: {int((~posterior.converged).sum())}"
    )
    return posterior, batch.labels, batch.snr, simulator.prior.variance(LABEL)


def line(name: str, row: BayesR2) -> str:
    return (
        f"{name:>12} {row.stars:6d}  {row.value:.4f} ± {row.star_error:.4f} (stars) "
        f"± {row.sampler_error:.4f} (sampler)  reached {row.reached:.4f} ({row.discrepancy:+.1f} σ)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--stars", type=int, default=2000)
    parser.add_argument("--instrument", default="pfs_mr_reference")
    parser.add_argument("--prior", default="uniform")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--known-amplitude", action="store_true", help="run again with the amplitude known")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    posterior, labels, snr, variance = run(options, "marginal")
    pooled = bayes_r2(posterior, labels, LABEL, variance)
    print(line("pooled", pooled))
    for low, high, row in zip(
        EDGES, EDGES[1:], bayes_r2_by_bin(posterior, labels, LABEL, variance, snr, EDGES), strict=False
    ):
        if row is not None:
            print(line(f"SNR {low:g}-{high:g}", row))
    width = posterior_widths(posterior, labels)
    print(
        f"against true labels, mean over labels, 1 expected: variance {width.variance:.4f} ± {width.variance_error:.4f}, "
        f"spread of ranks {width.ranks:.4f} ± {width.ranks_error:.4f}"
    )
    edges = np.linspace(0, posterior.draws.shape[1] + 1, RANK_BINS + 1)
    for name, ranks in zip(posterior.names, posterior.rank(labels).T.numpy(), strict=True):
        p_value = stats.chisquare(np.histogram(ranks, edges)[0]).pvalue
        print(f"ranks of {name}: p = {p_value:.3f} that they are uniform")
    if options.known_amplitude:
        known = bayes_r2(run(options, "known")[0], labels, LABEL, variance)
        print(line("known", known), f" difference {known.value - pooled.value:+.4f}")


if __name__ == "__main__":
    main()
