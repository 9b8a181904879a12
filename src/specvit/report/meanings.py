"""What each curve of the main figure means, two plain sentences each; and the warning against a leak.

What an estimator means is written in the run by whoever fitted it; the ceilings are explained here.
"""

from __future__ import annotations

from specvit.report.contents import RunContents
from specvit.report.words import interval, is_above_ceiling, label_name, number
from specvit.runs import Score

CRAMER_RAO = (
    "The smallest error an unbiased estimator could have on each star, from how the noise-free spectrum "
    "changes with the labels and from the noise, written as R² = 1 − CRLB / prior variance; {labels} are "
    "free. It does not bind estimators that lean on the prior, which may lie above it at low S/N, and the "
    "median star's value is no R² of many stars."
)
BAYES = (
    "The R² of the exact posterior mean, which knows the simulated world and the prior: no estimator of "
    "any kind can do better on average. A model above it beyond its interval has seen the truth, or is "
    "scored wrongly."
)
EXPECTED = (
    "The line of a model is the R² it is expected to have on spectra like these, with the true values replaced "
    "by what the exact posterior says of them, so it cannot cross the Bayes ceiling. The faint points are R² with "
    "the true values that were drawn, whose luck lifts or lowers all models of a bin alike."
)


def curve_meanings(run: RunContents) -> list[tuple[str, str]]:
    """Return what the curves of the main figure mean, ceilings first; estimators of one kind share an entry."""
    summary, target = run.summary, label_name(run.target)
    meanings = []
    if summary.ceiling is not None:
        *most, last = [label_name(name) for name in summary.ceiling.sets[0].labels]
        labels = f"{', '.join(most)} and {last}" if most else last
        meanings.append(("Cramér–Rao ceiling", CRAMER_RAO.format(labels=labels)))
        if summary.ceiling.exact:
            meanings.append(("Bayes ceiling", BAYES))
    if summary.has("r2_expected"):
        meanings.append(("Lines and points", EXPECTED))
    kinds: dict[str, list[str]] = {}
    for name in run.names:
        facts = summary.estimators[name]
        kinds.setdefault(facts.meaning, []).append(facts.title)
    # Not str.format: a meaning may come from somebody's own estimator, with braces of its own.
    return meanings + [
        (", ".join(titles), kind.replace("{target}", target)) for kind, titles in kinds.items()
    ]


def leak_warnings(run: RunContents) -> list[str]:
    """Return one warning for each estimator above the Bayes ceiling of the target."""
    return [_warning(run, name) for name in run.names if is_above_ceiling(run, name)]


def world_warnings(run: RunContents) -> list[str]:
    """Return one warning for each estimator of the target that was trained in another world."""
    warnings = (run.summary.estimators[name].world_warning for name in run.names)
    return [f"{warning}." for warning in warnings if warning is not None]


def _warning(run: RunContents, name: str) -> str:
    headroom = run.summary.score(name, "headroom") or Score(value=None)
    ends = (headroom.value, headroom.high, headroom.low)
    value, low, high = (None if end is None else -end for end in ends)
    excess = Score(value=value, low=low, high=high)
    return (
        f"{run.title(name)} is above the Bayes ceiling: leakage or a bug. On the same spectra its R² is "
        f"{number(excess.value)} higher than any estimator can reach ({interval(excess)}); something it was "
        "given holds the truth, or the world it was scored in is not the one of the ceiling."
    )
