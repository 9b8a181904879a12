"""Numbers and sentences: how scores are printed, captions, and what a run found in plain words."""

from __future__ import annotations

from specvit.report.contents import RunContents
from specvit.runs import ModelResults, Score

LABEL_NAMES = {"teff": "Teff", "log_g": "log g", "m_h": "[M/H]", "alpha_m": "[α/M]", "c_m": "[C/M]"}
METRIC_NAMES = {
    "r2": "R²",
    "mae": "MAE",
    "rmse": "RMSE",
    "bias": "bias",
    "coverage_68": "in 68 % interval",
    "coverage_95": "in 95 % interval",
    "efficiency": "efficiency",
    "efficiency_expected": "expected efficiency",
    "efficiency_crlb": "efficiency, CRLB",
    "headroom": "headroom",
}


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


def score_text(score: Score, digits: int = 3) -> str:
    """Return e.g. '0.417 [0.38 to 0.45]'."""
    inside = interval(score, digits)
    return f"{number(score.value, digits)} [{inside}]" if inside else number(score.value, digits)


def findings(run: RunContents) -> list[str]:
    """Return what the run found, one sentence each, most important first."""
    summary = run.summary
    target = label_name(summary.target)
    best = _best(run)
    r2, mae = best.overall["r2"], best.overall["mae"]
    snr = run.test["snr"]
    sentences = [
        f"{best.title} measures {target} with R² = {score_text(r2, 2)} and a mean absolute error of "
        f"{number(mae.value, 2)} {summary.unit}, on {count(len(snr))} test spectra it has never seen."
    ]
    others = [model for model in summary.models.values() if model is not best]
    if others:
        rest = "; ".join(f"{model.title}: {score_text(model.overall['r2'], 2)}" for model in others)
        sentences.append(f"For comparison, R² of {rest}.")
    sentences += _across_snr(run)
    sentences += _against_ceiling(run)
    sentences += _coverage(run)
    return sentences


def caption_note(run: RunContents) -> str:
    """Return what every caption states: sample, S/N definition, intervals, seed."""
    summary = run.summary
    return (
        f"{count(summary.counts['test'])} test spectra; S/N is the {summary.snr_definition}; intervals "
        f"are {100 * summary.interval:g} % from {count(summary.bootstrap)} bootstrap resamples; "
        f"seed {summary.seed}."
    )


def _best(run: RunContents) -> ModelResults:
    """Return the model of the highest R², passing over those above the Bayes ceiling where others are."""
    models = list(run.summary.models.values())
    honest = [model for model in models if not model.above_ceiling] or models
    return max(honest, key=lambda model: model.overall["r2"].value or float("-inf"))


def _across_snr(run: RunContents) -> list[str]:
    bins = run.summary.snr_bins
    best = _best(run)
    scored = [i for i, score in enumerate(best.bins["r2"]) if score.value is not None]
    if len(scored) < 2:
        return []
    first, last = scored[0], scored[-1]
    start, end = (f"{number(bins.median[k], 1)}" for k in (first, last))
    low, high = (number(best.bins["r2"][k].value, 2) for k in (first, last))
    return [f"From S/N {start} to {end} the R² of {best.title} goes from {low} to {high}."]


def _against_ceiling(run: RunContents) -> list[str]:
    ceiling = run.summary.ceiling
    if ceiling is None:
        return []
    sentences = []
    if ceiling.bayes is not None:
        sentences.append(
            f"No estimator can do better than R² = {score_text(ceiling.bayes, 2)} on spectra like these: "
            "the Bayes ceiling of the simulated world."
        )
        if ceiling.stars < run.summary.counts["test"]:
            sentences.append(f"That ceiling is over {count(ceiling.stars)} of the test spectra.")
        sentences += _convergence(run)
    else:
        spread = ceiling.overall["r2_max_5"]
        sentences.append(
            f"For the median star the Cramér–Rao ceiling with 5 free labels is {number(spread.median, 2)} "
            f"(10–90 % of stars: {number(spread.p10, 2)} to {number(spread.p90, 2)}). "
            "It bounds unbiased estimators; at low S/N a model that leans on the prior can lie above it."
        )
    return sentences


def _convergence(run: RunContents) -> list[str]:
    """Return a warning if the posteriors behind the Bayes ceiling have not been sampled well enough."""
    stage = run.provenance["stages"].get("bayes", {})
    stars = stage.get("stars", 0)
    missing = stars - stage.get("converged", stars)
    ceiling = run.summary.ceiling
    if ceiling is not None and ceiling.converged:
        return []
    if not missing:
        if ceiling is None or ceiling.converged is not False:
            return []
        return [f"It has not converged: sampling alone moves it by {number(ceiling.sampler_error)}."]
    return [
        f"It has not converged: {count(missing)} of its {count(stars)} posteriors have too few effective "
        f"samples (smallest {number(stage['minimum_ess'], 0)}), so its value is provisional."
    ]


def _coverage(run: RunContents) -> list[str]:
    stated = [
        f"{model.title} {number(100 * value, 0)} %"
        for model in run.summary.models.values()
        if "coverage_68" in model.overall and (value := model.overall["coverage_68"].value) is not None
    ]
    return [f"Stated 68 % intervals hold the truth for: {', '.join(stated)}."] if stated else []
