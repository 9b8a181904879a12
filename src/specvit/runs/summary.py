"""`summary.json` of a job: scores by (estimator, label, slice), and what a reader needs to know of each.

The same kind for every job. Which estimators there are, what they are called and what they mean is written here by
the job, so that a report knows none by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from specvit.documents.problems import wrong_entry
from specvit.errors import DataError
from specvit.runs.folder import RunFolder
from specvit.runs.true_bins import TrueBins

#: 2: scores by label and slice; titles and meanings are the run's.
SCHEMA_VERSION = 2

#: How an estimator comes to its estimates, which decides how it is drawn.
Family = Literal["linear", "trees", "network", "template", "posterior", "own"]

#: The slice of all spectra.
ALL = "all"


#: For bins, models and ceilings alike; captions state it.
SNR_DEFINITION = "median over pixels of noise-free flux / true sigma"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Score(_Part):
    """One number with its bootstrap interval; None where it cannot be computed."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Spread(_Part):
    """A quantity's distribution over stars."""

    median: float | None
    p10: float | None
    p90: float | None
    mean: float | None = None


class LabelFacts(_Part):
    """A label of the test spectra: its unit, and its variance under the prior (unit squared)."""

    unit: str
    prior_variance: float


class SliceFacts(_Part):
    """A named part of the test spectra.

    Args:
        kind: all spectra, a bin in S/N, or a named set.
        definition: which spectra, in words.
        spectra: how many.
        median_snr: their median S/N; None if there are none.
        edges: of a bin in S/N.
    """

    kind: Literal["all", "snr", "named"]
    definition: str
    spectra: int
    median_snr: float | None
    edges: tuple[float, float] | None = None


class EstimatorFacts(_Part):
    """One estimator of the job, all but its scores."""

    title: str = Field(description="what a reader calls it")
    meaning: str = Field(description="two sentences on what its curve means; {target} stands for the label")
    family: Family
    labels: tuple[str, ...] = Field(description="what it estimates of the labels of the test spectra")
    missing: dict[str, int] = Field(
        default_factory=dict, description="label -> test spectra without an estimate, in none of its scores"
    )
    above_ceiling: dict[str, bool | None] = Field(
        default_factory=dict,
        description="label -> R² above the exact Bayes ceiling beyond its interval, as only leakage or a bug can "
        "be; None where that ceiling was not computed",
    )
    seconds: dict[str, float] = Field(default_factory=dict, description="wall time, e.g. fit, predict")
    cost: dict[str, float] = Field(
        default_factory=dict,
        description="parameters, train_spectra; for networks forward_flops per spectrum and train_flops",
    )
    facts: dict[str, Any] = Field(default_factory=dict, description="what the fit chose, e.g. alpha, rounds")
    trained_elsewhere: dict[str, str] = Field(
        default_factory=dict,
        description="of a saved one, in what the world it was trained in differs: field -> 'theirs, not ours'",
    )

    @property
    def world_warning(self) -> str | None:
        """What a reader is told of one that was trained in another world; None of all others."""
        return world_warning(self.title, self.trained_elsewhere) if self.trained_elsewhere else None


def world_warning(title: str, differences: Mapping[str, str]) -> str:
    """Return what is said of an estimator that was trained in another world than the one it is scored in."""
    words = "; ".join(f"{field.replace('_', ' ')} {told}" for field, told in differences.items())
    return (
        f"{title} was trained in another world ({words}): its estimates may be biased here and its stated errors may "
        "not hold"
    )


class FreeSet(_Part):
    """A set of free labels of the Cramér-Rao bound: its place in the bounds, and the labels it frees."""

    at: int = Field(ge=0)
    labels: tuple[str, ...] = Field(min_length=1)


class CeilingFacts(_Part):
    """The information ceiling of one label in the simulated world.

    Args:
        stars: test spectra it was computed for.
        definition: which ceiling the efficiencies are relative to, in words.
        exact: whether that is the exact posterior's, which no estimator can pass.
        sets: the sets of free labels, all labels first.
        spreads: slice -> quantity -> spread over stars, of `r2_max_K` and `sigma_min_K` (square root of the bound,
            label unit) for set K, and with the exact posterior `posterior_std`.
        bayes: slice -> R² of the exact posterior mean; empty if it was not computed.
        sampler_error: standard error of that over all spectra from the finite number of posterior samples.
        converged, posteriors, minimum_ess: how many posteriors have enough effective samples, of how many, and
            the fewest; None without them.
        ceiling_converged: whether all have, and `sampler_error` is small.
    """

    stars: int
    definition: str
    exact: bool
    sets: list[FreeSet] = Field(min_length=1)
    spreads: dict[str, dict[str, Spread]]
    bayes: dict[str, Score] = Field(default_factory=dict)
    sampler_error: float | None = None
    converged: int | None = None
    posteriors: int | None = None
    minimum_ess: float | None = None
    ceiling_converged: bool | None = None


#: metric -> score. Of an estimator: r2, mae, rmse, bias (label unit); residual_50, residual_68 (the absolute error
#: that 50 % and 68 % of the spectra stay below); coverage_68, coverage_95 (share of true values within the stated
#: central intervals, only where errors are stated); with a ceiling efficiency (R² / ceiling R²) and headroom
#: (ceiling R² - R²) on the spectra that have one; with the exact one also r2_expected and efficiency_expected (what
#: R² and efficiency are expected to be given the spectra: true values replaced by the posterior) and
#: efficiency_crlb (against V·CRLB / (V + CRLB) on the same spectra).
Metrics = dict[str, Score]


