"""From contrasts to a verdict: intervals against the thresholds of a rule, with a stated rate of wrong verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from specvit.evaluate.crossed import CrossedMean, crossed_mean
from specvit.runs.study_result import Verdict
from specvit.studies.measures import MEASURES, Judged
from specvit.studies.rule import AllOf, Claim, Contrast, Rule

Values = np.ndarray

#: Chance of any wrong verdict of a comparison, both directions together.
LEVEL = 0.05
#: More comparisons than this in one rule are corrected for.
UNCORRECTED = 2


@dataclass(frozen=True, eq=False)
class Decided:
    """A claim with its evidence.

    Args:
        claim: it.
        effects: its contrasts; none where its slice has no stars.
        p: two-sided, of the verdict that is nearer.
        level: what p had to be below.
        verdict: supported if all contrasts are below zero, refuted if one is above, by more than chance explains.
    """

    claim: Claim
    effects: tuple[CrossedMean, ...]
    p: float
    level: float
    verdict: Verdict


def contrast_values(contrast: Contrast, judged: Mapping[str, Judged]) -> Values:
    """Return a contrast star by star under every seed, shape (S, N)."""
    first = next(iter(judged.values()))
    total = np.full(first.estimates.shape, contrast.constant)
    for term in contrast.terms:
        total = total + term.factor * MEASURES[term.measure].of(judged[term.variant])
    return total


def decide(claims: Sequence[Claim], effects: Sequence[tuple[CrossedMean, ...]]) -> list[Decided]:
    """Return the verdicts of the claims of one rule.

    A verdict needs two seeds at least: the scatter between trainings is else unknown. With more than `UNCORRECTED`
    claims Holm's step-down correction keeps the chance of any wrong verdict at `LEVEL`.

    Source: Holm 1979, Scand. J. Statist. 6, 65; for equivalence Schuirmann 1987, J. Pharmacokin. Biopharm. 15, 657.
    """
    chances = [_chances(found) for found in effects]
    order = sorted(range(len(claims)), key=lambda k: min(chances[k]))
    corrected = len(claims) > UNCORRECTED
    decided: dict[int, Decided] = {}
    open_still = True
    for place, k in enumerate(order):
        level = LEVEL / (len(claims) - place) if corrected else LEVEL
        support, refutation = chances[k]
        p = min(support, refutation)
        # What comes after one that could not be told is not told either; without a correction each is on its own.
        told = p <= level and (open_still or not corrected) and all(e.seeds > 1 for e in effects[k])
        open_still = open_still and told
        verdict: Verdict = "undecided"
        if told:
            verdict = "supported" if support < refutation else "refuted"
        decided[k] = Decided(claims[k], effects[k], p, level, verdict)
    return [decided[k] for k in range(len(claims))]


def verdict_of(rule: Rule, decided: Mapping[Claim, Verdict]) -> Verdict:
    """Return the verdict of a rule from those of its claims."""
    if isinstance(rule, Claim):
        return decided[rule]
    parts = [verdict_of(part, decided) for part in rule.parts]
    # Of "and" one refuted part decides, of "or" one supported part.
    decisive: Verdict = "refuted" if isinstance(rule, AllOf) else "supported"
    other: Verdict = "supported" if isinstance(rule, AllOf) else "refuted"
    if decisive in parts:
        return decisive
    return other if all(part == other for part in parts) else "undecided"


def effects_of(
    claim: Claim, judged: Mapping[str, Judged], resamples: int, seed: int
) -> tuple[CrossedMean, ...]:
    """Return the contrasts of a claim over the stars of `judged`."""
    return tuple(
        crossed_mean(contrast_values(contrast, judged), resamples, seed) for contrast in claim.contrasts
    )


def _chances(effects: Sequence[CrossedMean]) -> tuple[float, float]:
    """Return two-sided p-values of "supported" and "refuted"."""
    if not effects:
        return 1.0, 1.0
    # All must be below zero; one above is enough. An equivalence can be left on one side only.
    support = max(effect.chance_not_below for effect in effects)
    refutation = min(effect.chance_not_above for effect in effects)
    return min(1.0, 2 * support), min(1.0, 2 * refutation)
