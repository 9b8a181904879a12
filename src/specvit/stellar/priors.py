"""What is known of stars before their spectra: chemistry of the Galaxy, line width, and what the user adds.

Every prior is Gaussian in some residual of the labels, so that a fit treats it like one more pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from specvit.errors import ConfigError
from specvit.spectra import LabelSpace
from specvit.stellar.settings import StarFitSettings


def galactic_alpha(m_h: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean [α/M] of stars of metallicity [M/H], and its slope.

    0.3 dex below [M/H] = -1, falling linearly to 0 at solar metallicity. Source: the trend of, e.g., Venn et al.
    2004, AJ 128, 1177, for halo and discs.
    """
    inside = (m_h > -1) & (m_h < 0)
    return (-0.3 * m_h).clamp(0.0, 0.3), torch.where(inside, -0.3, 0.0).to(m_h)


class StarPriors:
    """Residuals of the priors and their derivatives, in the coordinates of the fit: labels, velocity, ln(width).

    Args:
        space: the labels.
        settings: of the fit.
        assumed: per star, whether its resolution is a guess, shape (B,), bool.
        known: per star, label -> (mean, sigma), which counts more than the settings'.

    Raises:
        ConfigError: for a prior on what is no label.
    """

    def __init__(
        self,
        space: LabelSpace,
        settings: StarFitSettings,
        assumed: Tensor,
        known: Sequence[Mapping[str, tuple[float, float]]] | None = None,
    ) -> None:
        self.space, self.settings = space, settings
        stated, guessed = settings.width_sigma
        self.width_sigma = torch.where(assumed, guessed, stated).double()
        # Label -> mean and 1/σ of every star, shape (B, 2); 1/σ = 0 where nothing is known.
        self.external: dict[str, Tensor] = {}
        each = [{**settings.priors, **own} for own in known or [{}] * len(assumed)]
        for name in sorted(set(settings.priors).union(*each)):
            if name not in space.names:
                raise ConfigError(f"priors: '{name}' is no label; known are {', '.join(space.names)}")
            pairs = [(own[name][0], 1 / own[name][1]) if name in own else (0.0, 0.0) for own in each]
            self.external[name] = torch.tensor(pairs, dtype=torch.float64)

    def pulls(self, star: int, labels: Mapping[str, float]) -> dict[str, float]:
        """Return label -> distance of its value from what was known of it, in σ; labels without such a prior are left out."""
        return {name: (labels[name] - mean) / sigma for name, (mean, sigma) in self.known(star).items()}

    def known(self, star: int) -> dict[str, tuple[float, float]]:
        """Return label -> mean and 1 σ of what is known of a star from elsewhere."""
        pairs = {name: pair[star].tolist() for name, pair in self.external.items()}
        return {name: (mean, 1 / inverse) for name, (mean, inverse) in pairs.items() if inverse > 0}

    def residuals(self, star: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return residuals in σ (N, R) and their derivatives (N, R, P + 2) at values (N, P + 2) of stars (N,)."""
        count, size = values.shape
        parts: list[tuple[Tensor, Tensor]] = []

        def add(residual: Tensor, **slopes: Tensor | float) -> None:
            slope = values.new_zeros(count, size)
            for name, value in slopes.items():
                slope[:, -1 if name == "width" else self.space.index(name)] = value
            parts.append((residual, slope))

        if {"m_h", "alpha_m"} <= set(self.space.names):
            m_h, alpha = values[:, self.space.index("m_h")], values[:, self.space.index("alpha_m")]
            mean, trend = galactic_alpha(m_h)
            sigma = self.settings.alpha_sigma
            add((alpha - mean) / sigma, alpha_m=1 / sigma, m_h=-trend / sigma)
        if "c_m" in self.space.names:
            sigma = self.settings.carbon_sigma
            add(values[:, self.space.index("c_m")] / sigma, c_m=1 / sigma)
        for name, external in self.external.items():
            mean_value, inverse = external[star].T
            add((values[:, self.space.index(name)] - mean_value) * inverse, **{name: inverse})
        width = self.width_sigma[star]
        add(values[:, -1] / width, width=1 / width)
        return torch.stack([part[0] for part in parts], 1), torch.stack([part[1] for part in parts], 1)
