"""Templates on the pixels of stars, without the derivatives that a fit needs."""

from __future__ import annotations

import numpy as np
import torch

from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.stellar.templates import AT_ONCE, WIDTHS, WidthTemplates


@torch.no_grad()
def star_flux(
    templates: WidthTemplates,
    labels: np.ndarray,
    velocity: np.ndarray,
    log_pixels: np.ndarray,
    log_width: np.ndarray,
) -> np.ndarray:
    """Return templates on pixels, shape (N, L), float32.

    Args:
        templates: of the library.
        labels: shape (N, P).
        velocity: km/s, shape (N,).
        log_pixels: ln λ, shape (L,).
        log_width: ln(FWHM / that of the templates) at the pixels, shape (N, L).
    """
    coefficients = templates.emulator.coefficients(torch.from_numpy(labels)).double()
    padded = torch.nn.functional.pad(coefficients, (1, 0), value=1.0)
    multipliers = (padded @ templates.into).float()
    shift = np.log1p(velocity / SPEED_OF_LIGHT_KM_S)
    position = (log_pixels - shift[:, None] - templates.start) / templates.step
    terms, nodes, count = templates.rows.shape
    seen = np.empty((len(labels), 3, log_pixels.size), np.float32)
    # Needs Numba, which asking for help does not.
    from specvit.stellar.compiled import see_rows

    for first in range(0, len(labels), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        rows = (multipliers[some] @ templates.rows.view(terms, -1)).view(-1, 1, nodes, count)
        see_rows(rows.numpy(), position[some], log_width[some], templates.log_nodes, WIDTHS, seen[some])
    return seen[:, 0]
