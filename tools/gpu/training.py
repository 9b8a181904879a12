"""Stage "train": the two networks of the visit on fresh spectra, each for half of the time that is left.

Every validation is noted when it is made, so that times to any score can be read off afterwards, and the weights are
written whenever they are the best and the last writing is a while ago. Time counts from the beginning of the fit:
preparation, compilation and validations are in it, as they are for whoever waits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from gpu.plan import Budget
from gpu.results import Results
from gpu.visit import LABEL, SEED, Visit
from specvit.models.network import NetworkConfig, SpectrumNetwork
from specvit.simulate import endless
from specvit.spectra import collect
from specvit.training import LabelRegression, Recipe, Trainer, make_feed
from specvit.training.distributed import Processes
from specvit.training.engine import VALIDATED
from specvit.training.feeds import Share
from specvit.training.starts import prepare

STAGE = "train"

#: Seconds between two writings of weights, and those that are kept for the last one.
WRITING, MARGIN = 30.0, 3.0
#: Less than this is no training: the second network is then left out.
SHORTEST = 1.0

BEST, AVERAGE = "best", "average"


@dataclass(frozen=True)
class Course:
    """One training.

    Args:
        name: of the network, in results and files.
        what: in words.
        config: the network.
        labels: what it estimates; empty: all labels.
        options: of the recipe, beside those that the stage "step" chose.
        average: whether the averaged weights are written beside the best: files and bytes that come back are few.
    """

    name: str
    what: str
    config: NetworkConfig
    labels: tuple[str, ...]
    options: dict[str, Any]
    average: bool


def courses(visit: Visit) -> tuple[Course, ...]:
    """Return the trainings of a visit, the first first."""
    return (
        Course(
            "specvit-reference", "SpecViT-reference, log g alone, AdamW", visit.reference(), (LABEL,),
            {"lr": 1e-3, "warmup": 0.05}, True,
        ),
        Course(
            "specvit-large", "the same width, depth, heads and patches; mean and error of five labels, Muon, filters as "
            "a start", visit.ours(), (), {"optimiser": "muon", "lr": 3e-3, "ema": 0.999}, False,
        ),
    )  # fmt: skip


def train(visit: Visit, results: Results, budget: Budget) -> None:
    """Train every network of the visit; see the module."""
    best = results.found("step").get("best", {})
    settings = {
        "batch": best.get("batch", visit.sizes.batches[0]), "precision": best.get("precision", "bf16"),
        "compile": best.get("compile", False),
    }  # fmt: skip
    plan = courses(visit)
    for number, course in enumerate(plan):
        seconds = (budget.left - MARGIN * (len(plan) - number)) / (len(plan) - number)
        if seconds <= SHORTEST:
            continue
        began = time.monotonic()
        try:
            train_one(visit, results, course, seconds, settings)
        except Exception as error:
            if not settings["compile"]:
                raise
            # What compiled alone may fail here; a slower training is worth more than none.
            results.note(STAGE, "error of the compiled training", f"{type(error).__name__}: {error}"[:300])
            settings = {**settings, "compile": False}
            train_one(visit, results, course, seconds - (time.monotonic() - began), settings)


def train_one(
    visit: Visit, results: Results, course: Course, seconds: float, settings: dict[str, Any]
) -> None:
    """Train one network for so many seconds; note its curve, its weights and its record."""
    began, simulator = time.monotonic(), visit.simulator
    recipe = Recipe(
        minutes=seconds / 60, schedule="cosine", monitor=LABEL, validations=visit.sizes.validations, seed=SEED,
        **settings, **course.options,
    )  # fmt: skip
    network = visit.build(course.config, course.labels or simulator.prior.label_space.names)
    source = endless(simulator, SEED)
    held_out = collect(simulator.source("validation", SEED, visit.sizes.validation))
    start = prepare(network, simulator.source("train", SEED, 4096, truth=True), held_out, "auto")
    feed = make_feed(source, Share(recipe.batch), visit.device, SEED, recipe.compile)
    objective = LabelRegression.of(network, source.label_space, recipe)
    log = {
        "what": course.what, "config": course.config.to_dict(), "labels": list(network.label_space.names),
        "parameters": network.parameter_count, "recipe": recipe.to_dict(), "start": start, "curve": [],
        "validation stars": visit.sizes.validation,
    }  # fmt: skip
    written = began

    def hear(record: dict[str, Any]) -> None:
        nonlocal written
        if record["event"] != VALIDATED:
            log["spectra/s"] = record["spectra_per_second"]
            return
        spectra = record["step"] * recipe.batch
        log["curve"].append({"seconds": round(record["seconds"], 2), "spectra": spectra, "r2": record["r2"]})
        results.note(STAGE, course.name, log)
        if record["improved"] and (time.monotonic() - written > WRITING or len(log["curve"]) == 1):
            results.keep_weights(STAGE, course.name, weights_of(trainer, course.average))
            written = time.monotonic()

    trainer = Trainer(
        network.body,
        objective,
        feed,
        held_out,
        recipe,
        Processes(0, 1, visit.device),
        listen=hear,
        began=began,
    )
    log["record"] = trainer.run()
    results.note(STAGE, course.name, log)
    results.keep_weights(STAGE, course.name, weights_of(trainer, course.average))


def weights_of(trainer: Trainer, average: bool) -> dict[str, torch.Tensor]:
    """Return the best weights and, if wanted, the averaged ones, with what is fixed; "KIND/NAME" -> tensor."""
    objective = trainer.objective
    assert isinstance(objective, LabelRegression)
    fixed = dict(objective.network.state_dict())
    names = [f"body.{name}" for name, _ in objective.network.body.named_parameters()]
    found = {
        f"{BEST}/{name}": value
        for name, value in (fixed | dict(zip(names, trainer.selection.weights, strict=True))).items()
    }
    if average and trainer.average is not None:
        found |= {
            f"{AVERAGE}/{name}": value for name, value in zip(names, trainer.average.values, strict=True)
        }
    return found


def restored(visit: Visit, results: Results, name: str) -> SpectrumNetwork:
    """Return a trained network of a visit with its best weights, on the CPU.

    Raises:
        DataError: if it was not trained, or its weights did not come back whole.
    """
    course = next(each for each in courses(visit) if each.name == name)
    tensors = results.weights(STAGE, name)
    network = visit.build(course.config, course.labels or visit.simulator.prior.label_space.names)
    network.load_state_dict(
        {key.partition("/")[2]: value for key, value in tensors.items() if key.startswith(BEST)}
    )
    return network.eval()
