"""The subspace front end: a spectrum as the Wiener estimate of its few coefficients; no pixels are learned.

Noise-free spectra of one library and instrument fill only a thin subspace, y ≈ m + Bᵀc. With Gaussian noise
of weights W = diag(1/σ²) the posterior of c depends on the data through B W (y - m) and B W Bᵀ alone, so
these are (nearly) sufficient for the labels too. With unit prior variance of c, the posterior mean is

    ĉ = (I + B W Bᵀ)⁻¹ B W (y - m).

A dead pixel has weight zero in both terms, exactly. What is left to learn is a smooth function of a few dozen
numbers, the business of an ordinary MLP.
Source: Rybicki & Press 1992, ApJ 398, 169 (Wiener estimate); the fixed-weight matrices are precomputed per
component of the weights, as in the `G` matrices of matched filtering.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from specvit.errors import ConfigError, DataError
from specvit.models.conditioning import Inputs, bounded, normalise, scaled
from specvit.models.view import Viewed
from specvit.numerics import steady_cholesky

#: Largest relative error of a composed pixel weight; a spectrum beyond it, as one with dead pixels, has its
#: normal matrix summed pixel by pixel. (Below 1 the composed matrix stays positive definite.)
TOLERANCE = 0.1

#: Spectra whose normal matrices are summed at once: bounds the memory (K x L floats each).
EXACT_ROWS = 16

#: Spectra from which on it pays to multiply all pairs of components beforehand.
PAIRED_ROWS = 64

#: Numbers of the largest set of such products that is kept for the next spectra: 64 MiB.
KEPT_PRODUCTS = 2**24


class Solution(NamedTuple):
    """The Wiener estimate of B spectra.

    coefficients: ĉ, shape (B, K), order one.
    projected: B W (y - m), shape (B, K).
    weight: W, 1/sigma² and 0 on dead pixels, shape (B, L).
    amplitudes: of the weight patterns, shape (B, J).
    factor: lower Cholesky factor of I + B W Bᵀ, shape (B, K, K).
    poor: whether the patterns do not compose the weights, as with dead pixels, shape (B,), boolean.
    """

    coefficients: Tensor
    projected: Tensor
    weight: Tensor
    amplitudes: Tensor
    factor: Tensor
    poor: Tensor

    def leading(self, components: int) -> Solution:
        """Return the estimate of the leading components alone, as if there were no others."""
        # The factor of a leading block is the leading block of the factor.
        factor = self.factor[:, :components, :components]
        projected = self.projected[:, :components]
        return self._replace(coefficients=_solved(factor, projected), projected=projected, factor=factor)


class SubspaceProjection(nn.Module):
    """Front end with the contract of `Conditioning`: flux and sigma in, `Inputs` of K coefficients out.

    Args:
        pixels: L.
        components: K, in falling order of variance over noise, the overall level included.
        patterns: J, weight patterns over pixels from which the weights of a spectrum are composed.
    """

    mean: Tensor
    basis: Tensor
    reference: Tensor
    pattern: Tensor
    normal: Tensor
    level_centre: Tensor
    level_scale: Tensor

    def __init__(self, pixels: int, components: int = 48, patterns: int = 12) -> None:
        super().__init__()
        if not 1 <= components <= pixels or not 1 <= patterns <= pixels:
            raise ConfigError(f"subspace: components and patterns must lie between 1 and {pixels} pixels")
        self.pixels, self.components, self.patterns = pixels, components, patterns
        self.register_buffer("mean", torch.ones(pixels))
        self.register_buffer("basis", torch.zeros(components, pixels))
        self.register_buffer("reference", torch.ones(pixels))
        self.register_buffer("pattern", torch.zeros(patterns, pixels))
        self.register_buffer("normal", torch.zeros(patterns, components, components))
        self.register_buffer("level_centre", torch.zeros(patterns))
        self.register_buffer("level_scale", torch.ones(patterns))
        #: A basis, and the products of its pairs of components.
        self._pairs: tuple[Tensor, Tensor] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, coefficients and level features of the `Inputs`."""
        return 1, self.components, self.patterns

    @torch.no_grad()
    def fit(self, clean: Tensor, flux: Tensor, sigma: Tensor) -> Self:
        """Set basis, prior variances and weight patterns from N training spectra.

        Args:
            clean: noise-free flux in the unit of `flux`, shape (N, L): spans the subspace.
            flux, sigma: what an estimator sees of the same spectra, (N, L).

        Raises:
            DataError: if there are fewer spectra than components.
        """
        if len(clean) < max(self.components, self.patterns):
            raise DataError(
                f"subspace: {len(clean)} noise-free spectra cannot span {self.components} components"
            )
        usable, _, sigma, level = normalise(flux, sigma)
        # Divided by the observed level like the data: its error is then one more direction of the subspace.
        clean = clean.double() / level
        weight = torch.where(usable, sigma.double() ** -2, 0.0)
        # A pixel dead in all spectra has no weight, and the basis is divided by its root.
        reference = weight.mean(dim=0).clamp(min=weight.mean() * 1e-9)
        mean = clean.mean(dim=0)
        whitened = (clean - mean) * reference.sqrt()
        self.mean.copy_(mean)
        self.reference.copy_(reference)
        # Over √N the coefficients of the sample have unit variance, the prior of the module's formula.
        self.basis.copy_(_principal(whitened, self.components) / len(clean) ** 0.5 / reference.sqrt())
        self._fit_patterns(weight / reference)
        return self._set_level(weight.float())

    @torch.no_grad()
    def fit_level(self, flux: Tensor, sigma: Tensor) -> Self:
        """Set the scale of the noise levels alone, from a sample of training spectra (N, L)."""
        usable, _, sigma, _ = normalise(flux, sigma)
        return self._set_level(torch.where(usable, sigma**-2, 0.0))

    def _set_level(self, weight: Tensor) -> Self:
        features = self._level(self._amplitudes(weight))
        self.level_centre.copy_(features.mean(dim=0))
        self.level_scale.copy_(features.std(dim=0).clamp(min=1e-6))
        return self

    def _fit_patterns(self, ratio: Tensor) -> None:
        """Find J patterns that compose the weights over their reference (N, L), and their normal matrices."""
        shape = ratio / ratio.mean(dim=1, keepdim=True)
        pattern = _principal(shape, self.patterns)
        pattern = pattern / pattern.norm(dim=1, keepdim=True).clamp(min=1e-30)
        # Singular vectors have no sign of their own; the first amplitude must be positive, its logarithm is a feature.
        self.pattern.copy_(pattern * pattern.sum(dim=1, keepdim=True).sign())
        basis = self.basis.double()
        for j, weight in enumerate(self.pattern.double() * self.reference):
            self.normal[j] = (basis * weight) @ basis.T

    @property
    def baseline(self) -> Tensor:
        """The mean training spectrum, relative to its level, shape (L,): what says nothing of a star."""
        return self.mean

    @torch.no_grad()
    def forward(self, flux: Tensor, sigma: Tensor, whole: bool = False) -> Inputs:
        """Return coefficients (B, 1, K) of order one and J level features for flux and sigma, (B, L).

        `whole` says that no pixel is dead.
        """
        if whole:
            return self.from_normalised(None, *scaled(flux.float(), sigma.float(), None)[:2])
        usable, flux, sigma, _ = normalise(flux, sigma)
        return self.from_normalised(usable, flux, sigma)

    def viewed(self, flux: Tensor, sigma: Tensor) -> Viewed:
        """Return what `from_normalised` takes of flux and sigma (B, L), and how that came from the flux given."""
        usable, flux, sigma, level = normalise(flux, sigma)
        return Viewed(usable, flux, sigma, torch.zeros_like(level), level)

    def from_normalised(self, usable: Tensor | None, flux: Tensor, sigma: Tensor) -> Inputs:
        """Return the inputs of what `normalise` gives, each (B, L); differentiable in the flux."""
        return self.inputs_of(self.solve(usable, flux, sigma), usable)

    def inputs_of(self, found: Solution, usable: Tensor | None) -> Inputs:
        """Return the inputs of spectra that `solve` was given."""
        level = self.level_features(found)
        known = None if usable is None else usable.any(dim=1, keepdim=True).expand(-1, self.components)
        return Inputs(found.coefficients[:, None], known, level)

    def solve(self, usable: Tensor | None, flux: Tensor, sigma: Tensor) -> Solution:
        """Return the Wiener estimate for what `normalise` gives, each (B, L), and what it was made with."""
        weight = sigma.square().reciprocal()
        if usable is not None:
            weight = torch.where(usable, weight, 0.0)
        projected = (weight * (flux - self.mean)) @ self.basis.T
        amplitudes = self._amplitudes(weight)
        composed = amplitudes @ self.pattern * self.reference
        poor = ((composed - weight).abs() > TOLERANCE * weight).any(dim=1)
        normal = self._normal(weight, amplitudes, poor)
        normal.diagonal(dim1=-2, dim2=-1).add_(1.0)
        factor = steady_cholesky(normal)
        return Solution(_solved(factor, projected), projected, weight, amplitudes, factor, poor)

    def begins(self, other: SubspaceProjection) -> bool:
        """Return whether this is `other` without its last components, so that `Solution.leading` of the other serves."""
        return (
            self.pixels == other.pixels
            and self.components <= other.components
            and torch.equal(self.basis, other.basis[: self.components])
            and all(
                torch.equal(mine, theirs)
                for mine, theirs in (
                    (self.mean, other.mean),
                    (self.reference, other.reference),
                    (self.pattern, other.pattern),
                )
            )
        )

    def level_features(self, found: Solution) -> Tensor:
        """Return what says how noisy the spectra of a solution are, of order one, shape (B, J)."""
        return bounded((self._level(found.amplitudes) - self.level_centre) / self.level_scale)

    def _amplitudes(self, weight: Tensor) -> Tensor:
        """Return how much of each pattern the weights (B, L) hold, shape (B, J)."""
        return weight @ (self.pattern / self.reference).T

    def _level(self, amplitudes: Tensor) -> Tensor:
        """Return ln of the first amplitude and the others relative to it, shape (B, J)."""
        # A spectrum without a usable pixel has amplitude zero.
        first = amplitudes[:, :1].clamp(min=1e-6)
        return torch.cat([first.log(), amplitudes[:, 1:] / first], dim=1)

    def _normal(self, weight: Tensor, amplitudes: Tensor, poor: Tensor) -> Tensor:
        """Return B W Bᵀ, shape (B, K, K): composed, and summed over pixels for the poor."""
        count = int(torch.count_nonzero(poor))
        if 0 < count == len(poor):
            return self.exact_normal(weight)
        normal = torch.einsum("bj,jkl->bkl", amplitudes, self.normal)
        if count:
            normal[poor] = self.exact_normal(weight[poor])
        return normal

    def exact_normal(self, weight: Tensor) -> Tensor:
        """Return B W Bᵀ summed over pixels, shape (B, K, K)."""
        if len(weight) < PAIRED_ROWS:
            rows = [(self.basis * part[:, None]) @ self.basis.T for part in weight.split(EXACT_ROWS)]
            return torch.cat(rows)
        # Half the products, and one large matrix product instead of a small one per spectrum: twice as fast.
        row, column = torch.tril_indices(self.components, self.components, device=weight.device)
        place = row.new_empty(self.components, self.components)
        place[row, column] = place[column, row] = torch.arange(len(row), device=weight.device)
        # Every element looked up, which takes a tenth of the time of writing each sum to its two places.
        summed = (weight @ self._pair_products(row, column).T).index_select(1, place.flatten())
        normal: Tensor = summed.unflatten(1, place.shape)
        return normal

    def _pair_products(self, row: Tensor, column: Tensor) -> Tensor:
        """Return the products of pairs of components, shape (K (K + 1) / 2, L); made once for a basis, if not large."""
        known, basis = self._pairs, self.basis
        if known is None or known[0].device != basis.device or not torch.equal(known[0], basis):
            # For estimates and for derivatives alike, whoever asks first.
            with torch.inference_mode(False), torch.no_grad():
                known = basis.clone(), basis[row] * basis[column]
            self._pairs = known if known[1].numel() <= KEPT_PRODUCTS else None
        return known[1]


def _solved(factor: Tensor, right: Tensor) -> Tensor:
    """Return the solutions (B, K) for right sides (B, K) and Cholesky factors (B, K, K)."""
    return torch.cholesky_solve(right[..., None], factor)[..., 0]


def _principal(rows: Tensor, count: int) -> Tensor:
    """Return the leading right singular vectors times their singular values, (count, L), for rows (N, L)."""
    # N x N, not L x L: a sample has fewer spectra than pixels.
    vectors: Tensor = torch.linalg.eigh(rows @ rows.T).eigenvectors
    return vectors[:, -count:].flip(1).T @ rows
