"""What distillation and fine-tuning share: sets in memory, one training, scores over seeds and stars, speed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from specvit.errors import ConfigError
from specvit.estimators import NetworkEstimator, NetworkFitter
from specvit.evaluate.crossed import crossed_mean, crossed_ratio
from specvit.evaluate.scorer import score_of
from specvit.jobs.judged_stars import Judge, JudgedStars
from specvit.jobs.survey import learnt_from
from specvit.models.bundle import check_replaceable
from specvit.models.cost import forward_flops
from specvit.models.manifest import MANIFEST
from specvit.models.network import NetworkConfig
from specvit.runs import Score
from specvit.runs.identity import content_digest
from specvit.runs.learning_record import LearningRow
from specvit.simulate import Simulator, WithoutReserve, splits
from specvit.spectra import MemorySource, SpectraBatch, SpectraSource, collect
from specvit.training import Recipe

Values = np.ndarray
#: Spectra of which the speed is measured, and how often; the median counts.
TIMED, REPEATS = 512, 3


@dataclass(frozen=True)
class Learner:
    """A network that is to learn.

    Args:
        name: what it is told by.
        how: what it learns from, or what of it is trained.
        config, recipe: its architecture and training; the seed is set for each training.
        labels: it estimates.
    """

    name: str
    how: str
    config: NetworkConfig
    recipe: Recipe
    labels: tuple[str, ...]


def in_memory(simulator: Simulator, split: str, seed: int, count: int, truth: bool = True) -> MemorySource:
    """Return simulated spectra as a set like any other: no further ones, no other noise."""
    drawn = simulator.source(split, seed, count, truth=truth)
    return MemorySource(collect(drawn), drawn.grid, drawn.label_space, drawn.lsf)


def endless(simulator: Simulator, seed: int) -> SpectraSource:
    """Return training stars that never end, without further ones that would correct errors nobody judges by."""
    return WithoutReserve(simulator, splits.TRAIN, seed, splits.ENDLESS, False, False, torch.device("cpu"))


def learnt(
    learner: Learner, train: SpectraSource, validation: SpectraSource, folder: Path, seed: int, threads: int
) -> NetworkEstimator:
    """Return a trained network, read back if an earlier start of the command trained it.

    Args:
        learner: what is trained.
        train, validation: by which.
        folder: where it is kept.
        seed: of weights and order.
        threads: CPU threads; 0 takes all.
    """
    if (folder / MANIFEST).is_file():
        return NetworkEstimator.load(folder)
    check_replaceable(folder)
    recipe = learner.recipe.with_options({"seed": seed})
    if threads:
        torch.set_num_threads(threads)
    fitter = NetworkFitter(learner.config, recipe, learner.labels, "cpu")
    model = NetworkEstimator(f"{learner.name} ({learner.how})", fitter).fit(train, validation)
    folder.parent.mkdir(parents=True, exist_ok=True)
    model.save(folder)
    return model


def place_of(folder: Path, learner: Learner, source: SpectraSource, seed: int) -> Path:
    """Return the folder of one training, by the content of all it depends on, networks it learns from included."""
    recipe = {**learner.recipe.to_dict(), "seed": seed}
    what = {
        "config": learner.config.to_dict(),
        "recipe": recipe,
        "learnt from": learnt_from(recipe),
        "labels": list(learner.labels),
        "spectra": source.provenance["identity"],
    }
    return folder / "models" / content_digest(what)


def estimates_of(models: Sequence[NetworkEstimator], batch: SpectraBatch, label: str) -> Values:
    """Return what S networks say of one label of N spectra, shape (S, N)."""
    found = []
    for model in models:
        said = model.predict(batch.flux, batch.sigma)
        found.append(said.mean[:, said.names.index(label)].numpy())
    return np.stack(found)


def row_of(
    learner: Learner,
    models: Sequence[NetworkEstimator],
    stars: JudgedStars,
    seen: SpectraBatch,
    spectra: int,
    compared: Mapping[str, Values],
    seed: int,
) -> list[LearningRow]:
    """Return the row of a way to learn for every label.

    Args:
        learner: the way.
        models: one per seed.
        stars: who judges.
        seen: the test spectra on the network's pixels.
        spectra: training stars, for the record.
        compared: label -> estimates (N,) of the network that ratios refer to.
        seed: of the intervals.
    """
    rows, speed = [], speed_of(models[0], seen)
    for label in learner.labels:
        judge = stars.judge(label, seed)
        r2, share, ratio = scores_over_seeds(judge, estimates_of(models, seen, label), compared.get(label))
        rows.append(
            LearningRow(
                name=learner.name,
                how=learner.how,
                spectra=spectra,
                seeds=len(models),
                updates=models[0].origin.training.steps or 0,
                parameters=models[0].network.parameter_count,
                flops=float(forward_flops(models[0].network)),
                speed=speed,
                label=label,
                r2=r2,
                share=share,
                ratio=ratio,
            )
        )
    return rows


def scores_over_seeds(
    judge: Judge, estimates: Values, compared: Values | None
) -> tuple[Score, Score | None, Score | None]:
    """Return R², its share of the ceiling, and its ratio to that of other estimates (N,), of estimates (S, N).

    Intervals are over seeds and stars (`evaluate.crossed`); those of ratios are Fieller's, and there is no ratio
    where what is below the line is not told from zero.
    """
    gained, most = judge.gains(estimates)
    r2 = score_of(crossed_mean(gained, seed=judge.seed).interval())
    share = _ratio(gained, np.broadcast_to(most, gained.shape), judge.seed) if judge.is_exact else None
    if compared is None:
        return r2, share, None
    others, _ = judge.gains(compared[None])
    return r2, share, _ratio(gained, np.broadcast_to(others, gained.shape), judge.seed)


def speed_of(model: NetworkEstimator, batch: SpectraBatch) -> float:
    """Return spectra per second of `predict`, the median of some repeats."""
    part = batch[: min(TIMED, len(batch))]
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        model.predict(part.flux, part.sigma)
        times.append(time.perf_counter() - began)
    return len(part) / float(np.median(times))


def check_labels_of(labels: Sequence[str], known: Sequence[str], what: str) -> None:
    """Raise ConfigError for a label that is not known."""
    for label in labels:
        if label not in known:
            raise ConfigError(f"--labels: '{label}' is not known of {what}; choose {', '.join(known)}")


def _ratio(above: Values, below: Values, seed: int) -> Score | None:
    """Return the ratio of two means over (S, N), with Fieller's interval; None where what is below may be nothing."""
    found = crossed_ratio(above, below, seed=seed)
    return None if found is None else score_of(found)
