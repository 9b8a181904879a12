"""From what the stages have kept to the summary: scores by (estimator, label, slice), beside the ceilings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from specvit.evaluate import (
    Attainable,
    Cells,
    LabelScores,
    Scorer,
    Slice,
    SnrBins,
    box_slice,
    cell_scores,
    everything,
    exact_limit,
    gaussian_limit,
    most_widely,
    plane_axes,
    scores_by_truth,
    shared_slice,
    snr_slices,
    stated_intervals,
)
from specvit.evaluate.cells import LEAST_STARS
from specvit.evaluate.slices import BESIDE_LABELS
from specvit.jobs.stages.fit import Fitted
from specvit.jobs.stages.posteriors import Sampling
from specvit.jobs.stages.test_stars import TestStars
from specvit.jobs.watch import Update
from specvit.jobs.work import Record
from specvit.runs import (
    CeilingFacts,
    EstimatorFacts,
    FreeSet,
    LabelFacts,
    RunFolder,
    StarBounds,
    Summary,
    read_summary,
)

Values = np.ndarray

#: Every one of this many cells would be needed for the map to be drawn from the exact posteriors.
CELLS = 27

EXACT = "the exact Bayes ceiling, 1 - mean posterior variance / variance of the truth, same spectra"
GAUSSIAN = (
    "1 - mean of V·CRLB / (V + CRLB) / variance of the truth ({labels} free labels), same spectra: the Bayes "
    "ceiling if prior and likelihood were Gaussian"
)


@dataclass(frozen=True)
class Scoring:
    """How a job scores.

    Args:
        snr_edges: edges of the bins in S/N.
        slices: name -> box, see `box_slice`; a box in a label that the test spectra lack is left out.
        bootstrap: resamples behind each interval.
        seed: of the resamples.
    """

    snr_edges: tuple[float, ...]
    slices: Mapping[str, Mapping[str, tuple[float, float]]]
    bootstrap: int
    seed: int


@dataclass(frozen=True)
class ScoreAll:
    """Score every estimator of a job for every label it estimates, in every slice.

    Args:
        job: name of the job.
        target: the label shown first.
        test: the test spectra.
        fitted: the estimators, in the order of the report.
        scoring: how.
        variances: label -> variance under the prior.
        setting: the world and the spectra in words.
        counts: split -> spectra.
        bounds: Cramér-Rao bounds, None without a world.
        sampling: exact posteriors, None where they were not computed.
        model: folder of the estimator that the job is about, relative to the run, or None.
    """

    job: str
    target: str
    test: TestStars
    fitted: Sequence[Fitted]
    scoring: Scoring
    variances: Mapping[str, float]
    setting: Mapping[str, str]
    counts: Mapping[str, int]
    bounds: StarBounds | None = None
    sampling: Sampling | None = None
    model: str | None = None

    name = "evaluate"
    title = "evaluate"

    def make(self, run: RunFolder, record: Record, update: Update) -> Summary:
        """Return the summary, and keep it; also where in the label plane the attainable is attained."""
        summary = self._summary(update)
        self._keep_cells(run)
        run.write_summary(summary.model_dump(mode="json"))
        return summary

    def read(self, run: RunFolder) -> Summary:
        """Return the summary of an earlier start."""
        return read_summary(run)

    def _summary(self, update: Update) -> Summary:
        slices, outside = self._slices()
        scorer = Scorer(slices, self.scoring.bootstrap, self.scoring.seed)
        scores: dict[str, dict[str, LabelScores]] = {fitted.choice.key: {} for fitted in self.fitted}
        pairs = [(one, label) for one in self.fitted for label in self._labels_of(one)]
        for done, (one, label) in enumerate(pairs):
            update(done, len(pairs))
            scores[one.choice.key][label] = self._score(scorer, one, label)
        units = dict(zip(self.test.space.names, self.test.space.units, strict=True))
        snr = self.test.table.snr
        return Summary(
            job=self.job,
            target=self.target,
            labels={
                label: LabelFacts(unit=units[label], prior_variance=self.variances[label])
                for label in self.test.table.names
            },
            setting=dict(self.setting),
            counts=dict(self.counts),
            bootstrap=self.scoring.bootstrap,
            seed=self.scoring.seed,
            outside=outside,
            slices={part.name: part.facts(snr) for part in slices},
            estimators={one.choice.key: _facts(one, scores[one.choice.key]) for one in self.fitted},
            scores={
                name: {label: found.metrics for label, found in labels.items()}
                for name, labels in scores.items()
            },
            by_true_label={
                one.choice.key: scores_by_truth(one.estimates, self.test.table.labels, self.test.space)
                for one in self.fitted
            },
            ceilings={} if self.bounds is None else self._ceilings(scorer, self.bounds),
            model=self.model,
        )

    def _labels_of(self, one: Fitted) -> list[str]:
        """Return the labels of the test spectra that an estimator estimates, in their order."""
        return [label for label in self.test.table.names if one.estimates.knows(label)]

    def _slices(self) -> tuple[list[Slice], int]:
        """Return all slices, and the number of spectra in no bin of S/N."""
        table, bins = self.test.table, SnrBins("run", self.scoring.snr_edges)
        slices = [everything(len(table)), *snr_slices(bins, table.snr)]
        known = {*self.test.space.names, *BESIDE_LABELS}
        for name, box in self.scoring.slices.items():
            if set(box) <= known:
                slices.append(box_slice(name, box, table))
        of_target = [one.estimates.of(self.target) for one in self.fitted if one.estimates.knows(self.target)]
        shared = shared_slice(of_target) if of_target else None
        outside = int((bins.assign(table.snr) < 0).sum())
        return [*slices, *([] if shared is None else [shared])], outside

    def _score(self, scorer: Scorer, one: Fitted, label: str) -> LabelScores:
        limit, gaussian = self._limits(label)
        truth, mean = self.test.table.truth(label), one.estimates.of(label)
        intervals = stated_intervals(one.estimates, label)
        # The Gaussian limit stands in where there are no posteriors; with them it is shown beside.
        if limit is None:
            return scorer.estimator(truth, mean, intervals, gaussian)
        return scorer.estimator(truth, mean, intervals, limit, gaussian)

    def _limits(self, label: str) -> tuple[Attainable | None, Attainable | None]:
        """Return the exact limit and the Gaussian one, None where they are not known."""
        count = len(self.test)
        exact = None if self.sampling is None else exact_limit(self.sampling.posteriors, label, count)
        if self.bounds is None:
            return exact, None
        return exact, gaussian_limit(self.bounds, label, count, self.variances[label])

    def _ceilings(self, scorer: Scorer, bounds: StarBounds) -> dict[str, CeilingFacts]:
        return {label: self._ceiling(scorer, bounds, label) for label in self.test.table.names}

    def _ceiling(self, scorer: Scorer, bounds: StarBounds, label: str) -> CeilingFacts:
        exact, gaussian = self._limits(label)
        limit = gaussian if exact is None else exact
        assert limit is not None

        def of_stars(values: Values) -> Values:
            # NaN says unknown; a bound of infinity says that the label is not constrained.
            column = np.full(len(self.test), np.nan)
            column[bounds.rows] = values
            return column

        sets = [FreeSet(at=k, labels=bounds.free_labels(k, label)) for k in range(len(bounds.sets))]
        columns: dict[str, Values] = {}
        for free in sets:
            columns[f"r2_max_{free.at}"] = of_stars(bounds.of("r2_max", free.at, label))
            columns[f"sigma_min_{free.at}"] = of_stars(np.sqrt(bounds.of("crlb", free.at, label)))
        if exact is not None:
            columns["posterior_std"] = np.sqrt(exact.variance)
        spreads = {quantity: scorer.spread(values) for quantity, values in columns.items()}
        facts = CeilingFacts(
            stars=int(limit.known.sum()),
            definition=GAUSSIAN.format(labels=len(sets[0].labels)) if exact is None else EXACT,
            exact=exact is not None,
            sets=sets,
            spreads={
                part.name: {quantity: of[part.name] for quantity, of in spreads.items()}
                for part in scorer.slices
            },
        )
        if exact is None or self.sampling is None:
            return facts
        posteriors = self.sampling.posteriors
        return facts.model_copy(
            update={
                "bayes": scorer.ceiling_r2(self.test.table.truth(label), exact),
                "sampler_error": self.sampling.sampler_error.get(label),
                "ceiling_converged": self.sampling.ceiling_converged.get(label),
                "converged": int(posteriors.converged.sum()),
                "posteriors": len(posteriors.rows),
                "minimum_ess": float(posteriors.ess.min()),
            }
        )

    def _keep_cells(self, run: RunFolder) -> None:
        names, axes = self.test.table.names, plane_axes(self.test.table.names, self.target)
        exact, gaussian = self._limits(self.target)
        if axes is None or gaussian is None:
            return
        # Cells need many stars; the exact posterior is often computed for a few hundred only.
        limit = most_widely(exact, gaussian, enough=CELLS * LEAST_STARS)
        labels = self.test.table.labels
        plane = (labels[:, names.index(axes[0])], labels[:, names.index(axes[1])])
        cells = Cells.divide(axes, plane, self.test.table.snr, limit.known)
        estimates = {
            one.choice.key: one.estimates.of(self.target)
            for one in self.fitted
            if one.estimates.knows(self.target)
        }
        truth, variance = self.test.table.truth(self.target), self.variances[self.target]
        options = {"resamples": self.scoring.bootstrap, "seed": self.scoring.seed}
        cell_scores(cells, truth, estimates, limit, variance, **options).write(run)


def _facts(one: Fitted, scores: Mapping[str, LabelScores]) -> EstimatorFacts:
    return EstimatorFacts(
        title=one.choice.title,
        meaning=one.choice.spec.meaning,
        family=one.choice.spec.family,
        labels=tuple(str(name) for name in one.estimates.names),
        missing={label: found.missing for label, found in scores.items() if found.missing},
        above_ceiling={label: found.above_ceiling for label, found in scores.items()},
        seconds=one.record.seconds,
        cost=one.record.cost,
        facts=one.record.facts,
    )
