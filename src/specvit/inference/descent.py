"""Least squares in a region of the unit box, many spectra and starts at once: Levenberg-Marquardt that stays inside.

Owns the minimisation; one step is `box_steps`, where it may end is `region`. A label on a face whose gradient points
outwards is held there for the step (two-metric projection, Bertsekas 1982, SIAM J. Control Optim. 20, 221).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.inference.box_steps import bounded_step, free_labels, possible_decrease, promised_decrease
from specvit.inference.products import TemplateProducts
from specvit.inference.profile import AmplitudeProfile
from specvit.inference.region import Region
from specvit.library.derivative import batched_jacobian

#: A start has converged when an undamped step would lower chi² by less than this: a thousandth of 1 σ.
TOLERANCE = 1e-6

#: Steps with the Gauss-Newton matrix; starts that need more go on with second derivatives, because where a
#: label has little effect the curvature of chi² is that of the noise, and Gauss-Newton steps oscillate.
GAUSS_NEWTON, ITERATIONS = 15, 60

#: Share of the box over which gradients are differenced for second derivatives.
DIFFERENCE = 1e-5

#: Damping relative to the diagonal: at the start, and the largest before a start is given up as stuck.
DAMPING, STUCK = 1e-2, 1e10

#: (positions (N, P) in the unit box) -> coefficients (N, K).
Spectra = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Minima:
    """Where the starts ended; float64.

    Args:
        position: in the unit box, shape (B, S, P).
        chi2: shape (B, S).
        iterations: steps tried, shape (B, S).
        converged: shape (B, S).
    """

    position: Tensor
    chi2: Tensor
    iterations: Tensor
    converged: Tensor

    def distinct(self, distance: float) -> Tensor:
        """Return how many different minima the starts of each spectrum found, shape (B,)."""
        apart = (self.position[:, :, None] - self.position[:, None]).abs().amax(-1) > distance
        # A start counts if it is apart from all starts before it.
        earlier = torch.ones_like(apart[0]).tril(-1)
        return (apart | ~earlier).all(2).sum(1)


def minimise(products: TemplateProducts, spectra: Spectra, start: Tensor, region: Region) -> Minima:
    """Return the minima of chi² reached from `start`, shape (B, S, P), in the region, in which it must lie."""
    shape = start.shape[:2]
    spectrum = torch.arange(shape[0], device=start.device).repeat_interleave(shape[1])
    descent = _Descent(products, spectra, spectrum, start.flatten(0, 1).clone(), region)
    descent.run()
    return Minima(
        descent.position.unflatten(0, shape),
        descent.chi2.unflatten(0, shape),
        descent.iterations.unflatten(0, shape),
        descent.converged.unflatten(0, shape),
    )


class _Descent:
    """The state of N descents, each of its own spectrum; those that are done cost nothing.

    Args:
        products: of the spectra.
        spectra: see `Spectra`.
        spectrum: number of the spectrum of each descent, shape (N,).
        position: where they begin, shape (N, P); overwritten.
        region: where they stay.
    """

    def __init__(
        self, products: TemplateProducts, spectra: Spectra, spectrum: Tensor, position: Tensor, region: Region
    ) -> None:
        self.products, self.spectra, self.spectrum, self.position = products, spectra, spectrum, position
        self.region = region
        everything = torch.arange(len(position), device=position.device)
        self.chi2 = self._chi2(everything, position)
        self.gradient, self.curvature = self._slope(everything)
        self.damping = torch.full_like(self.chi2, DAMPING)
        self.iterations = torch.zeros_like(spectrum)
        self.converged = torch.zeros_like(spectrum, dtype=torch.bool)
        # Below this share of the flux's own chi² a decrease is rounding.
        self.tolerance = TOLERANCE + 1e-14 * products.norm[spectrum]

    def run(self) -> None:
        """Descend until all have converged, are stuck, or have had their `ITERATIONS`."""
        active = self._unfinished(torch.arange(len(self.position), device=self.position.device))
        for iteration in range(ITERATIONS):
            if not len(active):
                return
            if iteration == GAUSS_NEWTON:
                self.curvature[active] = self._second_derivative(active)
            moved = self._step(active)
            if len(moved):
                self.gradient[moved], self.curvature[moved] = self._slope(moved)
                if iteration >= GAUSS_NEWTON:
                    self.curvature[moved] = self._second_derivative(moved)
            active = self._unfinished(active)

    def _unfinished(self, rows: Tensor) -> Tensor:
        """Mark those of `rows` that have converged; return the others that are not stuck."""
        now = self.position[rows]
        free = free_labels(now, self.gradient[rows], self.region.bounds(now))
        left = possible_decrease(self.curvature[rows], self.gradient[rows], free)
        self.converged[rows] = left < self.tolerance[rows]
        return rows[~self.converged[rows] & (self.damping[rows] < STUCK)]

    def _step(self, rows: Tensor) -> Tensor:
        """Try one step each; take those that lower chi² and return whose they were."""
        now, gradient, curvature = self.position[rows], self.gradient[rows], self.curvature[rows]
        bounds = self.region.bounds(now)
        free = free_labels(now, gradient, bounds)
        step = bounded_step(curvature, gradient, free, self.damping[rows], now, bounds)
        trial = self.region.confined(now, now + step, gradient)
        gain = self.chi2[rows] - self._chi2(rows, trial)
        ratio = gain / promised_decrease(curvature, gradient, trial - now)
        better = gain > 0
        # Nielsen 1999, IMM-REP-1999-05: much less damping after a good step, more after overshooting.
        factor = torch.where(better, (1 - (2 * ratio - 1) ** 3).clamp(0.1, 4.0), 8.0)
        self.damping[rows] = (self.damping[rows] * factor).clamp(min=1e-12)
        self.iterations[rows] += 1
        moved = rows[better]
        self.position[moved], self.chi2[moved] = trial[better], (self.chi2[rows] - gain)[better]
        return moved

    def _chi2(self, rows: Tensor, position: Tensor) -> Tensor:
        coefficients = self.spectra(position)[:, None]
        return AmplitudeProfile.of(self.products[self.spectrum[rows]], coefficients).chi2[:, 0]

    def _slope(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return gradient (A, P) and Gauss-Newton matrix (A, P, P) where the descents are."""
        gradient, curvature = self._slope_at(rows, self.position[rows][:, None])
        return gradient[:, 0], curvature[:, 0]

    def _slope_at(self, rows: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return gradient (A, S, P) and Gauss-Newton matrix (A, S, P, P) at positions (A, S, P)."""
        flat, shape = position.flatten(0, 1), position.shape[:2]
        products = self.products[self.spectrum[rows]]
        profile = AmplitudeProfile.of(products, self.spectra(flat).unflatten(0, shape))
        return profile.slope(products, batched_jacobian(self.spectra, flat).unflatten(0, shape))

    def _second_derivative(self, rows: Tensor) -> Tensor:
        """Return ½ ∂²chi²/∂label² with its eigenvalues made positive, shape (A, P, P).

        From differences of exact gradients. Positive, so that a saddle or a maximum is left downhill.
        """
        position = self.position[rows]
        offset = DIFFERENCE * torch.eye(position.shape[1]).to(position)
        nearby = self._slope_at(rows, position[:, None] + offset)[0]
        hessian = (self.gradient[rows][:, None] - nearby) / DIFFERENCE
        value, vector = torch.linalg.eigh(0.5 * (hessian + hessian.mT))
        positive: Tensor = (vector * value.abs()[:, None]) @ vector.mT
        return positive
