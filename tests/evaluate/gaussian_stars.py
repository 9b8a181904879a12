"""Stars of a Gaussian world, in which the exact posterior is known in closed form."""

import numpy as np

#: Of a label that is uniform from 1 to 5.
VARIANCE = 4.0**2 / 12


def stars(count, seed, spread=0.5):
    """Truth, S/N, and the exact posterior: y | data ~ N(mean, variance)."""
    random = np.random.default_rng(seed)
    snr = np.exp(random.uniform(np.log(2), np.log(16), count))
    variance = spread * VARIANCE / (1 + snr**2 / 20)
    mean = 3 + np.sqrt(VARIANCE - variance) * random.normal(size=count)
    return mean + np.sqrt(variance) * random.normal(size=count), snr, mean, variance
