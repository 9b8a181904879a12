"""How often stated intervals hold for other stars than those of the training, and what `specvit calibrate` mends.

    python tools/measure_other_stars.py              # subspace in five worlds: ten minutes on one core
    python tools/measure_other_stars.py vit --worlds dwarfs lattice

For each world, over all spectra: the share of truths inside the 68 % intervals of log g, and of the label that is
furthest off, and the RMSE of log g. "trained" is the network as it comes; "weighted" what `reweighted` makes of it by
the prior alone; "corrected" its errors corrected by spectra of the new stars without that; "both" is `specvit calibrate`.
Spectra that correct and spectra that are measured are of the split kept for it, and share no star.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from _bars import Bars
from specvit.estimators import NetworkEstimator, load_pretrained, pretrained_names
from specvit.evaluate import Coverage
from specvit.jobs import recalibrate, simulated_stars
from specvit.jobs.recalibration import measured_coverage, training_world

#: In what each world differs from that of the training.
WORLDS: dict[str, dict[str, Any]] = {
    "dwarfs": {"bounds": {"log_g": (4.0, 5.0)}},
    "giants": {"bounds": {"log_g": (1.0, 3.0)}},
    "metal-poor giants": {"bounds": {"log_g": (1.0, 3.0), "m_h": (-2.5, -1.0)}},
    "lattice": {"prior": "lattice"},
    "noise level 0.1": {"noise_level": 0.1},
}


def measure(estimator: NetworkEstimator, changes: dict[str, Any], seed: int) -> dict[str, Coverage]:
    """Return the coverage of a network in a world, by what was done to it."""
    stars, bars = (
        simulated_stars(estimator, replace(training_world(estimator), **changes), None, seed),
        Bars(),
    )
    both = recalibrate(estimator, stars, watch=bars)
    corrected = recalibrate(estimator, stars, reweight=False, watch=bars)
    with bars.task("weighted") as update:
        assert stars.prior is not None
        weighted = measured_coverage(estimator.reweighted(stars.prior), stars.measured, update)
    return {"trained": both.before, "weighted": weighted, "corrected": corrected.after, "both": both.after}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(pretrained_names())}; subspace")
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--seed", type=int, default=43)
    options = parser.parse_args()
    for name in options.networks or ["subspace"]:
        print(f"{name}, seed {options.seed}: 68 % of log g, 68 % of the label furthest off, RMSE of log g")
        for world in options.worlds:
            found = measure(load_pretrained(name), WORLDS[world], options.seed)
            for done, part in found.items():
                at, held = part.names.index("log_g"), 100 * part.held[68]
                worst = int(abs(held - 68).argmax())
                print(
                    f"  {world:18s} {done:10s} {held[at]:5.1f}  {held[worst]:5.1f} ({part.names[worst]})"
                    f"  {part.rmse[at]:.3f}  of {part.spectra:,}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
