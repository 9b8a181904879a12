"""Train the networks that come with specvit, and put them where the package ships them from.

    python tools/build_pretrained.py subspace vit
    python tools/build_pretrained.py vit --minutes 60 --threads 1
    python tools/build_pretrained.py vit --minutes 60 --continue
    python tools/build_pretrained.py subspace vit --refine
    python tools/build_pretrained.py subspace vit --recalibrate

One command per release of the emulator: a bundle is right only for the world it was trained in. What was done
is written into the manifest and the card of each bundle. Training continues from its checkpoint if it was
interrupted; `--continue` trains the published network further, at a lower rate. `--refine` gives it a learnt
Gauss-Newton step for bright stars, and leaves it as it is for all others, in half an hour on a core. `--recalibrate`
leaves the weights, and so the estimates, as they are: it fits the correction of the stated errors anew, scores the
network again and saves it, in about a minute.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from _bars import Bars
from specvit.errors import DataError
from specvit.estimators import NetworkEstimator, load_estimator, load_pretrained
from specvit.estimators.network_fitter import calibrate
from specvit.estimators.pretrained import FOLDER
from specvit.evaluate import mae, r2, rmse, scores_by_truth
from specvit.jobs import refining, run_training
from specvit.jobs.config.training import training_config
from specvit.jobs.stages.fit import to_estimates
from specvit.models.domain import InputDomain
from specvit.models.origin import snr_range
from specvit.runs import read_summary
from specvit.simulate import Simulator, World, endless, splits
from specvit.spectra import collect
from specvit.training.refining import RefiningRecipe

SEED = 42
VALIDATION, TEST = 4_000, 10_000

#: Spectra that correct the stated errors: more than after any other training, so that what the correction owes
#: to their luck (half a point of coverage in a bin of S/N for 20,000) is small beside the 2 points allowed.
CALIBRATION = 100_000

#: Peak learning rate of a training that goes on from trained weights.
FURTHER_RATE = 1e-3

#: From which S/N on stars are refined, and the seed of the bright stars of that: none that the network saw before.
BRIGHT, BRIGHT_SEED = 40.0, SEED + 5

#: Longer than by default: it is done once.
REFINING = RefiningRecipe(seed=SEED, expected_steps=16_000, steps=30_000)

#: What makes a network sharp enough for S/N 300, where an error of Teff is a few K: bins of 4 K on the shoulders of a
#: peak, and weights chosen on bright and faint spectra alike.
FOR_BRIGHT_STARS = {"masked": 0.1, "ema": 0.9995, "bins": 512, "peak": True, "monitor": "loss"}

#: name -> model, size, minutes, and options of the recipe beside the model's own.
PLAN = {
    "subspace": (
        "subspace",
        "small",
        40.0,
        {"masked": 0.1, "components": 64, "bins": 256, "monitor": "loss"},
    ),
    "vit": ("vit", "nano", 80.0, FOR_BRIGHT_STARS),
}


def build(name: str, minutes: float, folder: Path, threads: int, further: bool) -> Path:
    """Train one network of the plan, or the published one further, and publish it; return its folder."""
    model, size, default, options = PLAN[name]
    if further:
        # By name: the path of whoever trains it says nothing to others, and stands in manifest and card.
        options = {**options, "start": name, "lr": FURTHER_RATE}
    config = training_config(
        {
            "simulate": {"seed": SEED, "validation": VALIDATION},
            "network": {"model": model, "size": size, "options": {"minutes": minutes or default, **options}},
            "run": {"folder": str(folder), "name": name, "threads": threads},
        }
    )
    run = run_training(config, Bars())
    assert run is not None
    estimator = load_estimator(run.path / str(read_summary(run).model))
    estimator.name = name
    return publish(estimator)


def refined(name: str) -> Path:
    """Publish the network that comes with specvit again, with a refinement; return its folder."""
    estimator = load_pretrained(name)
    stars = refining.bright_stars(estimator, BRIGHT, BRIGHT_SEED)
    return publish(refining.refined(estimator, stars, BRIGHT, REFINING, Bars()))


def recalibrate(name: str) -> Path:
    """Publish the network that comes with specvit again, with its errors corrected anew; return its folder.

    Raises:
        DataError: if the world of today is not the one it was trained in.
    """
    estimator = load_pretrained(name)
    then, now = estimator.origin.training.train, endless(world_of(estimator).build(), SEED).provenance
    for key in ("emulator", "instrument_fingerprint"):
        if then[key] != now[key]:
            raise DataError(
                f"{name}: was trained with {key} {then[key]}, today's is {now[key]}; train it again "
                f"(python tools/build_pretrained.py {name})"
            )
    return publish(estimator)


def world_of(estimator: NetworkEstimator) -> World:
    """Return the world a network was trained in, wider than the survey's own."""
    world = estimator.origin.training.world
    assert world is not None
    return World.from_dict(world)


def publish(estimator: NetworkEstimator) -> Path:
    """Correct the errors of a trained network, learn its domain, score and save it; return its folder.

    Errors and domain are those of the training's world, scores those of the survey's own spectra.
    """
    origin, wider = estimator.origin, world_of(estimator)
    train = endless(wider.build(), SEED)
    record = {
        **calibrate(estimator.network, train, CALIBRATION),
        "snr": snr_range(train.draw(0, VALIDATION)),
    }
    training = origin.training.with_entries(record)
    estimator.adopt(
        estimator.network, replace(origin, training=training, domain=InputDomain.fit(train, train))
    )
    score(estimator, replace(wider, widening=None).build(), TEST)
    estimator.save(FOLDER / estimator.name)
    return FOLDER / estimator.name


def score(estimator: NetworkEstimator, simulator: Simulator, count: int) -> None:
    """Score a network on test stars: R², MAE and RMSE per label, and what its true value makes of the errors."""
    stars, space = collect(simulator.source(splits.TEST, SEED, count)), simulator.prior.label_space
    found, labels = estimator.predict(stars.flux, stars.sigma), stars.known_labels()
    measures = {"r2": r2, "mae": mae, "rmse": rmse}
    estimator.metrics = {
        label: {
            name: float(measure(labels[:, space.index(label)], found.mean[:, at]))
            for name, measure in measures.items()
        }
        for at, label in enumerate(found.names)
    }
    estimator.by_true_label = scores_by_truth(to_estimates(found), labels.numpy(), space)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=list(PLAN))
    parser.add_argument("--minutes", type=float, default=0.0, help="time budget; the plan's if left out")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 takes all")
    parser.add_argument("--runs", type=Path, default=Path("runs/pretrained"), help="folder of the trainings")
    parser.add_argument(
        "--continue", dest="further", action="store_true", help="start from the published weights"
    )
    parser.add_argument(
        "--refine", action="store_true", help="keep the weights, learn a step for bright stars"
    )
    parser.add_argument(
        "--recalibrate", action="store_true", help="keep the weights, correct the stated errors anew"
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in options.names:
        if options.refine:
            place = refined(name)
        elif options.recalibrate:
            place = recalibrate(name)
        else:
            place = build(name, options.minutes, options.runs, options.threads, options.further)
        print(place)


if __name__ == "__main__":
    main()
