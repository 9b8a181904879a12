"""A bank of label points shared by all stars, scored against each star in a small subspace.

Finds where a posterior lives without knowing where to look. The scores are approximate (few components, fixed
weights) and only start the sampler; the exact likelihood decides afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.instrument import ObservedEmulator
from specvit.limits.bayes.observation import Observation
from specvit.numerics import steady_cholesky

#: Components of the subspace, and bank spectra from which it is computed.
COMPONENTS = 64
BASIS_SPECTRA = 1024

_ROWS = 2048


@dataclass(frozen=True)
class Bank:
    """Spectra of N label points, up to amplitude: f ∝ reference + features @ basis.

    Args:
        features: shape (N, M).
        basis: reference spectrum and M components, shape (1 + M, L).
    """

    features: Tensor
    basis: Tensor

    @classmethod
    def build(cls, observed: ObservedEmulator, labels: Tensor, weight: Tensor) -> Bank:
        """Return the bank of `labels` (N, P) in the subspace that matters under `weight` (L,).

        The subspace holds the leading principal components of bank spectra, each divided by its amplitude
        relative to the mean spectrum, in the metric diag(weight).
        """
        dtype = weight.dtype
        # Of a Sobol bank these are lopsided: every 64th point lies in 1/32 of the range of the first label.
        # It does not matter for a start: points chosen at random gave the same ceiling of 96 stars to 5e-5,
        # at the same cost.
        stride = max(1, labels.shape[0] // BASIS_SPECTRA)
        spectra = observed(labels[::stride].to(dtype), check=False)
        reference = spectra.mean(0)
        root = weight.sqrt()
        spectra = _unit_amplitude(spectra, reference, weight) - reference
        directions = _principal_directions((spectra * root).double(), COMPONENTS).to(dtype)
        features = []
        for rows in labels.split(_ROWS):
            part = observed(rows.to(dtype), check=False)
            part = _unit_amplitude(part, reference, weight) - reference
            features.append((part * root) @ directions.T)
        basis = torch.cat([reference[None], directions / root])
        return cls(torch.cat(features), basis)

    def log_likelihood(self, observation: Observation) -> Tensor:
        """Return ln p(y | bank labels) at the best amplitude, relative to each star's best, (B, N), float32.

        With h the reference, f = α h + e and y = β h + t, e and t orthogonal to h under the star's weights,

            χ² = const + (β² |h|² |e|² - 2 α β |h|² (t·e) - (t·e)²) / (α² |h|² + |e|²):

        differences to a reference spectrum, so that float32 does not lose them.
        """
        weight = observation.weight
        weighted = self.basis * weight[:, None]
        gram = (weighted @ self.basis.T).double()
        cross = (weighted @ observation.flux[..., None])[..., 0].double()
        h2, h_e, e_e = gram[:, 0, 0], gram[:, 0, 1:], gram[:, 1:, 1:]
        beta = cross[:, 0] / h2
        # The components are orthonormal under the typical weights only; for this star the part along the
        # reference is taken out.
        metric = e_e - h_e[:, :, None] * h_e[:, None, :] / h2[:, None, None]
        factor = steady_cholesky(metric + 1e-9 * torch.diag_embed(metric.diagonal(dim1=-2, dim2=-1)))
        slope = cross[:, 1:] - beta[:, None] * h_e
        dtype = self.features.dtype
        alpha = 1 + self.features @ (h_e / h2[:, None]).T.to(dtype)
        along = self.features @ slope.T.to(dtype)
        result = self.features.new_empty(len(observation), self.features.shape[0])
        for i in range(len(observation)):  # one GEMM per star: memory, not launches, is the limit
            norm = (self.features @ factor[i].to(dtype)).square().sum(1)
            top = (
                beta[i] ** 2 * h2[i] * norm
                - 2 * beta[i] * h2[i] * alpha[:, i] * along[:, i]
                - along[:, i] ** 2
            )
            result[i] = -0.5 * top / (alpha[:, i] ** 2 * h2[i] + norm)
        # The largest term is subtracted because exponentials follow: the constant cancels on normalising.
        return result - result.max(dim=1, keepdim=True).values


def _principal_directions(rows: Tensor, count: int) -> Tensor:
    """Return the leading right singular vectors, shape (count, L), of `rows` (S, L), S < L, from S x S."""
    value, left = torch.linalg.eigh(rows @ rows.T)
    # Directions below rounding carry nothing and would not be orthogonal.
    count = min(count, int((value > 1e-13 * value[-1]).sum()))
    directions: Tensor = (left[:, -count:].T @ rows) / value[-count:, None].sqrt()
    return directions


def _unit_amplitude(spectra: Tensor, reference: Tensor, weight: Tensor) -> Tensor:
    """Return the spectra divided by their weighted projection on the reference."""
    projection = (spectra @ (weight * reference)) / (weight * reference.square()).sum()
    return spectra / projection[:, None]
