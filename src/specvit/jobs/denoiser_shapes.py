"""How the error of denoisers goes with their strength, and how what they take out and what they get wrong is distributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from specvit.denoise import Denoiser
from specvit.denoise.scores import ratio, weighted_error
from specvit.evaluate.scorer import score_of
from specvit.runs import Score
from specvit.runs.denoisers_record import TAKEN_OUT, ScoreRows
from specvit.spectra import SpectraBatch

#: Shares of the change that are made, and the stars they are tried on.
STRENGTHS, STARS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0), 100
#: σ of a normal distribution at whose probabilities quantiles are taken.
NORMAL = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
WRONG = "(denoised - noise-free) / stated error"


def by_strength(denoisers: Mapping[str, Denoiser], test: SpectraBatch) -> ScoreRows:
    """Return the weighted absolute error over that of the noisy spectra, by strength."""
    some = test[: min(len(test), STARS)]
    every, noisy = np.ones(len(some), dtype=bool), weighted_error(some.flux, some, 1)
    rows = []
    for name, denoiser in denoisers.items():
        for strength in STRENGTHS:
            found = denoiser.denoise(some.flux, some.sigma, strength=strength).mean
            rows.append(
                (name, f"{strength:g}", score_of(ratio(weighted_error(found, some, 1), noisy, every)))
            )
    head = ("denoiser", "strength", "wMAE / noisy")
    return ScoreRows(name="strengths", caption="Error by strength", head=head, rows=tuple(rows))


def distributions(answers: Sequence[tuple[str, Tensor, Tensor | None]], test: SpectraBatch) -> ScoreRows:
    """Return quantiles over all live pixels of what was taken out over σ, and of errors over stated ones.

    Args:
        answers: name, denoised flux (B, L), and stated errors (B, L) or None.
        test: the stars.
    """
    truth = test.known_truth()
    live = torch.isfinite(test.sigma)
    rows: list[tuple[Score | str | None, ...]] = []
    for name, flux, std in answers:
        found = {TAKEN_OUT: (test.flux - flux)[live] / truth.sigma[live]}
        if std is not None:
            found[WRONG] = ((flux - truth.flux) / std)[live]
        for what, values in found.items():
            levels = [NormalDist().cdf(sigma) for sigma in NORMAL]
            quantiles = np.quantile(values.double().cpu().numpy(), levels)
            rows.append((name, what, *(Score(value=float(one)) for one in quantiles)))
    head = ("denoiser", "of", *(f"{sigma:+g} σ" for sigma in NORMAL))
    caption = "Distribution over pixels: quantiles at the probabilities of a normal one's"
    return ScoreRows(name="distributions", caption=caption, head=head, rows=tuple(rows))
