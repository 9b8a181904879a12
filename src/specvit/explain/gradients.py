"""What each pixel does to an estimate: its slope here, and its part of the way from the mean spectrum."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from specvit.models.network import SpectrumNetwork

#: Points along the path, at first: spectra whose contributions miss more than `TOLERANCE` of the difference
#: are done again with twice as many, up to `MOST_STEPS`.
STEPS, MOST_STEPS = 48, 768

#: Largest gap that is not worth more points, in prior standard deviations of the label.
TOLERANCE = 0.01

#: Share of the path near the mean spectrum on which points lie densely: a transformer's layer norms see
#: nothing but noise there, in which they turn within a few hundredths of the path.
DENSE = 0.02


class Attribution(NamedTuple):
    """What each pixel contributed to an estimate.

    values: shape (B, L), float64, label units; 0 on dead pixels.
    difference: shape (B,), float64: estimate of the spectrum - estimate of the baseline.
    """

    values: Tensor
    difference: Tensor

    @property
    def gap(self) -> Tensor:
        """What the contributions miss of the difference, shape (B,), label units: the error of the sum."""
        return self.values.sum(dim=1) - self.difference


def integrated_gradients(network: SpectrumNetwork, flux: Tensor, sigma: Tensor, label: str) -> Attribution:
    """Return the integrated gradients of the estimate of one label with respect to the flux.

    a_l = (x_l - c_l) ∫₀¹ ∂f/∂x_l (c + t (x - c)) dt, with f the estimate (whatever the head: its decoded
    mean), x the spectrum as its front end sees it and c the mean training spectrum. Level, sigma and dead pixels
    stay as they are along the path, so a flux scale contributes nothing and Σ a_l = f(x) - f(c).

    Args:
        network: not changed; its parameters need no gradient.
        flux, sigma: shape (B, L), in any one unit; all spectra go through the network together.
        label: one of the network's.

    Raises:
        LabelError: if the network does not estimate `label`.

    Source: Sundararajan, Taly & Yan 2017, ICML, eq. 1 (arXiv:1703.01365).
    """
    space = network.label_space
    index = space.index(label)
    allowed = TOLERANCE * (space.high[index] - space.low[index]) / math.sqrt(12)
    path = _Path.of(network, index, flux, sigma)
    values, difference = path.attribute(STEPS), path.difference()
    steps = 2 * STEPS
    while steps <= MOST_STEPS:
        poor = ((values.sum(dim=1) - difference).abs() > allowed).nonzero()[:, 0]
        if not len(poor):
            break
        # Done again from the start: midpoints of a finer path are not those of the coarse one.
        values[poor] = path.rows(poor).attribute(steps)
        steps *= 2
    return Attribution(values, difference)


def estimate_slopes(network: SpectrumNetwork, flux: Tensor, sigma: Tensor, label: str) -> Tensor:
    """Return ∂estimate/∂flux of each spectrum at fixed level and continuum, shape (B, L), label units per flux unit.

    0 on dead pixels. Times σ and squared, it is what the noise of each pixel adds to the variance of the
    estimate; of an efficient unbiased estimate that is the Fisher information of the pixel over the square
    of the sum (see `limits.information_density`). Arguments as for `integrated_gradients`.
    """
    path = _Path.of(network, network.label_space.index(label), flux, sigma)
    return path.slope(1.0) / network.front.viewed(flux, sigma).divisor


class _Path:
    """The straight lines from the mean spectrum to B spectra, and an estimate along them."""

    def __init__(
        self,
        network: SpectrumNetwork,
        index: int,
        usable: Tensor,
        spectrum: Tensor,
        noise: Tensor,
        bright: Tensor,
    ) -> None:
        # Who is refined is decided for the whole path: at no point of it may the estimate jump.
        self.network, self.index, self.bright = network, index, bright
        self.usable, self.spectrum, self.noise = usable, spectrum, noise
        self.baseline = network.front.baseline.expand_as(spectrum)
        self.change = torch.where(usable, spectrum - self.baseline, 0.0)

    @classmethod
    def of(cls, network: SpectrumNetwork, index: int, flux: Tensor, sigma: Tensor) -> _Path:
        """Return the paths to flux and sigma (B, L), for the label at `index`."""
        usable, spectrum, noise, *_ = network.front.viewed(flux, sigma)
        return cls(network, index, usable, spectrum, noise, network.is_bright(flux, sigma))

    def rows(self, chosen: Tensor) -> _Path:
        """Return the paths of some spectra."""
        parts = (self.usable[chosen], self.spectrum[chosen], self.noise[chosen], self.bright[chosen])
        return _Path(self.network, self.index, *parts)

    def attribute(self, steps: int) -> Tensor:
        """Return change · mean slope along the path, shape (B, L), float64, by the midpoint rule."""
        mean = torch.zeros_like(self.change, dtype=torch.float64)
        for start, stop in pairwise(_knots(steps)):
            mean += (stop - start) * self.slope(0.5 * (start + stop))
        return mean * self.change

    def slope(self, at: float) -> Tensor:
        """Return ∂estimate/∂spectrum at a point of the path, shape (B, L)."""
        with torch.enable_grad():
            here = (self.baseline + at * self.change).requires_grad_()
            # Spectra do not meet in the network: the gradient of the sum holds that of each.
            return torch.autograd.grad(self._estimate(here).sum(), here)[0]

    @torch.no_grad()
    def difference(self) -> Tensor:
        """Return the estimates at the ends of the path minus those at its start, shape (B,), float64."""
        return self._estimate(self.baseline + self.change) - self._estimate(self.baseline)

    def _estimate(self, spectrum: Tensor) -> Tensor:
        raw = self.network.body(self.network.front.from_normalised(self.usable, spectrum, self.noise))
        rows = torch.nonzero(self.bright).squeeze(1)
        if len(rows):
            step = self.network.step_of(raw[rows], self.usable[rows], spectrum[rows], self.noise[rows])
            raw = raw.index_copy(0, rows, step)
        return self.network.mean(raw)[:, self.index]


def _knots(steps: int) -> list[float]:
    """Return the ends of the steps on [0, 1]: t = ε ((1 + 1/ε)^u - 1), even in u, so spaced as ε + t."""
    growth = math.log1p(1 / DENSE)
    return [DENSE * math.expm1(growth * step / steps) for step in range(steps + 1)]
