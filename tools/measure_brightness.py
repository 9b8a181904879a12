"""How the errors of trained networks fall with the brightness of a star, beside those of the template posterior.

    python tools/measure_brightness.py                  # what comes trained; ten minutes, most of it the posterior
    python tools/measure_brightness.py subspace --stars 400 --label log_g teff

Root mean square error of labels, log g if not said otherwise, on the same test stars at fixed S/N, its ratio to that of
the posterior mean (which knows the library, the prior and the sigma of a pipeline: `specvit.PosteriorMean`), with the
68 % interval of resampled stars, and the share of truths inside the stated 68 %.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.pretrained import load_pretrained, pretrained_names
from specvit.inference import PosteriorMean
from specvit.models import Prediction
from specvit.simulate import Widening, World

SHARE = 0.68
SNRS = (5.0, 15.0, 30.0, 60.0, 120.0, 240.0, 300.0)
RESAMPLES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help="names that come trained, or folders; all shipped ones")
    parser.add_argument("--stars", type=int, default=128, help="at each S/N")
    parser.add_argument("--seed", type=int, default=45)
    parser.add_argument("--label", nargs="+", default=["log_g"])
    options = parser.parse_args()
    names = options.networks or pretrained_names()
    models = [
        load_pretrained(n) if n in pretrained_names() else NetworkEstimator.load(Path(n)) for n in names
    ]
    generator = np.random.default_rng(options.seed)
    head = "| S/N | template posterior |" + "".join(f" {m.name} | ratio | in 68 % |" for m in models)
    tables: dict[str, list[str]] = {
        label: [head, "|---|---|" + "---|---|---|" * len(models)] for label in options.label
    }
    for snr in SNRS:
        simulator = World(widening=Widening(share=1.0, snr=(snr, snr), noise_factor=(1.0, 1.0))).build()
        source = simulator.source("test", options.seed, options.stars)
        batch = source.draw(0, options.stars)
        # It reads no spectrum when it is fitted.
        posterior = PosteriorMean(simulator.observed).fit(source, source)
        best = posterior.predict(batch.flux, batch.sigma)
        found = [model.predict(batch.flux, batch.sigma) for model in models]
        rows = torch.from_numpy(generator.integers(0, options.stars, (RESAMPLES, options.stars)))
        for label, table in tables.items():
            truth = batch.known_labels()[:, simulator.prior.label_space.index(label)].double()
            table.append(row_of(snr, label, truth, best, found, rows))
        print(f"S/N {snr:g} done", file=sys.stderr, flush=True)
    for label, table in tables.items():
        print(f"rms of {label}, {options.stars} stars at each S/N, seed {options.seed}\n")
        print("\n".join(table) + "\n")


def row_of(
    snr: float, label: str, truth: Tensor, best: Prediction, found: list[Prediction], rows: Tensor
) -> str:
    """Return a row of the table of a label: of stars with truth (N,), by the posterior and by networks."""
    least = (best.mean[:, best.names.index(label)] - truth).square()
    digits = 1 if label == "teff" else 3
    cells = [f"{snr:g}", f"{float(least.mean().sqrt()):.{digits}f}"]
    for one in found:
        at = one.names.index(label)
        assert one.quantiles is not None
        low, high = one.quantiles.interval(SHARE)
        error = (one.mean[:, at] - truth).square()
        ratios = (error[rows].mean(dim=1) / least[rows].mean(dim=1)).sqrt()
        ratio, spread = float((error.mean() / least.mean()).sqrt()), float(ratios.std())
        held = ((low[:, at] <= truth) & (truth <= high[:, at])).double().mean()
        cells += [
            f"{float(error.mean().sqrt()):.{digits}f}",
            f"{ratio:.2f} ± {spread:.2f}",
            f"{100 * float(held):.0f}",
        ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
