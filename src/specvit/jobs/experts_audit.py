"""A fitted mixture of experts under scores that cannot mislead: every number is of the same test stars.

The model of all spectra is compared on the stars the experts cover; what a routing keeps of the oracle's gain is stated
only where that gain is there; a routing better than its oracle is explained or flagged.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from specvit.errors import ConfigError, DataError
from specvit.evaluate import (
    Interval,
    bootstrap,
    oracle_gain,
    paired_difference,
    r2,
    reliability,
    retention,
)
from specvit.evaluate.scorer import score_of
from specvit.jobs.stages.posteriors import sample_posteriors
from specvit.jobs.stages.test_stars import DrawTestStars, TestStars
from specvit.jobs.watch import Quiet, Watch
from specvit.jobs.worlds import build_world
from specvit.models.experts import ROUTINGS, MixtureOfExperts
from specvit.models.inputs import relative_spectra
from specvit.runs import Score
from specvit.runs.experts_record import BinFacts, CoverageMap, ExpertsRecord, ReliabilityFacts, RoutingFacts
from specvit.simulate import Simulator, World, splits
from specvit.spectra import median_snr

Values = np.ndarray

#: Spectra estimated at once; cells per label of the coverage map; fewest stars of which a score is stated.
PIECE, CELLS, LEAST = 1000, 8, 20
#: Shown in tables of bins and S/N.
SHOWN = ("global", "soft", "hard", "oracle")
ORACLE, OF_ALL, HARD, FALLBACK = "oracle", "global", "hard", "fallback"


@dataclass(frozen=True, eq=False)
class RoutedEstimates:
    """What a mixture says of N test stars.

    Args:
        estimates: routing -> (N,).
        weights: of the gate, shape (N, K + 1).
        bins: true component, K outside, shape (N,).
    """

    estimates: dict[str, Values]
    weights: Values
    bins: Values


def audit_experts(
    model: MixtureOfExperts,
    label: str,
    stars: int = 10_000,
    posteriors: int = 0,
    seed: int = 42,
    resamples: int = 1000,
    watch: Watch | None = None,
    world: World | None = None,
) -> ExpertsRecord:
    """Return the audit of a fitted mixture on test stars of the world it was fitted in.

    Args:
        model: fitted.
        label: one that it estimates.
        stars: test stars.
        posteriors: exact posteriors, of the first of them; 0 leaves the expected R² out.
        seed: of test stars, posteriors and resamples.
        resamples: of every interval.
        watch: told how far it is.
        world: None takes that of the training.

    Raises:
        ConfigError: if it does not estimate the label.
        DataError: if its training states no world and none is given, or its pixels are others.
    """
    watch = watch or Quiet()
    if label not in model.names:
        raise ConfigError(f"--label: this mixture estimates {', '.join(model.names)}, not '{label}'")
    recorded = model.origin.training.world
    if world is None and recorded is None:
        raise DataError("audit experts: the training of this mixture states no world to draw test stars from")
    simulator = build_world(world or World.from_dict(recorded or {}))
    model.origin.grid.check_matches(simulator.grid, "audit experts")
    with watch.task("draw the test spectra"):
        test = DrawTestStars(simulator.source(splits.TEST, seed, stars, truth=True)).draw()
    with watch.task("estimate") as update:
        answers = _answers(model, test, label, update)
    truth = test.table.truth(label)
    known, mean, variance = _posteriors(simulator, test, posteriors, seed, label, watch)
    return _record(model, label, test, truth, answers, (known, mean, variance), seed, resamples)


def _answers(model: MixtureOfExperts, test: TestStars, label: str, update: object) -> RoutedEstimates:
    parts: dict[str, list[Values]] = {routing: [] for routing in ROUTINGS}
    weights, bins = [], []
    column = model.names.index(label)
    for start in range(0, len(test), PIECE):
        piece = test.batch[start : start + PIECE]
        labels = dict(zip(test.space.names, piece.known_labels().T, strict=True))
        for routing in ROUTINGS:
            found = model.predict_routed(piece.flux, piece.sigma, routing, labels)
            parts[routing].append(found.mean[:, column].numpy())
        weights.append(model.gate_weights(piece.flux, piece.sigma).numpy())
        spectra = relative_spectra(piece.flux, piece.sigma, test.grid.size, "audit")
        at = model.bins_of(labels, median_snr(spectra.flux, spectra.sigma))
        bins.append(torch.where(at < 0, len(model.partition), at).numpy())
        update(min(start + PIECE, len(test)), len(test))  # type: ignore[operator]
    joined = {routing: np.concatenate(found) for routing, found in parts.items()}
    return RoutedEstimates(joined, np.concatenate(weights), np.concatenate(bins))


def _posteriors(
    simulator: Simulator, test: TestStars, count: int, seed: int, label: str, watch: Watch
) -> tuple[Values, Values, Values]:
    """Return which stars have a converged posterior, and its mean and variance, each (N,)."""
    known = np.zeros(len(test), dtype=bool)
    mean, variance = np.full(len(test), np.nan), np.full(len(test), np.nan)
    if count:
        with watch.task("exact posteriors") as update:
            found = sample_posteriors(simulator, test, min(count, len(test)), seed, update).posteriors
        known[found.rows] = found.converged
        mean[found.rows], variance[found.rows] = found.of("mean", label), found.of("variance", label)
    return known, mean, variance


def _record(
    model: MixtureOfExperts,
    label: str,
    test: TestStars,
    truth: Values,
    answers: RoutedEstimates,
    posterior: tuple[Values, Values, Values],
    seed: int,
    resamples: int,
) -> ExpertsRecord:
    covered = answers.bins < len(model.partition)
    if covered.sum() < LEAST:
        raise DataError(
            f"audit experts: {int(covered.sum())} of {len(test)} test stars are in a bin; draw more"
        )
    options = {"resamples": resamples, "seed": seed}
    of_all, oracle = (answers.estimates[name][covered] for name in (OF_ALL, ORACLE))
    gain = oracle_gain(truth[covered], of_all, oracle, **options)
    known, mean, variance = posterior
    components = (*model.partition.names, "outside")
    right = answers.weights.argmax(axis=1) == answers.bins
    stated, found, counts = reliability(answers.weights.max(axis=1), right)
    scores = {name: _Scores(truth, values, options) for name, values in answers.estimates.items()}
    return ExpertsRecord(
        model=model.name,
        label=label,
        partition=model.partition.text,
        stars=len(test),
        seed=seed,
        date=datetime.date.today().isoformat(),
        coverage=float(covered.mean()),
        prior=model.partition.share_of(model.origin.label_space),
        oracle_gain=score_of(gain),
        oracle_is_worth=gain.low > 0,
        routings={
            name: _routing(name, truth, answers, covered, (known, mean, variance), options)
            for name in answers.estimates
        },
        ceiling=score_of(_ceiling(truth, known, variance, options)) if known.sum() >= LEAST else None,
        posteriors=int(known.sum()),
        bins={
            name: BinFacts(
                stars=int((answers.bins == k).sum()),
                expert=k not in model.experts.missing,
                r2={shown: scores[shown].on(answers.bins == k) for shown in SHOWN},
            )
            for k, name in enumerate(components)
        },
        by_snr={
            name: {shown: scores[shown].on(part) for shown in SHOWN}
            for name, part in _quarters(test.table.snr).items()
        },
        accuracy=float(right.mean()),
        components=components,
        confusion=_confusion(answers, len(components)),
        reliability=ReliabilityFacts(stated=tuple(stated), right=tuple(found), stars=tuple(counts.tolist())),
        importance=_importance(model, test, answers.bins, float(right.mean()), seed),
        map=_map(test, covered),
    )


@dataclass(frozen=True, eq=False)
class _Scores:
    """R² of one routing in parts of the stars."""

    truth: Values
    estimate: Values
    options: Mapping[str, int]

    def on(self, part: Values) -> Score:
        """Return R² over a mask (N,), without a value where there are few stars."""
        if part.sum() < LEAST:
            return Score(value=None)
        return score_of(bootstrap(r2, self.truth[part], self.estimate[part], **self.options))


def _routing(
    name: str,
    truth: Values,
    answers: RoutedEstimates,
    covered: Values,
    posterior: tuple[Values, Values, Values],
    options: dict[str, int],
) -> RoutingFacts:
    values = answers.estimates[name]
    of_all, oracle = (answers.estimates[one][covered] for one in (OF_ALL, ORACLE))
    kept = retention(truth[covered], of_all, oracle, values[covered], **options)
    known, mean, variance = posterior
    expected = None
    if known.sum() >= LEAST and name != ORACLE:
        left = variance + np.square(values - mean)
        expected = score_of(
            bootstrap(lambda y, e: 1 - e.mean(axis=-1) / y.var(axis=-1), truth[known], left[known], **options)
        )
    scores = _Scores(truth, values, options)
    return RoutingFacts(
        all=scores.on(np.ones_like(covered)),
        covered=scores.on(covered),
        gain=score_of(kept.gain),
        kept=None if kept.kept is None or name in (OF_ALL, ORACLE) else score_of(kept.kept),
        expected=expected,
        above_oracle="" if kept.above_oracle.low <= 0 else _above(name, truth, answers, covered, options),
    )


def _above(
    name: str, truth: Values, answers: RoutedEstimates, covered: Values, options: dict[str, int]
) -> str:
    """Return why a routing may be better than its oracle, as far as that is told from chance; else it is flagged."""
    y, own, oracle, hard, of_all = (
        truth[covered],
        *(answers.estimates[one][covered] for one in (name, ORACLE, HARD, OF_ALL)),
    )

    def gains(better: Values, worse: Values) -> bool:
        return paired_difference(r2, y, better, worse, **options).low > 0

    if gains(of_all, oracle):
        few = "experts are worse than the model of all spectra even where they belong"
        if name in (OF_ALL, FALLBACK):
            return f"{few}, as they are of too few spectra, and this asks that model"
        return f"{few}, as they are of too few spectra: asking the right one is no merit"
    if gains(own, hard) and not gains(hard, oracle):
        return "mixing averages the noise of several experts, which the oracle, asking one, does not"
    return "flagged: neither mixing nor the model of all spectra explains it; look for a leak"


def _ceiling(truth: Values, known: Values, variance: Values, options: dict[str, int]) -> Interval:
    return bootstrap(
        lambda y, v: 1 - v.mean(axis=-1) / y.var(axis=-1), truth[known], variance[known], **options
    )


def _quarters(snr: Values) -> dict[str, Values]:
    edges = np.quantile(snr, [0, 0.25, 0.5, 0.75, 1])
    at = np.clip(np.searchsorted(edges, snr, side="right") - 1, 0, 3)
    return {f"S/N {edges[k]:.3g} to {edges[k + 1]:.3g}": at == k for k in range(4)}


def _confusion(answers: RoutedEstimates, components: int) -> tuple[tuple[int, ...], ...]:
    found = np.zeros((components, components), dtype=int)
    np.add.at(found, (answers.bins, answers.weights.argmax(axis=1)), 1)
    return tuple(tuple(row) for row in found.tolist())


def _importance(
    model: MixtureOfExperts, test: TestStars, bins: Values, accuracy: float, seed: int
) -> dict[str, float]:
    """Return the accuracy lost when the values of one feature are dealt to other stars (Breiman 2001, Mach. Learn. 45, 5)."""
    piece = test.first(PIECE * 2)
    features = model.gate_features(relative_spectra(piece.flux, piece.sigma, test.grid.size, "audit"))
    truth = torch.from_numpy(bins[: len(features)])
    base = float((model.gate.weights(features).argmax(dim=1) == truth).double().mean())
    generator = torch.Generator().manual_seed(seed)
    lost = {}
    for k, name in enumerate(model.feature_names):
        dealt = features.clone()
        dealt[:, k] = features[torch.randperm(len(features), generator=generator), k]
        lost[name] = base - float((model.gate.weights(dealt).argmax(dim=1) == truth).double().mean())
    return lost


def _map(test: TestStars, covered: Values) -> CoverageMap:
    names = test.space.names
    first, second = ("teff", "m_h") if {"teff", "m_h"} <= set(names) else (names[0], names[-1])
    edges = [
        np.linspace(test.space.low[names.index(name)], test.space.high[names.index(name)], CELLS + 1)
        for name in (first, second)
    ]
    rows, columns = (
        np.clip(np.searchsorted(edge, test.table.truth(name), side="right") - 1, 0, CELLS - 1)
        for edge, name in ((edges[1], second), (edges[0], first))
    )
    counts, inside = np.zeros((CELLS, CELLS), dtype=int), np.zeros((CELLS, CELLS), dtype=int)
    np.add.at(counts, (rows, columns), 1)
    np.add.at(inside, (rows[covered], columns[covered]), 1)
    return CoverageMap(
        labels=(first, second),
        edges=(tuple(edges[0].tolist()), tuple(edges[1].tolist())),
        stars=tuple(tuple(int(n) for n in row) for row in counts),
        covered=tuple(
            tuple(float(i / n) if n else None for i, n in zip(found, row, strict=True))
            for found, row in zip(inside, counts, strict=True)
        ),
    )
