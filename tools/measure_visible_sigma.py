"""Measure how far the sigma that estimators see is from the true one, by magnitude and kind; a Markdown table.

    python tools/measure_visible_sigma.py
    python tools/measure_visible_sigma.py --instrument pfs_mr --stars 500 --seed 7

Stars of the prior, conditions as the instrument draws them, all at one magnitude. The table of docs/instrument.md.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from specvit.simulate import Simulator

KINDS = ("pipeline", "tilted")
MAGNITUDES = tuple(range(16, 24))
SHARES = (0.1, 1, 5, 95, 99, 99.9)


def errors(simulator: Simulator, magnitude: float, stars: int, seed: int) -> np.ndarray:
    """Return visible / true sigma - 1 in percent, shape (stars, pixels)."""
    labels, conditions = simulator.labels_and_conditions("test", seed, 0)
    conditions = {name: values[:stars] for name, values in conditions.items()}
    conditions["mag"] = torch.full((stars,), magnitude)
    noise = torch.randn(stars, simulator.grid.size, generator=torch.Generator().manual_seed(seed))
    batch = simulator.observe(labels[:stars], conditions, noise)
    assert batch.truth is not None
    return 100 * (batch.sigma / batch.truth.sigma - 1).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instrument", default="pfs_mr_reference", help="preset or file")
    parser.add_argument("--stars", type=int, default=1000, help="at each magnitude, at most 2048")
    parser.add_argument("--seed", type=int, default=20261127)
    options = parser.parse_args()
    simulators = {kind: Simulator.build(options.instrument, visible_sigma=kind) for kind in KINDS}
    head = [f"{kind}: {part}" for kind in KINDS for part in ("90 %", "98 %", "99.8 %", "rms")]
    print("| i |", " | ".join(head), "|")
    print("|---" * (1 + len(head)) + "|")
    for magnitude in MAGNITUDES:
        cells = []
        for simulator in simulators.values():
            found = errors(simulator, float(magnitude), options.stars, options.seed)
            low, middle, outer, inner, high, most = np.percentile(found, SHARES)
            pairs = ((outer, inner), (middle, high), (low, most))
            cells += [f"{a:+.1f} to {b:+.1f}" for a, b in pairs]
            cells.append(f"{np.sqrt(np.mean(found**2)):.2f}")
        print(f"| {magnitude} |", " | ".join(cells).replace("-", "−"), "|", flush=True)


if __name__ == "__main__":
    main()