class Summary(_Part):
    """`summary.json` of a job."""

    schema_version: int = SCHEMA_VERSION
    job: str = Field(description="which job wrote it: survey, training")
    target: str = Field(description="the label shown first")
    labels: dict[str, LabelFacts]
    setting: dict[str, str] = Field(description="the world and the spectra in words, e.g. World -> ...")
    counts: dict[str, int] = Field(description="split -> spectra")
    bootstrap: int = Field(description="resamples behind each interval")
    interval: float = Field(default=0.95, description="probability the intervals hold")
    seed: int
    snr_definition: str = SNR_DEFINITION
    outside: int = Field(default=0, description="test spectra in no bin of S/N")
    left_out: dict[str, str] = Field(
        default_factory=dict, description="slices and bins in S/N without scores -> why, e.g. no spectra"
    )
    slices: dict[str, SliceFacts]
    estimators: dict[str, EstimatorFacts]
    scores: dict[str, dict[str, dict[str, Metrics]]] = Field(
        description="estimator -> label -> slice -> metric -> score"
    )
    by_true_label: dict[str, dict[str, TrueBins]] = Field(
        default_factory=dict,
        description="estimator -> label -> scores in bins of its true value; not in runs from before these were kept",
    )
    ceilings: dict[str, CeilingFacts] = Field(default_factory=dict, description="label -> its ceiling")
    model: str | None = Field(
        default=None, description="where the trained estimator lies, relative to the run folder"
    )

    @model_validator(mode="after")
    def _scores_have_their_slices(self) -> Summary:
        if self.target not in self.labels:
            raise ValueError(f"target: '{self.target}' is none of the labels")
        if ALL not in self.slices:
            raise ValueError(f"slices: no slice '{ALL}'")
        for part, facts in self.slices.items():
            if (facts.edges is None) == (facts.kind == "snr"):
                raise ValueError(f"slices.{part}: a bin in S/N has edges, other slices have none")
        for name, labels in self.scores.items():
            if name not in self.estimators:
                raise ValueError(f"scores.{name}: no such estimator in 'estimators'")
            for label, slices in labels.items():
                if label not in self.labels:
                    raise ValueError(f"scores.{name}.{label}: no such label in 'labels'")
                if missing := [part for part in self.slices if part not in slices]:
                    raise ValueError(f"scores.{name}.{label}: no slice '{missing[0]}'")
        for name, of_labels in self.by_true_label.items():
            if name not in self.estimators:
                raise ValueError(f"by_true_label.{name}: no such estimator in 'estimators'")
            if unknown := [label for label in of_labels if label not in self.labels]:
                raise ValueError(f"by_true_label.{name}.{unknown[0]}: no such label in 'labels'")
        for label, ceiling in self.ceilings.items():
            if missing := [part for part in self.slices if part not in ceiling.spreads]:
                raise ValueError(f"ceilings.{label}.spreads: no slice '{missing[0]}'")
            if ceiling.exact and (missing := [part for part in self.slices if part not in ceiling.bayes]):
                raise ValueError(f"ceilings.{label}.bayes: no slice '{missing[0]}'")
        return self

    @property
    def unit(self) -> str:
        """Unit of the target."""
        return self.labels[self.target].unit

    @property
    def bins(self) -> list[str]:
        """The slices that are bins in S/N, in order."""
        return [name for name, part in self.slices.items() if part.kind == "snr"]

    @property
    def ceiling(self) -> CeilingFacts | None:
        """The ceiling of the target."""
        return self.ceilings.get(self.target)

    def estimating(self, label: str) -> list[str]:
        """Return the estimators with scores of a label, in order."""
        return [name for name in self.estimators if label in self.scores.get(name, {})]

    def score(self, estimator: str, metric: str, label: str | None = None, part: str = ALL) -> Score | None:
        """Return one score; None where it has none."""
        return self.scores[estimator].get(label or self.target, {}).get(part, {}).get(metric)

    def over_bins(self, estimator: str, metric: str) -> list[Score]:
        """Return a score of the target in every bin of S/N; without a value where it has none."""
        found = (self.score(estimator, metric, part=part) for part in self.bins)
        return [Score(value=None) if score is None else score for score in found]

    def has(self, metric: str, label: str | None = None) -> bool:
        """Return whether any estimator has a score of a metric over all spectra."""
        label = label or self.target
        return any(self.score(name, metric, label) is not None for name in self.estimating(label))


def read_summary(run: RunFolder) -> Summary:
    """Return the validated summary of a run.

    Raises:
        DataError: if there is none yet, or it is not one that this specvit reads; names the entry and the mend.
    """
    values, where = run.summary, f"{run.path}/summary.json"
    if not values:
        done = ", ".join(run.stages) or "none"
        raise DataError(
            f"{run.path}: no results yet (finished stages: {done}); start the same run again to go on"
        )
    version = values.get("schema_version", 1)
    if version != SCHEMA_VERSION:
        raise DataError(f"{where}: schema_version {version} {_mend(version)}")
    try:
        return Summary.model_validate(values)
    except ValidationError as error:
        raise DataError(
            f"{where}: {wrong_entry(error)}; the file was changed or is damaged: start the run again with --fresh"
        ) from None


def _mend(version: object) -> str:
    if isinstance(version, int) and version > SCHEMA_VERSION:
        return f"is newer than this specvit reads ({SCHEMA_VERSION}): pip install --upgrade specvit"
    return (
        f"was written by an older specvit, this one reads {SCHEMA_VERSION}: give the command of the run again (it is "
        "in provenance.json), which makes a new folder beside this one"
    )
