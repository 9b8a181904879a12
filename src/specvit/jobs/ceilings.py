"""The ceilings of a run: CRLB per test star from exact derivatives, and the exact Bayes ceiling."""

from __future__ import annotations

import numpy as np

from specvit.jobs.progress import Update
from specvit.library import Emulator
from specvit.limits import marginal_crlb, r2_max, schur_decay
from specvit.limits.bayes import BayesCeiling, Observation, bayes_r2
from specvit.limits.forecast import FREE_LABELS as FORECAST_LABELS
from specvit.limits.forecast import Forecaster, FreeParameters
from specvit.simulate import Simulator
from specvit.spectra import SpectraBatch

Arrays = dict[str, np.ndarray]

#: Free labels of the two published ceilings: chemistry known ("3"), and chemistry free ("5").
FREE_LABELS = {str(count): names for count, names in FORECAST_LABELS.items()}


def crlb_ceiling(
    simulator: Simulator, emulator: Emulator, test: SpectraBatch, target: str, update: Update
) -> Arrays:
    """Return the marginal CRLB of `target` at the true labels of every test star, see `runs.results`.

    The flux scale is a nuisance: spectra are relative to their own median, so the level says nothing.
    """
    everything = FreeParameters(target, simulator.prior.label_space.names)
    forecaster = Forecaster(emulator, simulator.instrument, everything, simulator.noise_level)
    conditions = {name: value.double() for name, value in test.conditions.items()}
    fisher = forecaster.forecast(test.known_labels(), [conditions], update)[0].fisher
    variance = simulator.prior.variance(target)
    arrays: Arrays = {"rows": np.arange(len(test)), "snr": test.known_snr().numpy()}
    for free, names in FREE_LABELS.items():
        names = tuple(dict.fromkeys((*names, target)))
        at = [everything.labels.index(name) for name in names]
        # A known label is one whose row and column are left out.
        block, index = fisher[:, at][:, :, at], names.index(target)
        bound = marginal_crlb(block, index)
        arrays[f"crlb_{free}"] = bound.numpy()
        arrays[f"r2_max_{free}"] = r2_max(bound, variance).numpy()
        arrays[f"schur_{free}"] = schur_decay(block, index).numpy()
    return arrays


def bayes_ceiling(
    simulator: Simulator, stars: SpectraBatch, target: str, seed: int, update: Update
) -> tuple[Arrays, dict[str, float | bool]]:
    """Return the posterior mean and variance of `target` per star, and how well the sampler did.

    `sampler_error` and `ceiling_converged` are those of `BayesR2`, for two stars or more.
    """
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        update(done, len(stars))

    ceiling = BayesCeiling(simulator.observed, simulator.prior, seed=seed)
    observation = Observation.from_batch(stars, simulator.instrument, simulator.noise_level)
    posterior = ceiling.posterior(observation, advance)
    index = posterior.index(target)
    arrays = {"bayes_mean": posterior.mean[:, index].numpy(), "bayes_var": posterior.variance(target).numpy()}
    quality: dict[str, float | bool] = {
        "stars": len(stars),
        "converged": int(posterior.converged.sum()),
        "median_ess": round(float(posterior.ess.median()), 1),
        "minimum_ess": round(float(posterior.ess.min()), 1),
    }
    if len(stars) > 1:
        found = bayes_r2(posterior, stars.known_labels(), target, simulator.prior.variance(target))
        quality |= {"sampler_error": found.sampler_error, "ceiling_converged": found.converged}
    return arrays, quality
