"""What each curve of the main figure means, two plain sentences each; and the warning against a leak."""

from __future__ import annotations

from specvit.report.contents import RunContents
from specvit.report.words import interval, label_name, number
from specvit.runs import ModelResults, Score

LINEAR = (
    "A weighted sum of all pixels, its weights fitted on the training spectra. It shows how much of "
    "{target} can be read without any bend in the relation between flux and label."
)
TREES = (
    "Decision trees on single pixels, added one after another for as long as the validation spectra gain. "
    "They follow bends that a weighted sum cannot, but each tree averages little of the noise away."
)
NETWORK = (
    "A neural network trained on simulated spectra to predict {target} from flux and sigma. Its distance "
    "to the Bayes ceiling is what its design and training have not found of the information that is there."
)
SUBSPACE = (
    "A small network on the few dozen numbers that a noise-free spectrum has, estimated from the noisy one "
    "with the noise of every pixel. Almost nothing the spectrum says of {target} is lost in these numbers, so "
    "it comes close to the Bayes ceiling after minutes of training."
)
#: By the first part of an estimator's name: "mlp-small" is an "mlp".
KINDS = {
    **dict.fromkeys(("ridge", "pca_ridge", "pls"), LINEAR),
    "lightgbm": TREES,
    **dict.fromkeys(("mlp", "cnn", "swin", "vit"), NETWORK),
    "subspace": SUBSPACE,
    "template": (
        "The labels, flux scale and continuum whose model spectrum fits best by maximum likelihood, as "
        "observers fit templates. It knows the noise of every pixel but not how stars are distributed, so "
        "faint stars scatter far and its R² falls below that of estimators that lean on the prior."
    ),
    "posterior": (
        "The mean of the exact posterior of {target}, which weighs every star that could have made the "
        "spectrum. On average it reaches the Bayes ceiling, so what separates the two on these spectra is "
        "chance."
    ),
}
OTHER = (
    "An estimator fitted on the training spectra. The line is its R² on test spectra it has never seen, "
    "with the bootstrap interval."
)
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


def curve_meanings(run: RunContents) -> list[tuple[str, str]]:
    """Return what the curves of the main figure mean, ceilings first; models of one kind share an entry."""
    summary, target = run.summary, label_name(run.summary.target)
    meanings = []
    if summary.ceiling is not None:
        *most, last = [label_name(name) for name in summary.ceiling.labels["5"]]
        labels = f"{', '.join(most)} and {last}" if most else last
        meanings.append(("Cramér–Rao ceiling", CRAMER_RAO.format(labels=labels)))
        if summary.ceiling.bayes is not None:
            meanings.append(("Bayes ceiling", BAYES))
    kinds: dict[str, list[str]] = {}
    for name, model in summary.models.items():
        kinds.setdefault(KINDS.get(name.partition("-")[0], OTHER), []).append(model.title)
    return meanings + [(", ".join(titles), kind.format(target=target)) for kind, titles in kinds.items()]


def leak_warnings(run: RunContents) -> list[str]:
    """Return one warning for each model above the Bayes ceiling."""
    return [_warning(model) for model in run.summary.models.values() if model.above_ceiling]


def _warning(model: ModelResults) -> str:
    headroom = model.overall["headroom"]
    ends = (headroom.value, headroom.high, headroom.low)
    value, low, high = (None if end is None else -end for end in ends)
    excess = Score(value=value, low=low, high=high)
    return (
        f"{model.title} is above the Bayes ceiling: leakage or a bug. On the same spectra its R² is "
        f"{number(excess.value)} higher than any estimator can reach ({interval(excess)}); something it was "
        "given holds the truth, or the world it was scored in is not the one of the ceiling."
    )
