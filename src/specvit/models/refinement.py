"""A step of Gauss and Newton from what a network states, learnt: where stars are bright it is what a fit would do.

To map a spectrum of S/N 300 to a label, a network has to know the map to a thousandth of its range. From an estimate that
is nearly right it is enough to know slopes to a tenth: with c the subspace coefficients of the spectrum (their Wiener
estimate, which dead pixels and noise enter exactly), C(θ) those expected of a star of labels θ and s(θ) their scatter,

    θ' = θ + σ G(θ) (c - C(θ)) / s(θ),

θ and σ being what the network states. C, s and the gain G are small MLPs of the labels and the noise level; G stands for
(Jᵀ S⁻¹ J + Λ)⁻¹ Jᵀ S⁻¹, which a fit computes. What is stated then is a normal density about θ', cut at the bounds of the
labels.
Source: Dennis & Schnabel 1983, Numerical Methods for Unconstrained Optimization (Gauss-Newton, ch. 10; trust regions,
ch. 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.models.heads import Head, normal_logits
from specvit.models.options import check_bounds
from specvit.models.subspace import SubspaceProjection

#: Longest step, in stated errors of the network: it is wrong by no more if these mean anything.
LONGEST = 4.0

#: Largest deviation of a coefficient, in units of its scatter, that a step follows.
STRANGEST_COEFFICIENT = 30.0

#: Smallest stated error that is a unit of steps, in scaled labels: below that of the brightest stars.
SMALLEST_UNIT = 1e-4

#: Bounds of ln of the stated error squared over that of the network.
SHARPEST = 4.0


@dataclass(frozen=True)
class RefinementConfig:
    """What a refinement is.

    Args:
        snr: median S/N per pixel from which on estimates are refined.
        components, patterns: of its `SubspaceProjection`.
        width: units of its MLPs.
    """

    snr: float = 30.0
    components: int = 128
    patterns: int = 12
    width: int = 256

    def __post_init__(self) -> None:
        """Check the options."""
        check_bounds(self)
        if not 0 < self.snr < float("inf"):
            raise ConfigError(f"refinement: snr: expected a positive number, got {self.snr}")


class Coefficients(NamedTuple):
    """What a refinement sees of B spectra: coefficients (B, K) and level features (B, J)."""

    values: Tensor
    level: Tensor


class Stated(NamedTuple):
    """Median and half the central 68 % that a network states of its labels, each (B, P), scaled labels."""

    centre: Tensor
    error: Tensor


class Refinement(nn.Module):
    """The step, see the module.

    Args:
        config: its sizes.
        pixels: L.
        labels: P.
    """

    def __init__(self, config: RefinementConfig, pixels: int, labels: int) -> None:
        super().__init__()
        self.config, self.labels = config, labels
        self.front = SubspaceProjection(pixels, config.components, config.patterns)
        given, width = labels + config.patterns, config.width
        self.expected = _layers(given, 2 * width, 3, config.components)
        self.scatter = _layers(given, max(1, width // 2), 2, config.components)
        self.gain = _layers(given, width, 2, labels * config.components)
        self.sharpness = _layers(given, width, 2, labels)
        # No step at first.
        for last in (self.gain[-1], self.sharpness[-1]):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def seen(self, usable: Tensor | None, flux: Tensor, sigma: Tensor) -> Coefficients:
        """Return what is seen of spectra as `conditioning.normalise` gives them, each (B, L); differentiable."""
        found = self.front.solve(usable, flux, sigma)
        return Coefficients(found.coefficients, self.front.level_features(found))

    def deviations(self, labels: Tensor, seen: Coefficients) -> tuple[Tensor, Tensor]:
        """Return c - C(θ) over s(θ), and ln s(θ)², each (B, K), at scaled labels θ (B, P)."""
        at = torch.cat([labels, seen.level], dim=1)
        log_variance = self.scatter(at)
        return (seen.values - self.expected(at)) * (-0.5 * log_variance).exp(), log_variance

    def forward(self, stated: Stated, seen: Coefficients) -> tuple[Tensor, Tensor]:
        """Return centre and ln precision of the normal density that is stated instead, each (B, P), scaled labels."""
        deviation, _ = self.deviations(stated.centre, seen)
        gain = self.gain(torch.cat([stated.centre, seen.level], dim=1)).unflatten(1, (self.labels, -1))
        followed = deviation.clamp(-STRANGEST_COEFFICIENT, STRANGEST_COEFFICIENT)
        step = torch.einsum("bpk,bk->bp", gain, followed) / deviation.shape[1] ** 0.5
        unit = stated.error.clamp(min=SMALLEST_UNIT)
        centre = stated.centre + unit * LONGEST * torch.tanh(step / LONGEST)
        sharper = self.sharpness(torch.cat([centre.detach(), seen.level], dim=1)).clamp(-SHARPEST, SHARPEST)
        return centre, sharper - 2 * unit.log()

    def outputs(self, stated: Stated, seen: Coefficients, head: Head) -> Tensor:
        """Return raw outputs in the place of those of `head`, shape (B, P, bins)."""
        return normal_logits(head.edges, *self(stated, seen))


def stated_by(head: Head, raw: Tensor) -> Stated:
    """Return what a head states with raw outputs (B, P, bins), under the prior of its training and uncorrected."""
    return Stated(*(values.to(raw.dtype) for values in head.central(raw)))


def _layers(given: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    """Return an MLP with `depth` hidden layers."""
    layers: list[nn.Module] = []
    for number in range(depth):
        layers += [nn.Linear(width if number else given, width), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))
