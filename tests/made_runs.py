"""Small run folders with every part a report can show: closed-form stars, scored by the stage that scores runs."""

from dataclasses import asdict, replace

import numpy as np
import torch
from scipy.stats import norm

from specvit.estimators import choose
from specvit.jobs import Quiet
from specvit.jobs.config import resolve
from specvit.jobs.config.sections import SLICES
from specvit.jobs.stages import FitRecord, Fitted, Sampling, ScoreAll, Scoring, TestStars
from specvit.jobs.work import Work
from specvit.runs import Estimates, Examples, Posteriors, RunFolder, StarBounds, StarTable
from specvit.spectra import LOW_T_BOX, SpectraBatch, WavelengthGrid

EDGES = (2.0, 4.0, 8.0, 20.0)
LEVELS = np.array([0.025, 0.16, 0.5, 0.84, 0.975])
FACTS = {"log_g": {"alpha": 1000.0, "validation_r2": 0.32777}}


def posterior_of(seen, bound, prior):
    """Mean and variance of a Gaussian posterior: labels (N, P) seen with variance `bound`; prior (mean, variance)."""
    mean, variance = prior
    weight = variance / (variance + bound)
    return mean + weight * (seen - mean), weight * bound


class Stars:
    """Made-up test stars of a library, what was seen of their labels, and what can be known of them."""

    def __init__(self, library, count):
        self.random = np.random.default_rng(7)
        self.space = LOW_T_BOX.select(library)
        low, high = np.array(self.space.low), np.array(self.space.high)
        self.prior = (low + high) / 2, (high - low) ** 2 / 12
        self.labels = self.random.uniform(low, high, (count, len(library)))
        snr = np.exp(self.random.uniform(np.log(2.2), np.log(18), count))
        self.table = StarTable(list(library), self.labels, snr, 22.5 - 2.5 * np.log10(snr / 3))
        share = 22 / snr**2 * np.exp(self.random.normal(size=count))
        self.bound = share[:, None] * self.prior[1]
        self.seen = self.labels + self.noise(self.bound)
        self.mean, self.variance = posterior_of(self.seen, self.bound, self.prior)

    def noise(self, variance):
        return np.sqrt(variance) * self.random.normal(size=self.labels.shape)

    def test(self):
        count = len(self.table)
        batch = SpectraBatch(
            torch.ones(count, 2), torch.ones(count, 2), torch.from_numpy(self.labels).float(), {}
        )
        return TestStars(batch, self.table, self.space, WavelengthGrid.linear(8000, 1.0, 2), "drawn")

    def bounds(self):
        names = self.space.names
        known = [name in ("teff", "log_g", "m_h") for name in names]
        sets = [[True] * len(names), *([] if all(known) else [known])]
        crlb = np.stack([self.bound, 0.8 * self.bound][: len(sets)])
        return StarBounds(
            rows=np.arange(len(self.table)),
            snr=self.table.snr,
            label_names=list(names),
            sets=["all", "chemistry known"][: len(sets)],
            free=sets,
            crlb=crlb,
            r2_max=np.clip(1 - crlb / self.prior[1], 0, 1),
            schur=np.full(crlb.shape, 0.6),
        )

    def sampling(self):
        count, names = len(self.table), self.space.names
        posteriors = Posteriors(
            np.arange(count),
            list(names),
            self.mean,
            self.variance,
            ess=np.full(count, 401.0),
            converged=np.ones(count, bool),
        )
        return Sampling(posteriors, dict.fromkeys(names, 0.001), dict.fromkeys(names, True))

    def estimates(self, choice, at, labels):
        """What an estimator says: the best one the posterior mean, others with more noise, 'leak' the truth."""
        family, columns = choice.spec.family, [self.space.index(label) for label in labels]
        if family == "posterior":
            mean, variance = self.mean, self.variance
        elif choice.key == "leak":
            mean, variance = self.labels, self.variance
        else:
            more = 3 - at % 3
            seen, bound = self.seen + self.noise(more * self.bound), (1 + more) * self.bound
            mean, variance = posterior_of(seen, bound, self.prior)
        mean, std = mean[:, columns], np.sqrt(variance[:, columns])
        if family == "network":
            quantiles = mean[..., None] + std[..., None] * norm.ppf(LEVELS)
            return Estimates(list(labels), mean, None, quantiles, LEVELS)
        return Estimates(list(labels), mean, std if family in ("template", "posterior") else None)

    def examples(self):
        """Two spectra of two lines."""
        wavelength = np.linspace(7100, 8850, 400)
        lines = (8500.36, 8544.44)
        clean = np.stack([1 - 0.5 * np.exp(-0.5 * ((wavelength - at) / 4) ** 2) for at in lines])
        return Examples(
            wavelength=wavelength,
            flux=clean + 0.1 * self.random.normal(size=clean.shape),
            clean=clean,
            sigma=np.full_like(clean, 0.1),
            jacobian=(clean - 1) / 5,
            label_names=list(self.space.names),
            labels=self.labels[:2],
            snr=self.table.snr[:2],
            mag=self.table.mag[:2],
        )


def write_run(
    root,
    count=300,
    library=LOW_T_BOX.names,
    labels=("log_g",),
    models=("ridge", "lightgbm"),
    ceiling=True,
    bayes=True,
    examples=True,
    shorter=(),
    edges=EDGES,
    slices=SLICES,
    magnitudes=True,
):
    """Write a finished run.

    Args:
        library: labels of the test spectra; labels: those that are estimated, the target first.
        models: names of estimators, or choices.
        ceiling, bayes: whether there are bounds, and posteriors; without bounds it is a training.
        examples: whether example spectra are kept.
        shorter: estimators that know the target only.
        edges, slices: as `Scoring`.
        magnitudes: whether the test spectra have them.
    """
    config = resolve("smoke", None, [f"evaluate.snr_edges={list(EDGES)}", f"simulate.test={count}"]).to_dict()
    run, stars = RunFolder.create(root, "demo", config), Stars(library, count)
    if not magnitudes:
        stars.table = replace(stars.table, mag=None)
    choices = [choose(model) if isinstance(model, str) else model for model in models]
    stars.table.write(run)
    fitted = []
    for at, choice in enumerate(choices):
        fact = FitRecord(1.5, 0.1, FACTS, {"train_spectra": 1000.0}, f"models/{choice.key}")
        one = Fitted(
            choice, stars.estimates(choice, at, labels[:1] if choice.key in shorter else labels), fact
        )
        with run.stage(choice.key) as record:
            one.estimates.write(run, choice.key)
            record |= asdict(fact)
        fitted.append(one)
    bounds = stars.bounds() if ceiling else None
    sampling = stars.sampling() if ceiling and bayes else None
    if bounds is not None:
        bounds.write(run)
    if sampling is not None:
        sampling.posteriors.write(run)
    if examples:
        stars.examples().write(run)
    scores = ScoreAll(
        job="survey" if ceiling else "training",
        target=labels[0],
        test=stars.test(),
        fitted=fitted,
        scoring=Scoring(edges, slices, 100, 42),
        variances=dict(zip(library, stars.prior[1], strict=True)),
        setting={"World": "library builtin, instrument pfs_mr"},
        counts={"train": 1000, "validation": 100, "test": count},
        bounds=bounds,
        sampling=sampling,
    )
    Work(run, Quiet()).do(scores)
    run.finish()
    return run
