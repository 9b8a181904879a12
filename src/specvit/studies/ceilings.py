"""The ceilings of a run: CRLB per test star from exact derivatives, and the exact Bayes ceiling."""

from __future__ import annotations

import copy

import numpy as np
from torch import Tensor

from specvit.instrument import ObservedEmulator
from specvit.limits import continuum_columns, fisher_information, marginal_crlb, r2_max, schur_decay
from specvit.limits.bayes import BayesCeiling, Observation
from specvit.simulate import Simulator
from specvit.spectra import SpectraBatch
from specvit.studies.progress import Update

Arrays = dict[str, np.ndarray]

#: Free labels of the two published ceilings: chemistry known, and chemistry free.
FREE_LABELS = {"3": ("teff", "log_g", "m_h"), "5": ("teff", "log_g", "m_h", "alpha_m", "c_m")}
#: Stars whose float64 Jacobians are held at once.
STARS = 64


def crlb_ceiling(simulator: Simulator, test: SpectraBatch, target: str, update: Update) -> Arrays:
    """Return the marginal CRLB of `target` at the true labels of every test star, see `runs.results`.

    The flux scale is a nuisance: spectra are relative to their own median, so the level says nothing.
    """
    observed = copy.deepcopy(simulator.observed).double()
    parts = []
    for start in range(0, len(test), STARS):
        parts.append(_crlb(observed, simulator, test[start : start + STARS], target))
        update(min(start + STARS, len(test)), len(test))
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return {"rows": np.arange(len(test)), "snr": test.snr.numpy(), **arrays}


def _crlb(observed: ObservedEmulator, simulator: Simulator, stars: SpectraBatch, target: str) -> Arrays:
    assert stars.truth is not None
    labels, scale = stars.labels.double(), stars.truth.scale.double()
    jacobian = observed.jacobian(labels) * scale[:, None, None]
    amplitude = continuum_columns(stars.truth.flux, simulator.grid, order=0)
    ivar = stars.truth.sigma.double().square().reciprocal()
    space, variance = simulator.prior.label_space, simulator.prior.variance(target)
    arrays: Arrays = {}
    for free, names in FREE_LABELS.items():
        names = tuple(dict.fromkeys((*names, target)))
        at = [space.index(name) for name in names]
        fisher = fisher_information(jacobian[:, :, at], ivar, amplitude)
        bound = marginal_crlb(fisher, names.index(target))
        arrays[f"crlb_{free}"] = bound.numpy()
        arrays[f"r2_max_{free}"] = r2_max(bound, variance).numpy()
        arrays[f"schur_{free}"] = schur_decay(fisher, names.index(target)).numpy()
    return arrays


def bayes_ceiling(
    simulator: Simulator, stars: SpectraBatch, target: str, seed: int, update: Update
) -> tuple[Arrays, dict[str, float]]:
    """Return the posterior mean and variance of `target` per star, and how well the sampler did."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        update(done, len(stars))

    ceiling = BayesCeiling(simulator.observed, simulator.prior, seed=seed)
    observation = Observation.from_batch(stars, simulator.instrument, simulator.noise_level)
    posterior = ceiling.posterior(observation, advance)
    index = posterior.index(target)
    arrays = {"bayes_mean": _column(posterior.mean, index), "bayes_var": posterior.variance(target).numpy()}
    quality = {
        "stars": len(stars),
        "converged": int(posterior.converged.sum()),
        "median_ess": round(float(posterior.ess.median()), 1),
        "minimum_ess": round(float(posterior.ess.min()), 1),
    }
    return arrays, quality


def _column(values: Tensor, index: int) -> np.ndarray:
    return values[:, index].numpy()
