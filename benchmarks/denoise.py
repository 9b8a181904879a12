"""Spectra per second of denoisers that work by the emulator or in closed form, and of the subspace denoiser's training.

The exact posterior mean is what the others are held against: the ratio of their speeds to it is what a trained
denoiser is for. Networks of pixels are in denoise_networks.py.

    python benchmarks/denoise.py [--spectra 512] [--posteriors 16] [--steps 10] [--threads 0]

Training counts drawing, fits and steps; front ends are fitted before the clock starts.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch

from _clock import median_seconds
from _machine import heading
from specvit.denoise import BayesDenoiser, SubspaceDenoiser, WienerDenoiser
from specvit.denoise.subspace import RECIPE
from specvit.simulate import Simulator, endless, splits

SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spectra", type=int, default=512, help="denoised at once")
    parser.add_argument("--posteriors", type=int, default=16, help="spectra of the exact posterior mean")
    parser.add_argument("--steps", type=int, default=10, help="of the training")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    simulator = Simulator.build()
    train, held_out = endless(simulator, SEED), simulator.source(splits.VALIDATION, SEED, 64)
    stars = simulator.draw(splits.TEST, SEED, 0, options.spectra)
    print("Denoising 4096 pixels")
    print(heading("cpu", torch.get_num_threads(), SEED))
    ends: list[float] = []
    recipe = replace(RECIPE, minutes=0.0, steps=options.steps, validations=1)
    # Every report is timed; the first is that of the first steps.
    subspace = SubspaceDenoiser(
        simulator.observed, recipe=recipe, listen=lambda record: ends.append(record["seconds"])
    )
    begin = time.perf_counter()
    subspace.fit(train, held_out)
    whole = time.perf_counter() - begin
    wiener = WienerDenoiser().fit(train, held_out)
    bayes = BayesDenoiser(simulator.observed).fit(train, held_out)
    some = stars[: options.posteriors]
    begin = time.perf_counter()
    bayes.denoise(some.flux, some.sigma)
    exact = options.posteriors / (time.perf_counter() - begin)
    print(f"  {'':34} {'spectra/s':>10} {'over exact':>11}")
    print(f"  {bayes.name + ', bank included':34} {exact:10.2f} {1:11.1f}")
    for denoiser in (wiener, subspace):
        seconds = median_seconds(lambda one=denoiser: one.denoise(stars.flux, stars.sigma), "cpu", 3)
        print(
            f"  {denoiser.name:34} {options.spectra / seconds:10.0f} {options.spectra / seconds / exact:11.1f}"
        )
    trained = options.steps * recipe.batch
    print(
        f"  training of {subspace.name:22} {trained / ends[-1]:10.0f}, {trained:,} spectra; {whole:.0f} s in all"
    )


if __name__ == "__main__":
    main()
