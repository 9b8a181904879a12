"""The exact posterior of test stars: what no estimator can know better, for every label."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from specvit.errors import DataError
from specvit.jobs.stages.test_stars import TestStars
from specvit.jobs.watch import Update
from specvit.jobs.work import Record
from specvit.limits.bayes import BayesCeiling, Observation, bayes_r2
from specvit.runs import Posteriors, RunFolder
from specvit.runs.folder import MEND
from specvit.runs.identity import content_digest
from specvit.simulate import Simulator

#: Points of the label box from which the sampler starts, unless it is told otherwise.
BANK = 1 << 16


@dataclass(frozen=True)
class Sampling:
    """Posteriors of test stars, with how well they were sampled.

    Args:
        posteriors: their moments.
        sampler_error: label -> standard error of the Bayes ceiling from the finite number of samples.
        ceiling_converged: label -> whether all posteriors converged and that error is small.
    """

    posteriors: Posteriors
    sampler_error: dict[str, float] = field(default_factory=dict)
    ceiling_converged: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class SamplePosteriors:
    """Sample the posterior of the first test stars.

    Args:
        simulator: their world.
        test: the test spectra.
        stars: how many, from the first.
        seed: of the sampler.
        bank: points of the label box that the sampler starts from.
    """

    simulator: Simulator
    test: TestStars
    stars: int
    seed: int
    bank: int = BANK

    name = "bayes"
    title = "Bayes ceiling"

    def make(self, run: RunFolder, record: Record, update: Update) -> Sampling:
        """Return the posteriors, and keep their moments."""
        sampling = sample_posteriors(self.simulator, self.test, self.stars, self.seed, update, self.bank)
        sampling.posteriors.write(run)
        record |= {
            "identity": self.identity,
            "stars": len(sampling.posteriors.rows),
            "converged": int(sampling.posteriors.converged.sum()),
            "minimum_ess": round(float(sampling.posteriors.ess.min()), 1),
            "sampler_error": sampling.sampler_error,
            "ceiling_converged": sampling.ceiling_converged,
        }
        return sampling

    @property
    def identity(self) -> str:
        """What these posteriors are, by content: of which stars of which world, under which seed of the sampler."""
        own = {"stars": self.stars, "seed": self.seed, "bank": self.bank, "spectra": self.test.identity}
        return content_digest({"world": self.simulator.identity, **own})

    def read(self, run: RunFolder) -> Sampling:
        """Return the posteriors of an earlier start."""
        kept = run.stages[self.name]
        try:
            quality = {name: kept[name] for name in ("sampler_error", "ceiling_converged")}
        except KeyError as error:
            raise DataError(f"{run.path}: stage '{self.name}' has no entry {error}; {MEND}") from None
        return Sampling(Posteriors.read(run), **quality)


def sample_posteriors(
    simulator: Simulator, test: TestStars, stars: int, seed: int, update: Update, bank: int = BANK
) -> Sampling:
    """Return the posteriors of the first `stars` test stars; how well they were sampled for two or more."""
    batch, prior, done = test.first(stars), simulator.prior, 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        update(done, len(batch))

    ceiling = BayesCeiling(simulator.observed, prior, bank, seed)
    observation = Observation.from_batch(batch, simulator.instrument, simulator.noise_level)
    posterior = ceiling.posterior(observation, advance)
    names = prior.label_space.names
    posteriors = Posteriors(
        rows=np.arange(len(batch)),
        label_names=np.array(names),
        mean=posterior.mean.numpy(),
        variance=np.stack([posterior.variance(name).numpy() for name in names], axis=1),
        ess=posterior.ess.numpy(),
        converged=posterior.converged.numpy(),
    )
    # One star has no variance of the truth, and so no R².
    if len(batch) < 2:
        return Sampling(posteriors)
    labels = batch.known_labels()
    found = {name: bayes_r2(posterior, labels, name, prior.variance(name)) for name in names}
    return Sampling(
        posteriors,
        {name: one.sampler_error for name, one in found.items()},
        {name: one.converged for name, one in found.items()},
    )
