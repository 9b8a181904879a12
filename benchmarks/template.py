"""Time and accuracy of the template fit and of the posterior mean as estimators.

    python benchmarks/template.py [--stars 500] [--posterior 500] [--order 0] [--seed 42] [--threads 1]

Prints wall and CPU time per star, and for log g R² with its 95 % bootstrap interval, pooled and per S/N bin,
beside the Bayes ceiling's posterior on the same stars if asked for (--ceiling).
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
import torch

from specvit.evaluate import SCORES, bootstrap
from specvit.inference import PosteriorMean, TemplateFit
from specvit.limits.bayes import BayesCeiling, Observation
from specvit.simulate import Simulator

LABEL = "log_g"
EDGES = (0.0, 3.5, 5.0, 7.0, 10.0, 14.0, 1000.0)


def report(name: str, mean: np.ndarray, std: np.ndarray, truth: np.ndarray, snr: np.ndarray) -> None:
    r2 = bootstrap(SCORES["r2"], truth, mean, resamples=1000, seed=0)
    inside = np.mean(np.abs(mean - truth) < std)
    mae, bias = np.mean(np.abs(mean - truth)), np.mean(mean - truth)
    print(f"{name}: R² {r2.value:.3f} [{r2.low:.3f}, {r2.high:.3f}], MAE {mae:.3f}, bias {bias:+.3f}, "
          f"within 1 σ {100 * inside:.1f} %")  # fmt: skip
    for low, high in itertools.pairwise(EDGES):
        rows = (snr >= low) & (snr < high)
        if rows.sum() > 20:
            score = float(SCORES["r2"](truth[rows], mean[rows]))
            rms = float(np.sqrt(np.mean((mean[rows] - truth[rows]) ** 2)))
            print(f"    S/N {low:g}-{high:g}: {rows.sum():4d} stars, R² {score:+.3f}, RMS {rms:.3f} dex")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--stars", type=int, default=500)
    parser.add_argument("--posterior", type=int, default=500, help="stars of the posterior mean, 0 for none")
    parser.add_argument("--order", type=int, default=0, help="of the fitted continuum")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ceiling", action="store_true", help="also the Bayes ceiling's posterior")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    simulator = Simulator.build("pfs_mr_reference")
    source = simulator.source("train", options.seed, 1)
    runs = [(TemplateFit(simulator.observed, options.order), options.stars)]
    if options.posterior:
        runs.append((PosteriorMean(simulator.observed), options.posterior))
    at = simulator.prior.label_space.index(LABEL)
    for model, count in runs:
        test = simulator.draw("test", options.seed, 0, count)
        truth, snr = test.labels[:, at].double().numpy(), test.snr.numpy()
        model.fit(source, source)
        wall, cpu = time.perf_counter(), time.process_time()
        found = model.predict(test.flux, test.sigma)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        converged = int(found.diagnostics.converged.sum())
        print(f"{model.name}, {count} stars: {wall:.1f} s wall, {cpu:.1f} s CPU, {1e3 * cpu / count:.0f} ms "
              f"CPU per star, {converged} converged, {torch.get_num_threads()} threads")  # fmt: skip
        report(f"  {LABEL}", found.mean[:, at].numpy(), found.std[:, at].numpy(), truth, snr)
        if found.diagnostics.on_face is not None:
            face, several = found.diagnostics.on_face, found.diagnostics.minima > 1
            print(f"  on a face: {LABEL} {int(face[:, at].sum())}, any label {int(face.any(1).sum())}; "
                  f"several minima: {int(several.sum())}")  # fmt: skip
    if options.ceiling and options.posterior:
        observation = Observation.from_batch(test, simulator.instrument, simulator.noise_level)
        posterior = BayesCeiling(simulator.observed, simulator.prior).posterior(observation)
        std = posterior.variance(LABEL).sqrt().numpy()
        report("ceiling's posterior", posterior.mean[:, at].numpy(), std, truth, snr)


if __name__ == "__main__":
    main()
