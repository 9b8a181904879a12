"""What a variant is measured by, star by star: every measure is a mean over stars, so that contrasts are too.

Knows estimates, labels and exact posteriors; nothing of studies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from specvit.limits.published import PUBLISHED_VARIANCE

Values = np.ndarray


@dataclass(frozen=True, eq=False)
class Judged:
    """What is known of one label of N stars, and what S trainings of a variant say of it.

    Args:
        truth: true values, shape (N,).
        estimates: shape (S, N).
        mean, variance: of the exact posterior, shape (N,), or None.
        bound: the Cramér-Rao bound, shape (N,), inf where there is none; or None.
        focus: quantity of `LineFocus` -> shape (S, N), of those that were asked for.
        flux: quantity of `FluxScores` -> shape (S, N), of denoisers, which estimate no label: `truth` and `estimates`
            then say nothing.
    """

    truth: Values
    estimates: Values
    mean: Values | None = None
    variance: Values | None = None
    bound: Values | None = None
    focus: Mapping[str, Values] = field(default_factory=dict)
    flux: Mapping[str, Values] = field(default_factory=dict)

    def on(self, stars: Values) -> Judged:
        """Return the same for the stars of a boolean mask (N,)."""
        mean, variance, bound = (
            None if values is None else values[stars] for values in (self.mean, self.variance, self.bound)
        )
        focus = {name: values[:, stars] for name, values in self.focus.items()}
        flux = {name: values[:, stars] for name, values in self.flux.items()}
        return Judged(self.truth[stars], self.estimates[:, stars], mean, variance, bound, focus, flux)


@dataclass(frozen=True)
class Measure:
    """One way to score an estimate.

    Args:
        of: from what is judged to the score of every training and star, shape (S, N), whose mean is the measure.
        exact: whether it needs the exact posterior.
        words: what a reader is told.
        unit: "label", "label²" or "" for a pure number.
        bounds: whether it needs the Cramér-Rao bounds.
        focus: the quantity of `LineFocus` that it needs, or "".
        flux: the quantity of `FluxScores` that it is, or "" for a measure of estimates of labels.
    """

    of: Callable[[Judged], Values]
    exact: bool
    words: str
    unit: str
    bounds: bool = False
    focus: str = ""
    flux: str = ""

    def is_known_of(self, judged: Judged) -> bool:
        """Return whether what it needs is there."""
        if self.flux or judged.flux:
            return self.flux in judged.flux
        exact, bounds = not self.exact or judged.mean is not None, not self.bounds or judged.bound is not None
        return exact and bounds and (not self.focus or self.focus in judged.focus)


def _excess(judged: Judged) -> Values:
    scores: Values = np.square(judged.estimates - _known(judged.mean))
    return scores


def _error(judged: Judged) -> Values:
    scores: Values = np.square(judged.estimates - judged.truth)
    return scores


def _absolute(judged: Judged) -> Values:
    scores: Values = np.abs(judged.estimates - judged.truth)
    return scores


def _r2(judged: Judged) -> Values:
    scores: Values = 1 - _error(judged) / judged.truth.var()
    return scores


def _expected_r2(judged: Judged) -> Values:
    scores: Values = 1 - (_known(judged.variance) + _excess(judged)) / judged.truth.var()
    return scores


def _ceiling(judged: Judged) -> Values:
    known = 1 - _known(judged.variance) / judged.truth.var()
    return np.broadcast_to(known, judged.estimates.shape)


def _least_error(judged: Judged) -> Values:
    return np.broadcast_to(_known(judged.variance), judged.estimates.shape)


def _fisher_error(judged: Judged) -> Values:
    bound, prior = _known(judged.bound), judged.truth.var()
    # 1 / (1 / C + 1 / V), which also an infinite bound has.
    return np.broadcast_to(prior / (1 + prior / bound), judged.estimates.shape)


def _clipped_ceiling(variance: Callable[[Judged], float]) -> Callable[[Judged], Values]:
    def scores(judged: Judged) -> Values:
        ceiling = np.clip(1 - _known(judged.bound) / variance(judged), 0, 1)
        return np.broadcast_to(ceiling, judged.estimates.shape)

    return scores


def _focus(name: str) -> Callable[[Judged], Values]:
    return lambda judged: judged.focus[name]


def _flux(name: str, words: str) -> Measure:
    return Measure(lambda judged: judged.flux[name], False, words, "", flux=name)


def _known(values: Values | None) -> Values:
    assert values is not None
    return values


#: Name in rules -> measure.
MEASURES: dict[str, Measure] = {
    "excess": Measure(
        _excess,
        True,
        "excess risk, the mean of (estimate - posterior mean)²: what was lost of what the spectrum says",
        "label²",
    ),
    "expected_r2": Measure(
        _expected_r2, True, "R² expected of spectra like these, without the luck of the labels drawn", ""
    ),
    "ceiling": Measure(_ceiling, True, "the Bayes ceiling of the stars the variant is judged by, as R²", ""),
    "error": Measure(_error, False, "mean squared error against the labels drawn", "label²"),
    "mae": Measure(_absolute, False, "mean absolute error against the labels drawn", "label"),
    "r2": Measure(_r2, False, "R² against the labels drawn", ""),
    "least_error": Measure(
        _least_error,
        True,
        "variance of the exact posterior: the squared error of the best estimator",
        "label²",
    ),
    "fisher_error": Measure(
        _fisher_error,
        False,
        "1 / (1 / CRLB + 1 / variance of the labels): the squared error that a Gaussian world of this Fisher "
        "information would allow",
        "label²",
        bounds=True,
    ),
    "fisher_ceiling": Measure(
        _clipped_ceiling(lambda judged: float(judged.truth.var())),
        False,
        "the published ceiling, the mean of clip(1 - CRLB / variance of the labels, 0, 1)",
        "",
        bounds=True,
    ),
    "fisher_ceiling_nodes": Measure(
        _clipped_ceiling(lambda judged: PUBLISHED_VARIANCE),
        False,
        "the same with the variance of the published ceiling, that of the nodes of its grid in log g",
        "",
        bounds=True,
    ),
    "line_response": Measure(
        _focus("response"),
        False,
        "share of what the noise of pixels does to the estimate in windows of known lines, over their share of pixels",
        "",
        focus="response",
    ),
    "line_attention": Measure(
        _focus("attention"),
        False,
        "share of the attention in windows of known lines, over their share of pixels",
        "",
        focus="attention",
    ),
    "line_information": Measure(
        _focus("information"),
        False,
        "share of the Fisher information in windows of known lines, over their share of pixels",
        "",
        focus="information",
    ),
    "flux_error": _flux(
        "error", "mean over pixels of (flux - noise-free flux)², relative to the level of the spectrum"
    ),
    "flux_wmae": _flux("weighed", "mean over pixels of |flux - noise-free flux| over the visible sigma"),
    "flux_inside_68": _flux(
        "inside_68", "share of pixels whose truth lies in the central 68 % of the samples"
    ),
    "flux_inside_95": _flux(
        "inside_95", "share of pixels whose truth lies in the central 95 % of the samples"
    ),
}
