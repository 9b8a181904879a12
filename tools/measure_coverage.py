"""How often the intervals that trained networks state hold the truth, by S/N and label, on test stars.

    python tools/measure_coverage.py                        # what comes trained, 80,000 stars: two minutes
    python tools/measure_coverage.py vit --stars 20000
    python tools/measure_coverage.py runs/mine/models/subspace-small --uncorrected

The stars are of the reference world's test split, so no network saw them in training or in the correction of its
errors. `--uncorrected` takes that correction out: what the network itself says.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.pretrained import load_pretrained, pretrained_names
from specvit.evaluate import snr_bins
from specvit.models.calibration import Calibration
from specvit.models.heads import QUANTILES
from specvit.simulate import Simulator

#: Nominal shares of the intervals.
INTERVALS = (0.68, 0.95)

PIECE = 2000


def load(name: str, uncorrected: bool) -> NetworkEstimator:
    """Return the network of a folder, or the shipped one of a name."""
    model = load_pretrained(name) if name in pretrained_names() else NetworkEstimator.load(Path(name))
    if model.network.head.kind != "ordinal":
        raise SystemExit(
            f"{name}: its {model.network.head.kind} head states no quantiles; train an ordinal one"
        )
    if uncorrected:
        model.network.head.calibration = Calibration(len(model.label_space), QUANTILES)
    return model


def measure(model: NetworkEstimator, simulator: Simulator, stars: int, seed: int) -> np.ndarray:
    """Return the share of truths inside, shape (intervals, S/N bins, labels), and the stars per bin."""
    bins, names = snr_bins(), model.label_space.names
    columns = [simulator.prior.label_space.index(name) for name in names]
    held = np.zeros((len(INTERVALS), len(bins), len(names)))
    count = np.zeros(len(bins))
    for start in track(range(0, stars, PIECE), model.name, console=Console(stderr=True)):
        batch = simulator.draw("test", seed, start, min(start + PIECE, stars), truth=False)
        truth, where = batch.labels[:, columns].double(), bins.assign(batch.snr)
        found = model.predict(batch.flux, batch.sigma, simulator.grid)
        for k in range(len(bins)):
            rows = torch.from_numpy(np.flatnonzero(where == k))
            count[k] += len(rows)
            for i, nominal in enumerate(INTERVALS):
                low, high = found[rows].quantiles.interval(nominal)
                held[i, k] += ((low <= truth[rows]) & (truth[rows] <= high)).sum(dim=0).numpy()
    return held / count[:, None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help="names that come trained, or folders; all shipped ones")
    parser.add_argument("--stars", type=int, default=80_000)
    parser.add_argument("--seed", type=int, default=43)
    parser.add_argument("--uncorrected", action="store_true", help="without the correction of the errors")
    options = parser.parse_args()
    if options.stars < 10_000:
        parser.error(f"--stars {options.stars}: fewer than 10,000 leave bins of S/N nearly empty")
    simulator = Simulator.build()
    for name in options.networks or pretrained_names():
        model = load(name, options.uncorrected)
        share = measure(model, simulator, options.stars, options.seed)
        print(f"{name}, {options.stars:,} test stars, seed {options.seed}; S/N bins from left to right, %")
        for i, nominal in enumerate(INTERVALS):
            for label, row in zip(model.label_space.names, share[i].T, strict=True):
                print(f"  {100 * nominal:.0f} %  {label:8s} " + " ".join(f"{100 * x:5.1f}" for x in row))
            worst = np.abs(share[i] - nominal).max()
            print(f"  {100 * nominal:.0f} %  furthest off: {100 * worst:.1f} points")


if __name__ == "__main__":
    main()
