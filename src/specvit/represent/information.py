"""How much of the information on the labels survives each layer, star by star, for the best linear readout there.

To first order in the noise a layer sees the spectrum through its slopes A = ∂z/∂y. What a linear readout of z can know
is the Fisher information of A y: the whitened slopes of the labels, projected on what A reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.models.network import SpectrumNetwork
from specvit.models.states import Pooling

#: Directions that a layer reads this much weaker than its strongest count as not read: below lies the rounding of
#: float32.
READ = 1e-5
#: Numbers of a layer of which the slopes are found at once.
AT_ONCE = 64
#: Widest layer: each of its numbers costs a pass through the network per star.
WIDEST = 2048


@dataclass(frozen=True, eq=False)
class LayerInformation:
    """What S stars' labels can be known by, P each.

    Args:
        variance: (F_z + Λ)⁻¹ on the diagonal, shape (S, P), label²: the squared error of the best linear readout.
        whole: the same of the pixels, shape (S, P).
        prior: variance of every label, shape (P,).
    """

    variance: Tensor
    whole: Tensor
    prior: Tensor

    @property
    def survives(self) -> Tensor:
        """Share of the gain over the prior that is left, per label, shape (P,): 1 for a layer that loses nothing."""
        lost, all_ = (1 - (part / self.prior).mean(dim=0) for part in (self.variance, self.whole))
        return lost / all_


def layer_information(
    network: SpectrumNetwork,
    spectra: tuple[Tensor, Tensor],
    noise: Tensor,
    jacobian: Tensor,
    prior: Tensor,
    keys: Sequence[tuple[str, str]],
) -> dict[tuple[str, str], LayerInformation]:
    """Return what survives at (layer, pooling), at noise-free spectra.

    The flux scale is unknown to 1 in ln; labels have a Gaussian prior of the variance given, which keeps layers that see
    few directions finite: Λ = 1 / prior.

    Args:
        network: on the CPU, in evaluation mode.
        spectra: noise-free flux and the sigma that is shown, each (S, L), in one unit per star.
        noise: the sigma of the noise, (S, L), same unit.
        jacobian: ∂flux / ∂label, (S, L, P), same unit.
        prior: variance of every label, (P,).
        keys: (layer, pooling).

    Raises:
        ConfigError: for a layer wider than `WIDEST`; names it.
    """
    flux, sigma = spectra
    found: dict[tuple[str, str], list[Tensor]] = {key: [] for key in keys}
    whole = []
    # The scale is a label like the others, of unit variance, and is left out at the end.
    precision = torch.cat([prior.double(), torch.ones(1, dtype=torch.float64)]).reciprocal().diag()
    for star in range(len(flux)):
        seen = network.front.viewed(flux[star : star + 1], sigma[star : star + 1])
        divisor = seen.divisor[0].double()
        spread = noise[star].double() / divisor
        level = flux[star].double() / divisor
        slopes = torch.cat([jacobian[star].double() / divisor[:, None], level[:, None]], dim=1)
        # A dead pixel says nothing, whatever its noise.
        live = seen.usable[0] & torch.isfinite(spread)
        whitened = torch.where(live[:, None], slopes / spread[:, None], 0.0)
        whole.append(_variances(whitened, precision))
        for key in keys:
            read = _slopes(network, (seen.usable, seen.flux, seen.sigma), key).double() * torch.where(
                live, spread, 0.0
            )
            # Of the span only: how a layer scales and mixes what it reads is a readout's business.
            _, values, directions = torch.linalg.svd(read, full_matrices=False)
            seen_by = directions[values > READ * values.max().clamp(min=1e-300)]
            found[key].append(_variances(seen_by @ whitened, precision))
    every = torch.stack(whole)
    return {key: LayerInformation(torch.stack(parts), every, prior.double()) for key, parts in found.items()}


def _variances(columns: Tensor, precision: Tensor) -> Tensor:
    """Return the posterior variances (P,) of labels with whitened slopes (n, P + 1), the scale last."""
    variances: Tensor = torch.linalg.inv(columns.T @ columns + precision).diagonal()[:-1]
    return variances


def _slopes(network: SpectrumNetwork, seen: tuple[Tensor, Tensor, Tensor], key: tuple[str, str]) -> Tensor:
    """Return ∂z/∂spectrum of one star at fixed level, shape (F, L), float32."""
    usable, spectrum, sigma = seen
    width = _pooled(network, usable, spectrum, sigma, key).shape[1]
    if width > WIDEST:
        raise ConfigError(
            f"information: {'/'.join(key)} has {width} numbers, at most {WIDEST} are possible; take another pooling"
        )
    parts = []
    for start in range(0, width, AT_ONCE):
        count = min(AT_ONCE, width - start)
        # A copy of the star per number: the gradient of the sum then holds a row of A in each.
        here = spectrum.detach().expand(count, -1).clone().requires_grad_()
        with torch.enable_grad():
            values = _pooled(network, usable.expand(count, -1), here, sigma.expand(count, -1), key)
            picked = values[:, start : start + count].diagonal().sum()
            # The level, for one, does not see the flux.
            sees = picked.requires_grad
            parts.append(torch.autograd.grad(picked, here)[0] if sees else torch.zeros_like(here))
    return torch.cat(parts)


def _pooled(
    network: SpectrumNetwork, usable: Tensor, spectrum: Tensor, sigma: Tensor, key: tuple[str, str]
) -> Tensor:
    layer, pooling = key
    for state in network.states_of(network.front.from_normalised(usable, spectrum, sigma)):
        if state.name == layer:
            return (Pooling.parse(pooling)(state) if state.has_tokens else state.values).flatten(1)
    raise ConfigError(f"layers: '{layer}' is not known of this network")
