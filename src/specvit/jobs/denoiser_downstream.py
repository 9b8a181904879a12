"""Does denoising help to measure a star? The same estimators on spectra as observed and on denoised ones, paired.

(a) estimators that come trained, as they are; (b) estimators fitted anew on denoised training spectra. No function of a
spectrum says more of the star than the spectrum (data-processing inequality): what is gained is what an estimator
does not do well by itself, what is lost is what a denoiser threw away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from specvit.denoise import Denoiser
from specvit.denoise.scores import Floor, interval
from specvit.estimators import Setting
from specvit.estimators.choice import choose
from specvit.estimators.pretrained import load_pretrained, pretrained_names
from specvit.evaluate.metrics import r2
from specvit.evaluate.resampling import Interval
from specvit.simulate import Simulator, splits
from specvit.spectra import MemorySource, SpectraBatch

#: Training and validation stars of estimators that are fitted anew.
FITTED_STARS = (1_500, 400)

#: How long networks that are fitted anew learn.
TRAINING = {"steps": 600, "batch": 64, "validations": 6}

#: Slices in which bias is told: label -> edges.
BIAS_EDGES = {"teff": (4500.0, 5250.0), "m_h": (-1.5, -0.5), "snr": (5.0, 9.0)}


@dataclass(frozen=True)
class Downstream:
    """One estimator and label, with and without one denoiser.

    Args:
        label: that it estimates.
        estimator, fitted: its name, and whether it was fitted anew on what it is shown.
        denoiser: name; "" for the spectra as observed.
        r2: of the label.
        gain: R² less that of the same estimator on spectra as observed; None for these.
        expected, expected_gain: the same of the R² expected of spectra like these, against the exact posterior.
        bias: mean error of the label by slice, each with its interval.
    """

    label: str
    estimator: str
    fitted: bool
    denoiser: str
    r2: Interval
    gain: Interval | None
    expected: Interval
    expected_gain: Interval | None
    bias: dict[str, Interval]


def downstream(
    denoisers: Mapping[str, Denoiser],
    simulator: Simulator,
    seed: int,
    floor: Floor,
    labels: tuple[str, ...],
    estimators: tuple[str, ...],
    fitted_stars: tuple[int, int] = FITTED_STARS,
) -> list[Downstream]:
    """Return what every estimator makes of test stars, as observed and denoised.

    Args:
        denoisers: fitted, by name.
        simulator, seed: of the stars that estimators are fitted on.
        floor: stars that no fit has seen, with the exact posteriors of their labels.
        labels: of the simulator.
        estimators: to be fitted anew, as in `specvit run --estimators`; networks (MODEL-SIZE) see the fixed set again and again.
        fitted_stars: training and validation stars.
    """
    counts = zip((splits.TRAIN, splits.VALIDATION), fitted_stars, strict=True)
    test = floor.stars
    # Nothing is denoised that nobody is fitted on.
    sets = [simulator.draw(split, seed, 0, count) for split, count in counts if estimators]
    shown = {"": [*sets, test]}
    for name, denoiser in denoisers.items():
        shown[name] = [_denoised(denoiser, batch) for batch in (*sets, test)]
    found = []
    for name in pretrained_names():
        trained = load_pretrained(name)
        if trained.grid.fingerprint != simulator.grid.fingerprint:
            continue
        told = tuple(label for label in labels if label in trained.names)
        estimates = {key: _estimates(trained, batches[-1], told) for key, batches in shown.items()}
        found += _rows(name, False, estimates, floor, simulator)
    for name in estimators:
        estimates = {}
        for key, (train, validation, stars) in shown.items():
            choice = choose(name)
            options = TRAINING if choice.spec.draws_spectra else {}
            model = choice.spec.build(
                Setting(labels, simulator, seed, threads=1, options=options, size=choice.size)
            )
            model.fit(_source(train, simulator), _source(validation, simulator))
            estimates[key] = _estimates(model, stars, labels)
        found += _rows(name, True, estimates, floor, simulator)
    # Those of one label together, in the order of the labels.
    return sorted(found, key=lambda one: labels.index(one.label))


def _denoised(denoiser: Denoiser, batch: SpectraBatch) -> SpectraBatch:
    return replace(batch, flux=denoiser.denoise(batch.flux, batch.sigma).mean)


def _source(batch: SpectraBatch, simulator: Simulator) -> MemorySource:
    lsf = simulator.instrument.lsf_nodes()
    # With noise-free flux, of which a subspace network finds its subspace: the same one for all that it is shown.
    return MemorySource(batch, simulator.grid, simulator.prior.label_space, lsf)


def _estimates(model: Any, batch: SpectraBatch, labels: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return label -> estimates (B,)."""
    prediction = model.predict(batch.flux, batch.sigma)
    return {label: prediction.mean[:, prediction.names.index(label)].numpy() for label in labels}


def _rows(
    name: str,
    fitted: bool,
    estimates: Mapping[str, Mapping[str, np.ndarray]],
    floor: Floor,
    simulator: Simulator,
) -> list[Downstream]:
    """Return the rows of one estimator: `estimates` are those of each label by denoiser."""
    rows = []
    for label in estimates[""]:
        of_label = {denoiser: values[label] for denoiser, values in estimates.items()}
        rows += _rows_of_label(name, fitted, of_label, floor, label, simulator)
    return rows


def _rows_of_label(
    name: str,
    fitted: bool,
    estimates: Mapping[str, np.ndarray],
    floor: Floor,
    label: str,
    simulator: Simulator,
) -> list[Downstream]:
    test, at = floor.stars, simulator.prior.label_space.index(label)
    truth = test.known_labels()[:, at].double().numpy()
    middle, least = floor.label_mean[:, at].cpu().numpy(), floor.label_variance[:, at].cpu().numpy()
    total = np.square(truth - truth.mean())
    plain, rows = estimates[""], []
    for denoiser, values in estimates.items():
        gain = None
        if denoiser:
            # The same stars in both, so that what is hard for both cancels.
            gain = interval(lambda y, a, b: r2(y, a) - r2(y, b), truth, values, plain)
        bias = {
            part: interval(lambda a: a.mean(axis=-1), (values - truth)[chosen])
            for part, chosen in _parts(test, simulator).items()
        }
        left, before = (least + np.square(one - middle) for one in (values, plain))
        expected = interval(lambda a, t: 1 - a.mean(axis=-1) / t.mean(axis=-1), left, total)
        more = None
        if denoiser:
            more = interval(lambda a, b, t: (b - a).mean(axis=-1) / t.mean(axis=-1), left, before, total)
        rows.append(
            Downstream(label, name, fitted, denoiser, interval(r2, truth, values), gain, expected, more, bias)
        )
    return rows


def _parts(test: SpectraBatch, simulator: Simulator) -> dict[str, np.ndarray]:
    """Return masks over the test stars by name, three by each of `BIAS_EDGES`, those that hold stars."""
    space, parts = simulator.prior.label_space, {}
    for name, (low, high) in BIAS_EDGES.items():
        if name != "snr" and name not in space.names:
            continue
        column: Tensor = test.known_snr() if name == "snr" else test.known_labels()[:, space.index(name)]
        values = column.numpy()
        for words, chosen in (
            (f"{name} < {low:g}", values < low),
            (f"{name} {low:g} to {high:g}", (values >= low) & (values <= high)),
            (f"{name} > {high:g}", values > high),
        ):
            if chosen.sum() > 1:
                parts[words] = chosen
    return parts
