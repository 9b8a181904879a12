"""A user's own prior: independent normal labels, cut at the box; used wherever a prior enters."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

from specvit.spectra import LabelSpace


@dataclass(frozen=True)
class TruncatedNormal:
    """Normal labels with the given means and standard deviations, one per label, inside the box."""

    label_space: LabelSpace
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def _one(self, i):
        low, high = self.label_space.low[i], self.label_space.high[i]
        mean, std = self.mean[i], self.std[i]
        return stats.truncnorm((low - mean) / std, (high - mean) / std, mean, std)

    def sample(self, count, generator):
        columns = [self._one(i).rvs(count, random_state=generator) for i in range(len(self.label_space))]
        return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))

    def variance(self, name):
        return float(self._one(self.label_space.index(name)).var())

    def log_density(self, labels):
        values = labels.detach().cpu().numpy()
        each = [self._one(i).logpdf(values[..., i]) for i in range(len(self.label_space))]
        return torch.from_numpy(np.sum(each, axis=0)).to(labels.device)


class Anywhere:
    """A prior that can only be drawn from."""

    def __init__(self, label_space):
        self.label_space = label_space

    def sample(self, count, generator):
        low, high = np.array(self.label_space.low), np.array(self.label_space.high)
        return torch.from_numpy(generator.uniform(low, high, (count, len(low))).astype(np.float32))

    def variance(self, name):
        return 1.0
