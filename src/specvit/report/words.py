"""Numbers and sentences: how scores are printed, captions, and what a run found in plain words."""

from __future__ import annotations

import math

from specvit.report.contents import RunContents
from specvit.runs import ALL, CeilingFacts, FreeSet, Score

LABEL_NAMES = {"teff": "Teff", "log_g": "log g", "m_h": "[M/H]", "alpha_m": "[α/M]", "c_m": "[C/M]"}
METRIC_NAMES = {
    "r2": "R²",
    "mae": "MAE",
    "rmse": "RMSE",
    "bias": "bias",
    "scatter": "scatter",
    "coverage_68": "in 68 % interval",
    "coverage_95": "in 95 % interval",
    "efficiency": "efficiency",
    "efficiency_expected": "expected efficiency",
    "efficiency_crlb": "efficiency, CRLB",
    "headroom": "headroom",
    "r2_expected": "expected R²",
}


def value(score: Score | None) -> float | None:
    """Return the value of a score; None without one."""
    return None if score is None else score.value


def rank(score: Score | None) -> float:
    """Return a score as a number to compare by; no score is worse than any."""
    found = value(score)
    return float("-inf") if found is None else found


def is_above_ceiling(run: RunContents, name: str) -> bool:
    """Return whether an estimator is above the exact Bayes ceiling of the target, as only a leak or a bug can be."""
    return bool(run.summary.estimators[name].above_ceiling.get(run.target))


def set_name(free: FreeSet) -> str:
    """Return how many labels are free, e.g. '5 labels'."""
    return f"{len(free.labels)} label{'s' if len(free.labels) != 1 else ''}"


def label_name(label: str) -> str:
    """Return a label as it is printed, e.g. 'log g'."""
    return LABEL_NAMES.get(label, label.replace("_", " "))


def metric_name(metric: str) -> str:
    """Return a metric as it heads a column, e.g. 'R²'."""
    return METRIC_NAMES.get(metric, metric.replace("_", " ").replace("r2", "R²"))


def number(value: float | None, digits: int = 3) -> str:
    """Return `value` with `digits` decimals and a true minus sign; '–' for None."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    # A rounded zero has no sign.
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def count(value: int) -> str:
    """Return a whole number with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def interval(score: Score, digits: int = 3) -> str:
    """Return 'low to high', or '' for a score without interval."""
    if score.low is None or score.high is None:
        return ""
    return f"{number(score.low, digits)} to {number(score.high, digits)}"


def range_text(low: float, high: float) -> str:
    """Return a range with as many digits as it needs, e.g. '1 – 1.5'."""
    return f"{low:g} – {high:g}".replace("-", "−")


def decimals_of(score: Score, otherwise: int = 3) -> int:
    """Return how many decimals of a score mean something: two digits of half its interval, or `otherwise` without one."""
    if score.low is None or score.high is None or not score.high > score.low:
        return otherwise
    return min(8, max(0, 1 - math.floor(math.log10(0.5 * (score.high - score.low)))))


def score_text(score: Score, digits: int = 3) -> str:
    """Return e.g. '0.417 [0.38 to 0.45]'."""
    inside = interval(score, digits)
    return f"{number(score.value, digits)} [{inside}]" if inside else number(score.value, digits)


def findings(run: RunContents) -> list[str]:
    """Return what the run found, one sentence each, most important first."""
    summary, target, best = run.summary, label_name(run.target), _best(run)
    r2, mae = (_known(run, best, metric) for metric in ("r2", "mae"))
    sentences = [
        f"{run.title(best)} measures {target} with R² = {score_text(r2, 2)} and a mean absolute error of "
        f"{number(mae.value, 2)} {summary.unit}, on {count(len(run.test))} test spectra it has never seen."
    ]
    others = [name for name in run.names if name != best]
    if others:
        rest = "; ".join(f"{run.title(name)}: {score_text(_known(run, name, 'r2'), 2)}" for name in others)
        sentences.append(f"For comparison, R² of {rest}.")
    sentences += _across_snr(run, best)
    sentences += _at_the_ends(run, best)
    sentences += _against_ceiling(run)
    sentences += _coverage(run)
    return sentences


