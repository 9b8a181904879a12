"""Train the networks that come with specvit, and put them where the package ships them from.

    python tools/build_pretrained.py subspace vit
    python tools/build_pretrained.py vit --minutes 80 --threads 1

One command per release of the emulator: a bundle is right only for the world it was trained in. What was done
is written into the manifest and the card of each bundle. Training continues from its checkpoint if it was
interrupted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from specvit.cli.train import TrainingBar, score
from specvit.models.pretrained import FOLDER
from specvit.simulate import World
from specvit.training import RECIPES, endless, make_estimator

SEED = 42
VALIDATION, TEST = 4_000, 10_000

#: name -> model, size, minutes, and options of the recipe beside the model's own.
PLAN = {
    "subspace": ("subspace", "small", 15.0, {"masked": 0.1}),
    "vit": ("vit", "nano", 80.0, {"masked": 0.1, "ema": 0.9995, "validations": 60}),
}


def build(name: str, minutes: float, checkpoints: Path) -> Path:
    """Train one network of the plan, score it on test stars and save it; return its folder."""
    from rich.console import Console

    model, size, default, options = PLAN[name]
    simulator = World().build()
    recipe = RECIPES[model].with_options({"minutes": minutes or default, "seed": SEED, **options})
    folder = checkpoints / name
    folder.mkdir(parents=True, exist_ok=True)
    with TrainingBar(Console(stderr=True), None) as bar:
        estimator = make_estimator(model, size, recipe=recipe, folder=folder, listen=bar)
        estimator.fit(endless(simulator, SEED), simulator.source("validation", SEED, VALIDATION))
    estimator.name = name
    estimator.metrics = score(estimator, simulator.source("test", SEED, TEST))
    estimator.save(FOLDER / name)
    return FOLDER / name


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=list(PLAN))
    parser.add_argument("--minutes", type=float, default=0.0, help="time budget; the plan's if left out")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 takes all")
    parser.add_argument("--checkpoints", type=Path, default=Path("runs/pretrained"))
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in options.names:
        print(build(name, options.minutes, options.checkpoints))


if __name__ == "__main__":
    main()
