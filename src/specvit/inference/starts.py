"""Where the descent begins: the best few of many templates tried on every spectrum. Owns the bank."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from specvit.inference.descent import Spectra
from specvit.inference.products import TemplateProducts
from specvit.inference.profile import AmplitudeProfile
from specvit.inference.region import Region

#: Templates tried on every spectrum, and their leading components used for it.
DRAWS, COMPONENTS = 4096, 48

#: Starts of one spectrum differ by at least this share of the box in some label.
DISTANCE = 0.3

_ROWS = 1024


class StartBank:
    """Templates spread evenly over the region.

    Args:
        spectra: positions (N, P) in the unit box -> coefficients (N, K).
        labels: P.
        device: where `spectra` lives.
        seed: of the scrambled Sobol points.
        region: where they lie.
    """

    def __init__(
        self, spectra: Spectra, labels: int, device: torch.device, seed: int, region: Region
    ) -> None:
        # Sobol 1967: no part of the box is left empty, as random points would.
        points = SobolEngine(labels, scramble=True, seed=seed).draw(DRAWS, dtype=torch.float64).to(device)
        self.positions = region.moved_inside(points)
        # One row of the templates is the mean spectrum, so one coefficient fewer than `COMPONENTS`.
        self.coefficients = spectra(self.positions)[:, : COMPONENTS - 1]

    def choose(self, products: TemplateProducts, count: int) -> Tensor:
        """Return `count` starts per spectrum, shape (B, count, P): each the best far from the last."""
        chi2 = self._score(products)
        chosen = []
        for _ in range(count):
            best = self.positions[chi2.argmin(dim=1)]
            chosen.append(best)
            near = (self.positions - best[:, None]).abs().amax(dim=-1) < DISTANCE
            chi2 = chi2.masked_fill(near, torch.inf)
        return torch.stack(chosen, dim=1)

    def _score(self, products: TemplateProducts) -> Tensor:
        """Return chi² of every template for every spectrum, shape (B, N), in the leading components."""
        leading = products.leading(1 + self.coefficients.shape[1])
        parts = [
            AmplitudeProfile.of(leading, rows.expand(len(products), -1, -1)).chi2
            for rows in self.coefficients.split(_ROWS)
        ]
        return torch.cat(parts, dim=1)