def caption_note(run: RunContents) -> str:
    """Return what every caption states: sample, S/N definition, intervals, seed."""
    summary = run.summary
    return (
        f"{count(len(run.test))} test spectra; S/N is the {summary.snr_definition}; intervals "
        f"are {100 * summary.interval:g} % from {count(summary.bootstrap)} bootstrap resamples; "
        f"seed {summary.seed}."
    )


def _known(run: RunContents, name: str, metric: str) -> Score:
    """Return a score of the target that every run has."""
    return run.summary.score(name, metric) or Score(value=None)


def _best(run: RunContents) -> str:
    """Return the estimator of the highest R², passing over those above the Bayes ceiling where others are."""
    honest = [name for name in run.names if not is_above_ceiling(run, name)] or run.names
    return max(honest, key=lambda name: rank(run.summary.score(name, "r2")))


def _across_snr(run: RunContents, best: str) -> list[str]:
    medians = [run.summary.slices[part].median_snr for part in run.summary.bins]
    scores = run.summary.over_bins(best, "r2")
    scored = [i for i, score in enumerate(scores) if score.value is not None]
    if len(scored) < 2:
        return []
    first, last = scored[0], scored[-1]
    start, end = (f"{number(medians[k], 1)}" for k in (first, last))
    low, high = (number(scores[k].value, 2) for k in (first, last))
    return [f"From S/N {start} to {end} the R² of {run.title(best)} goes from {low} to {high}."]


def _against_ceiling(run: RunContents) -> list[str]:
    ceiling = run.summary.ceiling
    if ceiling is None:
        return []
    if not ceiling.exact:
        everything = ceiling.sets[0]
        spread = ceiling.spreads[ALL][f"r2_max_{everything.at}"]
        return [
            f"For the median star the Cramér–Rao ceiling with {set_name(everything)} free is "
            f"{number(spread.median, 2)} (10–90 % of stars: {number(spread.p10, 2)} to {number(spread.p90, 2)}). "
            "It bounds unbiased estimators; at low S/N a model that leans on the prior can lie above it."
        ]
    sentences = [
        f"No estimator can do better than R² = {score_text(ceiling.bayes[ALL], 2)} on spectra like these: "
        "the Bayes ceiling of the simulated world."
    ]
    if ceiling.stars < len(run.test):
        sentences.append(f"That ceiling is over {count(ceiling.stars)} of the test spectra.")
    return sentences + _convergence(ceiling)


def _convergence(ceiling: CeilingFacts) -> list[str]:
    """Return a warning if the posteriors behind the Bayes ceiling have not been sampled well enough."""
    # A few posteriors in doubt do not put the whole ceiling in doubt: it has its own tolerance of them.
    if ceiling.ceiling_converged:
        return []
    missing = (ceiling.posteriors or 0) - (ceiling.converged or 0)
    if not missing:
        if ceiling.ceiling_converged is not False:
            return []
        return [f"It has not converged: sampling alone moves it by {number(ceiling.sampler_error)}."]
    return [
        f"It has not converged: {count(missing)} of its {count(ceiling.posteriors or 0)} posteriors have too few "
        f"effective samples (smallest {number(ceiling.minimum_ess, 0)}), so its value is provisional."
    ]


def _coverage(run: RunContents) -> list[str]:
    stated = [
        f"{run.title(name)} {number(100 * share, 0)} %"
        for name in run.names
        if (share := value(run.summary.score(name, "coverage_68"))) is not None
    ]
    return [f"Stated 68 % intervals hold the truth for: {', '.join(stated)}."] if stated else []


def _at_the_ends(run: RunContents, best: str) -> list[str]:
    """Return how far off an estimator is at both ends of the range of the target, where that is known."""
    bins = run.summary.by_true_label.get(best, {}).get(run.target, ())
    if len(bins) < 2 or bins[0].bias is None or bins[-1].bias is None:
        return []
    ends = bins[0], bins[-1]
    places = " and ".join(range_text(one.low, one.high) for one in ends)
    off = " and ".join(
        f"{'+' if one.bias > 0 else ''}{number(one.bias, 2)}" for one in ends if one.bias is not None
    )
    held = " and ".join(number(100 * one.coverage_68, 0) for one in ends if one.coverage_68 is not None)
    inside = f", and its 68 % intervals hold {held} % of the true values" if held else ""
    return [
        f"Estimates shrink towards the middle of the prior: at true {label_name(run.target)} {places} those of "
        f"{run.title(best)} are off by {off} {run.summary.unit} in the mean{inside}."
    ]
