"""Posteriors of labels from a denoiser's samples, against the exact ones.

Every sample is a noise-free spectrum that might have been observed; the labels of the template that is nearest to it, in
units of the star's own noise, are a draw from what the denoiser states of the labels. Samples of the exact posterior
give back the exact posterior of the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from specvit.denoise import Denoiser
from specvit.denoise.scores import Floor, inside_of, mean, ratio, snr_bins
from specvit.evaluate.resampling import Interval
from specvit.evaluate.scorer import score_of
from specvit.inference import TemplateFit
from specvit.runs.denoisers_record import ScoreRows
from specvit.runs.summary import Score
from specvit.simulate import Simulator, splits

#: Samples of every spectrum, and of how many stars.
SAMPLES, STARS = 100, 100

#: The noise that samples are fitted with, over the star's: small enough that they are matched, whatever the prior.
SHARE_OF_NOISE = 0.05


def label_posteriors(
    denoisers: Mapping[str, Denoiser],
    floor: Floor,
    simulator: Simulator,
    label: str,
    seed: int,
    most: tuple[int, int] = (STARS, SAMPLES),
    progress: Callable[[int, int], None] | None = None,
) -> ScoreRows:
    """Return how posteriors of a label from samples compare with the exact ones, by denoiser and S/N.

    Args:
        denoisers: fitted, by name; those without samples are left out.
        floor: test stars with their exact posteriors.
        simulator: of the stars.
        label: one of the simulator's.
        seed: of the samples.
        most: of how many of the first stars, and samples of each.
        progress: called with denoisers that are done and their number.
    """
    at = simulator.prior.label_space.index(label)
    rows: list[tuple[Score | str | None, ...]] = []
    count, samples_each = most
    stars = floor.stars[slice(0, count)]
    fit = TemplateFit(simulator.observed, starts=2).fit(
        simulator.source(splits.TRAIN, seed, 2), simulator.source(splits.VALIDATION, seed, 2)
    )
    truth = stars.known_labels()[:, at].double()
    exact, width = floor.label_mean[:count, at].cpu(), floor.label_variance[:count, at].cpu()
    for number, (name, denoiser) in enumerate(denoisers.items()):
        if progress is not None:
            progress(number, len(denoisers))
        samples = denoiser.denoise(stars.flux, stars.sigma, draws=samples_each, seed=seed).samples
        if samples is None:
            continue
        drawn = labels_of(samples, stars.sigma, fit)[..., at]
        middle, spread = drawn.mean(dim=1), drawn.var(dim=1)
        inside = inside_of(drawn, truth)
        for part, chosen in snr_bins(stars.known_snr()).items():
            off = ((middle - exact).square() / width).numpy()
            rows.append(
                (
                    name,
                    f"{part} ({int(chosen.sum())})",
                    _root(mean(off, chosen)),
                    _root(ratio(spread.numpy(), width.numpy(), chosen)),
                    *(score_of(mean(100 * values.numpy(), chosen)) for values in inside.values()),
                )
            )
    head = (
        *("denoiser", "stars", "rms of (mean − exact mean) / exact error", "spread / exact spread"),
        *("truths in 68 %", "truths in 95 %"),
    )
    caption = f"Posteriors of {label} from {samples_each} samples of each spectrum, against the exact ones"
    return ScoreRows(name="label-posteriors", caption=caption, head=head, rows=tuple(rows))


@torch.no_grad()
def labels_of(samples: Tensor, sigma: Tensor, fit: TemplateFit) -> Tensor:
    """Return the labels of the template nearest to every sample.

    Args:
        samples: noise-free spectra, shape (B, S, L).
        sigma: of the observed spectra, (B, L): what is far is said in units of it.
        fit: on the pixels of both.

    Returns:
        Shape (B, S, P), float64.
    """
    count = samples.shape[1]
    noise = (SHARE_OF_NOISE * sigma).repeat_interleave(count, dim=0)
    found: Tensor = fit.predict(samples.flatten(0, 1), noise).mean.double()
    return found.reshape(len(samples), count, -1)


def _root(found: Interval) -> Score:
    """Return the square root of what is a square, with its interval."""
    return score_of(Interval(*np.sqrt(np.maximum((found.value, found.low, found.high), 0)).tolist()))
