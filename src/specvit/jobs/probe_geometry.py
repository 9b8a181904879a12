"""Layers against each other and against the pixels: likeness, and information that survives; of a probe's stars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from specvit.estimators import NetworkEstimator
from specvit.evaluate import bootstrap
from specvit.evaluate.scorer import score_of
from specvit.jobs.judged_stars import RESAMPLES
from specvit.jobs.latents import latents_of
from specvit.jobs.watch import Update
from specvit.represent import LayerInformation, layer_information, linear_cka
from specvit.represent.information import WIDEST
from specvit.runs import Score
from specvit.runs.probe_record import Likeness, SurvivingInformation
from specvit.simulate import Simulator
from specvit.spectra import SpectraBatch

Key = tuple[str, str]
#: Test stars that likeness is of: its cost goes with their square.
MOST_STARS = 500


def likeness_of(vectors: Mapping[str, Tensor]) -> Likeness:
    """Return the CKA of every pair of places of the first test stars."""
    names = tuple(vectors)
    arrays = [vectors[name][:MOST_STARS].double().numpy() for name in names]
    found = np.eye(len(names))
    for i in range(len(names)):
        for j in range(i + 1):
            found[i, j] = found[j, i] = linear_cka(arrays[i], arrays[j])
    return Likeness(
        places=names,
        values=tuple(tuple(float(v) if np.isfinite(v) else None for v in row) for row in found),
    )


def surviving_information(
    name: str,
    estimator: NetworkEstimator,
    simulator: Simulator,
    stars: SpectraBatch,
    keys: Sequence[Key],
    labels: Sequence[str],
    seed: int,
    update: Update,
) -> list[SurvivingInformation]:
    """Return what survives at the places of one network of the information on labels, at the truth of some stars.

    All labels of the library are free, and the flux scale is; places wider than `WIDEST` are left out.
    """
    truth, space = stars.known_truth(), simulator.prior.label_space
    jacobian = simulator.observed.jacobian(stars.known_labels(), check=False) * truth.scale[:, None, None]
    prior = torch.tensor([simulator.prior.variance(label) for label in space.names], dtype=torch.float64)
    shown, found = (truth.flux.float(), stars.sigma), []
    widths = {key: values.shape[1] for key, values in latents_of(estimator, stars[:1], keys).items()}
    for done, key in enumerate(keys):
        update(done, len(keys), "/".join(key))
        if widths[key] > WIDEST:
            continue
        kept = layer_information(estimator.network, shown, truth.sigma, jacobian, prior, [key])[key]
        survives = {label: _survives(kept, space.index(label), seed) for label in labels}
        found.append(SurvivingInformation(source=name, layer=key[0], pooling=key[1], survives=survives))
    return found


def _survives(kept: LayerInformation, at: int, seed: int) -> Score:
    """Return the share of the gain over the prior that is left for one label, with its interval over stars."""
    left, whole = ((1 - variance[:, at] / kept.prior[at]).numpy() for variance in (kept.variance, kept.whole))
    if len(left) < 2:
        return Score(value=float(kept.survives[at]))
    return score_of(
        bootstrap(lambda a, b: a.mean(-1) / b.mean(-1), left, whole, resamples=RESAMPLES, seed=seed)
    )
