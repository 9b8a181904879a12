"""Stars in few coordinates: the emulator's spectra and the data on the basis of `SubspaceProjection`, and fits there.

With base = [mean; B], K + 1 rows, every noise-free spectrum is t @ base to within a few hundredths of the noise, and
all that a spectrum of weights W = diag(1/σ²) says of t is base W (y - mean) and N = base W baseᵀ. A fit to four
thousand pixels is then one to some fifty numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.quasirandom import SobolEngine

from specvit.inference.region import Region
from specvit.instrument import ObservedEmulator
from specvit.limits.forecast import row_weights
from specvit.models.conditioning import Inputs
from specvit.models.subspace import SubspaceProjection
from specvit.numerics import steady_cholesky
from specvit.spectra import LabelSpace

#: Inverse variance of a label that is uniform in the unit interval.
UNIFORM_PRECISION = 12.0


#: Most steps of a fit; half of the stars need three. It has ended when a step is a tenth of the posterior errors.
STEPS, CONVERGED = 12, 0.01

#: Inverse variance of a label that a fit does not move: the others then move as if it were known.
HELD_PRECISION = 1e10

#: Stars among which a fit looks for its start, and where in the unit cube these lie.
BANK, INSIDE = 512, (0.02, 0.98)

#: Shares of a Gauss-Newton step that are tried; far from the maximum a whole one may lead anywhere.
STEP_SHARES = (1.0, 0.4, 0.1, 0.0)


class Statistics(NamedTuple):
    """What a network is given of B spectra.

    inputs: coefficients and level features, see `SubspaceProjection`.
    projected: base W (y - mean), shape (B, K + 1).
    normal: base W baseᵀ, shape (B, K + 1, K + 1).
    """

    inputs: Inputs
    projected: Tensor
    normal: Tensor

    def rows(self, rows: Tensor) -> Statistics:
        """Return those of some spectra."""
        values, usable, level = self.inputs
        inputs = Inputs(values[rows], None if usable is None else usable[rows], level[rows])
        return Statistics(inputs, self.projected[rows], self.normal[rows])


class LocalFit(NamedTuple):
    """B spectra about one point of the box each, in coordinates u of the unit cube.

    point: u, shape (B, P).
    step: the Gauss-Newton step to the maximum of the posterior for a Gaussian of the box's variance, shape (B, P).
    factor: lower Cholesky factor of the posterior covariance of u, the flux scale integrated over, (B, P, P).
    """

    point: Tensor
    step: Tensor
    factor: Tensor

    def in_errors(self) -> Tensor:
        """Return the step in errors of the posterior, along its axes, shape (B, P)."""
        found: Tensor = torch.linalg.solve_triangular(self.factor, self.step[..., None], upper=False)
        return found[..., 0]


class ReducedTemplates(nn.Module):
    """The emulator on the basis of a fitted front end.

    Args:
        front: fitted; or, for a saved one, laid out.
        observed: noise-free spectra, fixed.
        space: the box.
    """

    low: Tensor
    width: Tensor
    table: Tensor
    dual: Tensor
    normals: Tensor
    bank: Tensor
    bank_points: Tensor

    def __init__(self, front: SubspaceProjection, observed: ObservedEmulator, space: LabelSpace) -> None:
        super().__init__()
        self.front, self.observed = front, observed
        self.register_buffer("low", torch.tensor(space.low))
        self.register_buffer("width", torch.tensor(space.high) - torch.tensor(space.low))
        size, rows = front.components + 1, observed.get_buffer("rows").shape[0]
        self.register_buffer("table", torch.zeros(rows, size))
        self.register_buffer("dual", torch.zeros(front.pixels, size))
        self.register_buffer("normals", torch.zeros(front.patterns, size, size))
        self.register_buffer("bank", torch.zeros(BANK, size))
        self.region = Region(space, observed.coverage)
        inside = SobolEngine(len(space), scramble=True, seed=0).draw(BANK)
        points = INSIDE[0] + (INSIDE[1] - INSIDE[0]) * inside
        self.register_buffer("bank_points", self.region.moved_inside(points))

    @torch.no_grad()
    def fit(self) -> None:
        """Express the emulator's rows on the basis of the front end, and sum its matrices for the weight patterns."""
        base = torch.cat([self.front.mean[None], self.front.basis]).double()
        weighted = base * self.front.reference.double()
        self.dual.copy_(torch.linalg.solve(weighted @ base.T, weighted).T)
        self.table.copy_(self.observed.get_buffer("rows").double() @ self.dual.double())
        for j, pattern in enumerate(self.front.pattern.double()):
            self.normals[j] = (weighted * pattern) @ base.T
        self.bank.copy_(self.templates(self.bank_points))

    def statistics(self, usable: Tensor | None, flux: Tensor, sigma: Tensor) -> Statistics:
        """Return what `models.conditioning.normalise` gives, each (B, L), as statistics."""
        solution = self.front.solve(usable, flux, sigma)
        weight, base = solution.weight, torch.cat([self.front.mean[None], self.front.basis])
        projected = (weight * (flux - self.front.mean)) @ base.T
        normal = torch.einsum("bj,jkl->bkl", solution.amplitudes, self.normals)
        if bool(solution.poor.any()):
            normal[solution.poor] = torch.stack([(base * w) @ base.T for w in weight[solution.poor]])
        return Statistics(self.front.inputs_of(solution, usable), projected, normal)

    def coordinates(self, labels: Tensor) -> Tensor:
        """Return labels (B, P) in the unit cube."""
        return (labels - self.low) / self.width

    def templates(self, u: Tensor) -> Tensor:
        """Return the spectra of points u (B, P) of the cube on the basis, shape (B, K + 1)."""
        return self.multipliers(u) @ self.table

    def multipliers(self, u: Tensor) -> Tensor:
        """Return what multiplies the emulator's rows at points u (B, P) of the cube."""
        return self.observed.multipliers(self.observed.coefficients(self.low + u * self.width))

    def scale(self, template: Tensor, statistics: Statistics) -> Tensor:
        """Return the flux scale that fits best, shape (B, 1), of templates (B, K + 1)."""
        square = (template * _times(statistics.normal, template)).sum(dim=1, keepdim=True).clamp(min=1e-30)
        # About one: the products are large and cancel.
        left = statistics.projected - _times(statistics.normal, _less_mean(template))
        scale: Tensor = 1 + (template * left).sum(dim=1, keepdim=True) / square
        return scale

    @torch.no_grad()
    def fitted(self, statistics: Statistics) -> LocalFit:
        """Return the fit after Gauss-Newton steps from the best star of the bank, each as long as it helps most."""
        u = self.bank_points[self._misfit_of_bank(statistics).argmin(dim=1)]
        going = torch.arange(len(u), device=u.device)
        for _ in range(STEPS):
            here = statistics.rows(going)
            local = self.local_fit(u[going], here)
            held = _outward(u[going], local.step, *self.region.bounds(u[going]))
            if bool(held.any()):
                local = self.local_fit(u[going], here, held)
            steps = (share * local.step for share in STEP_SHARES)
            tried = torch.stack([self.region.confined(u[going], u[going] + one, one) for one in steps])
            best = torch.stack([self._misfit(one, here) for one in tried]).argmin(dim=0)
            u[going] = tried.gather(0, best[None, :, None].expand(1, -1, u.shape[1]))[0]
            # One that no step helps stays where it is; so does one that is nearly there.
            done = (local.in_errors().square().sum(dim=1) < CONVERGED) | (best == len(STEP_SHARES) - 1)
            going = going[~done]
            if not len(going):
                break
        return self.local_fit(u, statistics)

    def _misfit(self, u: Tensor, statistics: Statistics) -> Tensor:
        """Return minus twice the logarithm of the posterior at points u (B, P), up to a constant, shape (B,)."""
        template = self.templates(u)
        offset = _less_mean(self.scale(template, statistics) * template)
        left = _times(statistics.normal, offset) - 2 * statistics.projected
        return (offset * left).sum(dim=1) + UNIFORM_PRECISION * (u - 0.5).square().sum(dim=1)

    def _misfit_of_bank(self, statistics: Statistics) -> Tensor:
        """Return minus twice the logarithm of the likelihood of the bank at each star's best scale, shape (B, N)."""
        away = _less_mean(self.bank)
        metric = self.bank @ statistics.normal
        square = (metric * self.bank).sum(dim=2)
        cross = (self.bank @ statistics.projected[..., None])[..., 0] - (metric * away).sum(dim=2)
        metric_away = away @ statistics.normal
        plain = (metric_away * away).sum(dim=2) - 2 * (away @ statistics.projected[..., None])[..., 0]
        # At scale 1 + cross / square, by which the misfit falls by cross² / square.
        return plain - cross.square() / square

    @torch.no_grad()
    def local_fit(self, u: Tensor, statistics: Statistics, held: Tensor | None = None) -> LocalFit:
        """Return step and covariance at points u (B, P) of the cube; labels that are `held` (B, P) do not move."""
        value, slopes = self._value_and_slopes(u)
        scale = self.scale(value, statistics)
        left = statistics.projected - _times(statistics.normal, _less_mean(scale * value))
        columns = torch.cat([scale[..., None] * slopes, value[:, None]], dim=1)
        gradient = _times(columns, left)
        fisher = columns @ statistics.normal @ columns.mT
        # The scale is solved for, so its part of the gradient is zero; the Schur complement integrates it out.
        cross, last = fisher[:, :-1, -1], fisher[:, -1, -1].clamp(min=1e-30)
        information = fisher[:, :-1, :-1] - cross[:, :, None] * cross[:, None, :] / last[:, None, None]
        information = information + UNIFORM_PRECISION * torch.eye(u.shape[1]).to(u)
        if held is not None:
            information = information + torch.diag_embed(HELD_PRECISION * held)
        factor = steady_cholesky(information)
        wanted = gradient[:, :-1] - UNIFORM_PRECISION * (u - 0.5)
        step = torch.cholesky_solve(wanted[..., None], factor)[..., 0]
        return LocalFit(u, step, steady_cholesky(torch.cholesky_inverse(factor)))

    def _value_and_slopes(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return templates (B, K + 1) and their slopes along the cube's axes (B, P, K + 1)."""
        weights = row_weights(self.observed, self.low + u * self.width) @ self.table
        return weights[:, 0], weights[:, 1:] * self.width[:, None]


def _outward(u: Tensor, step: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return which labels lie on a bound that a step would lead through, (B, P), as numbers 0 and 1."""
    return (((u <= low) & (step < 0)) | ((u >= high) & (step > 0))).to(u)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return matrices (B, N, K) times vectors (B, K)."""
    product: Tensor = (matrix @ vector[..., None])[..., 0]
    return product


def _less_mean(template: Tensor) -> Tensor:
    """Return templates (B, K + 1) minus the mean spectrum, the first row of the base."""
    first = torch.zeros_like(template)
    first[:, 0] = 1
    return template - first
