"""Stars of a Gaussian world, in which the exact posterior is known in closed form, and scores of them in slices."""

import itertools

import numpy as np

from specvit.evaluate import Scorer, SnrBins, everything, snr_slices, stated_intervals
from specvit.runs import Estimates

EDGES = (2.0, 4.0, 8.0, 16.0)
ALL, BINS = "all", [f"S/N {low:g}-{high:g}" for low, high in itertools.pairwise(EDGES)]

#: Of a label that is uniform from 1 to 5.
VARIANCE = 4.0**2 / 12


def stars(count, seed, spread=0.5):
    """Truth, S/N, and the exact posterior: y | data ~ N(mean, variance)."""
    random = np.random.default_rng(seed)
    snr = np.exp(random.uniform(np.log(2), np.log(16), count))
    variance = spread * VARIANCE / (1 + snr**2 / 20)
    mean = 3 + np.sqrt(VARIANCE - variance) * random.normal(size=count)
    return mean + np.sqrt(variance) * random.normal(size=count), snr, mean, variance


def scorer(snr, resamples=100):
    return Scorer([everything(len(snr)), *snr_slices(SnrBins("run", EDGES), snr)], resamples, 1)


def score(truth, snr, estimate, intervals=None, limit=None, gaussian=None, resamples=100):
    return scorer(snr, resamples).estimator(truth, estimate, intervals or {}, limit, gaussian)


def overall(*arguments, **options):
    return score(*arguments, **options).metrics[ALL]


def stated(mean, std):
    return stated_intervals(Estimates(["log_g"], mean[:, None], std[:, None]), "log_g")
