"""The best linear denoiser: spectra as a Gaussian about their mean, noise as stated, the rest in closed form.

With x ~ N(m, BᵀB + D), B of K rows and D = diag(d) what these leave of each pixel's variance, y = x + noise,
W = diag(1/(σ² + d)) and g = d / (σ² + d),

    V = Bᵀ (I + B W Bᵀ)⁻¹ B,   x₀ = m + V W (y - m),   x̂ = x₀ + g (y - x₀),   Var x = (1 - g)² V + (1 - g) d:

the Woodbury form of C (C + Σ)⁻¹ with C = BᵀB + D, K x K instead of L x L. For linear functions of y no mean square
error is smaller, whatever the distribution of x, as long as its mean and covariance are these. Without D a bright
spectrum would be off by many stated errors where the basis does not hold it; with it, x̂ → y for σ → 0.
Source: Wiener 1949, Extrapolation, interpolation and smoothing; Rybicki & Press 1992, ApJ 398, 169.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from specvit.denoise.denoised import DenoisedSpectra
from specvit.denoise.restoring import NoisySpectra, Restored, restore_spectra
from specvit.denoise.stored import check_fingerprint, content_of, save_denoiser
from specvit.documents import Section
from specvit.errors import ConfigError, DataError, RunError
from specvit.models.bundle import load_bundle
from specvit.models.conditioning import normalise
from specvit.models.inputs import Progress, Values
from specvit.models.origin import Origin
from specvit.numerics import steady_cholesky
from specvit.spectra import SpectraSource, WavelengthGrid, take

#: Training stars from which mean and covariance are taken.
STARS = 2048

#: Fewest of them that have a covariance.
FEWEST = 2

#: Most components: beyond it the closed form costs more than it can bring.
MOST_COMPONENTS = 1024

#: Spectra whose K x K matrices are summed at once.
ROWS = 64


class WienerOptions(Section):
    """The options of `WienerDenoiser`."""

    components: int = Field(default=64, ge=1, le=MOST_COMPONENTS, description="K, rank of the covariance")


class WienerSettings(Section):
    """What a saved `WienerDenoiser` states."""

    options: WienerOptions
    metrics: dict[str, float]


class WienerDenoiser:
    """Mean and covariance of the noise-free training spectra, and the noise of each spectrum as it is stated.

    Args:
        components: K, the rank of the covariance: its leading directions in units of the typical noise.
    """

    name: ClassVar[str] = "wiener-denoiser"
    about: ClassVar[str] = (
        "The best linear denoiser: noise-free spectra as a Gaussian about their mean, each pixel's noise as stated."
    )

    def __init__(self, components: int = WienerOptions.model_fields["components"].default) -> None:
        if not 1 <= components <= MOST_COMPONENTS:
            raise ConfigError(f"{self.name}: components: expected 1 to {MOST_COMPONENTS}, got {components}")
        self.components = int(components)
        self.metrics: dict[str, float] = {}

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Take mean and covariance from the noise-free flux of the first training stars; nothing is chosen."""
        stars = take(train, STARS)
        if stars.truth is None:
            raise DataError(
                f"{self.name}: needs training spectra whose noise-free flux is known; simulate them"
            )
        if len(stars.flux) < FEWEST:
            raise DataError(
                f"{self.name}: {len(stars.flux)} training spectrum has no covariance; take {FEWEST} at least"
            )
        _, _, sigma, level = normalise(stars.flux, stars.sigma)
        origin = Origin.of(train, validation)
        # Of a source without an end these are all that are read.
        record = origin.training.with_entries({"train_spectra": len(stars.flux)})
        return self._set(stars.truth.flux / level, sigma, replace(origin, training=record))

    def _set(self, clean: Tensor, sigma: Tensor, origin: Origin) -> Self:
        """Take over N noise-free spectra relative to their observed level, (N, L), and their typical noise."""
        clean, weight = clean.double(), sigma.double() ** -2
        # A pixel dead in all spectra has next to no weight, and the basis is divided by its root.
        typical = weight.mean(dim=0)
        root = typical.clamp(min=float(typical.mean()) * 1e-9).sqrt()
        self.mean = clean.mean(dim=0).float()
        whitened = (clean - clean.mean(dim=0)) * root
        # N x N, not L x L: there are fewer spectra than pixels.
        vectors = torch.linalg.eigh(whitened @ whitened.T).eigenvectors[:, -self.components :].flip(1)
        along = vectors.T @ whitened
        self.basis = (along / (len(clean) - 1) ** 0.5 / root).float()
        left = (whitened - vectors @ along) / root
        # Each direction that is fitted takes one star's worth of what is left.
        self.beyond = (left.square().sum(dim=0) / max(len(clean) - 1 - len(along), 1)).float()
        self.origin = origin
        return self

    @property
    def grid(self) -> WavelengthGrid:
        """The pixels it expects."""
        return self._ready().origin.grid

    @property
    def digest(self) -> str:
        """See `Denoiser.digest`."""
        self._ready()
        return content_of(self.name, {"components": self.components}, self._tensors())

    def denoise(
        self, flux: Values, sigma: Values, strength: float = 1.0, draws: int = 0, seed: int = 0
    ) -> DenoisedSpectra:
        """See `Denoiser.denoise`; std and samples are those of the Gaussian it takes spectra for."""
        return restore_spectra(
            self._restore, self.name, self.grid.size, flux, sigma, strength, draws, seed, ROWS
        )

    def _restore(self, noisy: NoisySpectra) -> Restored:
        mean, basis, beyond = (part.to(noisy.flux) for part in (self.mean, self.basis, self.beyond))
        variance = noisy.sigma.square()
        weight = (variance + beyond).reciprocal()
        found = gaussian_posterior(mean, basis, noisy.flux, weight)
        # 1 - g: what of a pixel the others decide; and the variance of what they know nothing of.
        others = torch.where(torch.isfinite(variance), variance * weight, 1.0)
        own = others * beyond
        samples = None
        if noisy.draws:
            shape = (len(noisy.flux), noisy.draws, len(basis))
            normal = torch.randn(shape, generator=noisy.generator, device=basis.device)
            pixels = torch.randn(*shape[:2], len(mean), generator=noisy.generator, device=basis.device)
            # Covariance (F Fᵀ)⁻¹, so F⁻ᵀ z.
            moved = torch.linalg.solve_triangular(found.factor.mT, normal.mT, upper=True).mT
            drawn = mean + (found.coefficients[:, None] + moved) @ basis
            share = others[:, None]
            samples = (
                noisy.flux[:, None] + share * (drawn - noisy.flux[:, None]) + own[:, None].sqrt() * pixels
            )
        middle = noisy.flux + others * (mean + found.coefficients @ basis - noisy.flux)
        std = (others.square() * found.std(basis).square() + own).sqrt()
        return Restored(middle, std, samples)

    def save(self, folder: Path) -> None:
        """See `Denoiser.save`."""
        settings = {"options": {"components": self.components}}
        save_denoiser(self._ready(), settings, self._tensors(), self.about, folder, self.metrics)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Denoiser.load`."""
        bundle = load_bundle(folder, cls.name)
        settings = bundle.settings_as(WienerSettings)
        denoiser = cls(settings.options.components)
        denoiser.origin, denoiser.metrics = bundle.origin, settings.metrics
        denoiser.mean = bundle.tensors.take("mean", "L", torch.float32)
        denoiser.basis = bundle.tensors.take("basis", "KL", torch.float32)
        denoiser.beyond = bundle.tensors.take("beyond", "L", torch.float32)
        check_fingerprint(denoiser, bundle)
        bundle.tensors.finish()
        return denoiser

    def _tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "basis": self.basis, "beyond": self.beyond}

    def _ready(self) -> Self:
        if not hasattr(self, "origin"):
            raise RunError(f"{self.name}: needs to be fitted; call fit or load first")
        return self


class GaussianPosterior:
    """Coefficients of B spectra given their noise, for a unit Gaussian prior.

    Args:
        coefficients: posterior mean, shape (B, K).
        factor: lower Cholesky factor of I + B W Bᵀ, shape (B, K, K); its inverse is the posterior covariance.
    """

    def __init__(self, coefficients: Tensor, factor: Tensor) -> None:
        self.coefficients, self.factor = coefficients, factor

    def std(self, basis: Tensor) -> Tensor:
        """Return the error per pixel, shape (B, L), for the basis (K, L)."""
        rows = [torch.linalg.solve_triangular(one, basis, upper=False).square().sum(0) for one in self.factor]
        return torch.stack(rows).sqrt()


def gaussian_posterior(mean: Tensor, basis: Tensor, flux: Tensor, weight: Tensor) -> GaussianPosterior:
    """Return the posterior of the coefficients for flux and inverse variances, each (B, L).

    Args:
        mean, basis: shapes (L,) and (K, L): spectra are mean + c @ basis with c ~ N(0, I).
        flux: any value where the weight is zero.
        weight: 1/σ², 0 on dead pixels.
    """
    projected = (weight * (flux - mean)) @ basis.T
    normal = torch.stack([(basis * one) @ basis.T for one in weight])
    normal.diagonal(dim1=1, dim2=2).add_(1.0)
    factor = steady_cholesky(normal)
    return GaussianPosterior(torch.cholesky_solve(projected[..., None], factor)[..., 0], factor)
