"""`specvit audit denoisers`: denoisers on the same held-out stars, against the noisy spectra and the exact optimum."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from specvit.denoise import Denoiser
from specvit.denoise.faithful import equivalent_widths, kept_structure, made_up, star_outside, velocity_shift
from specvit.denoise.making import strongest
from specvit.denoise.regions import regions
from specvit.denoise.scores import (
    Floor,
    coverage,
    make_floor,
    mean,
    ratio,
    scatter,
    snr_bins,
    squared_error,
    stated_coverage,
    tenths_of_errors,
    tenths_of_samples,
    weighted_error,
)
from specvit.errors import ConfigError
from specvit.evaluate.resampling import Interval
from specvit.evaluate.scorer import score_of
from specvit.jobs.denoiser_downstream import Downstream, downstream
from specvit.jobs.denoiser_labels import label_posteriors
from specvit.jobs.denoiser_shapes import by_strength, distributions
from specvit.jobs.watch import Quiet, Watch
from specvit.jobs.worlds import build_world, world_differences
from specvit.runs import Score
from specvit.runs.denoisers_record import DenoisersRecord, ScoreRows
from specvit.simulate import Simulator, World
from specvit.spectra import SpectraBatch

NOISY, FLOOR = "noisy", "Bayes floor"

#: Samples of each spectrum by which a denoiser's own coverage is counted.
DRAWS = 39


@dataclass(frozen=True)
class Answer:
    """What one denoiser, or what stands for one, makes of the test stars.

    Args:
        flux: shape (B, L).
        std: stated errors, or None.
        inside: share of pixels in the intervals of its samples, name -> (B,); {} without samples.
        tenths: share of pixels in the tenths of its samples, (B, 10); None without samples.
    """

    flux: Tensor
    std: Tensor | None
    inside: dict[str, Tensor]
    tenths: Tensor | None = None


def audit_denoisers(
    denoisers: Mapping[str, Denoiser],
    world: World,
    stars: int,
    seed: int,
    labels: tuple[str, ...] = ("log_g",),
    estimators: tuple[str, ...] = (),
    watch: Watch | None = None,
) -> DenoisersRecord:
    """Return all scores of denoisers on the first test stars of a world.

    Args:
        denoisers: fitted, by the name they are shown under.
        world: of the stars.
        stars: how many.
        seed: of the stars; that of a training cannot matter, as test stars are never trained on.
        labels: measured downstream; posteriors from samples are those of the first.
        estimators: fitted anew downstream; those that come trained are always asked.
        watch: who is told.

    Raises:
        ConfigError: for no label of the world, or if a denoiser is for other pixels, or for spectra with less noise.
    """
    watch, simulator = watch or Quiet(), build_world(world)
    known = simulator.prior.label_space.names
    odd = [label for label in labels if label not in known]
    if odd or not labels:
        wrong = f"'{odd[0]}' is no label" if odd else "name at least one label"
        raise ConfigError(f"--labels: {wrong}; known are {', '.join(known)}")
    for name, denoiser in denoisers.items():
        if denoiser.origin.grid.fingerprint != simulator.grid.fingerprint:
            raise ConfigError(f"{name}: it is for other pixels: {denoiser.origin.purpose}")
        if (share := strongest(denoiser)) < 1:
            raise ConfigError(
                f"{name}: was trained with at most {share:g} of the noise, and these stars have all of it; leave it out"
            )
    with watch.task("exact posteriors of the test stars") as update:
        done = 0

        def told(count: int) -> None:
            nonlocal done
            done += count
            update(done, stars)

        floor = make_floor(simulator, seed, stars, told)
    test = floor.stars
    answers = {
        NOISY: Answer(test.flux, None, {}),
        FLOOR: Answer(floor.mean, floor.std, floor.inside, floor.tenths),
    }
    with watch.task("denoise") as update:
        for number, (name, denoiser) in enumerate(denoisers.items()):
            answers[name] = _answer(denoiser, test)
            update(number + 1, len(denoisers))
    tables = [
        _errors(answers, floor),
        _by_region(answers, floor),
        _coverage(answers, floor),
        _tenths(answers, floor),
        _lines(answers, floor, simulator),
        _structure(answers, floor),
        distributions([(name, one.flux, one.std) for name, one in answers.items()], test),
    ]
    with watch.task("strengths"):
        tables.append(by_strength(denoisers, test))
    with watch.task("controls, and spectra unlike any star's"):
        tables += [_controls(denoisers, test), _made_up(denoisers, test, simulator)]
    with watch.task(f"posteriors of {labels[0]} from samples") as update:
        tables.append(label_posteriors(denoisers, floor, simulator, labels[0], seed, progress=update))
    with watch.task("downstream"):
        found = downstream(denoisers, simulator, seed, floor, labels, estimators)
        tables += [_gains(found), _biases(found)]
    return DenoisersRecord(
        stars=len(test),
        left_out=floor.left_out,
        seed=seed,
        date=datetime.date.today().isoformat(),
        digests={name: denoiser.digest for name, denoiser in denoisers.items()},
        worlds={
            name: foreign for name, one in denoisers.items() if (foreign := foreign_world(one, simulator))
        },
        tables=tuple(tables),
    )


def foreign_world(denoiser: Denoiser, simulator: Simulator) -> str:
    """Return in words in what other world a denoiser was trained than the audited stars are of; "" for the same."""
    theirs = denoiser.origin.training.world
    if theirs is None:
        return "does not say in which world it was trained"
    found = world_differences(theirs, simulator)
    differs = "; ".join(f"{name} {words}" for name, words in found.items())
    return f"was trained in another world: {differs}" if found else ""


def _answer(denoiser: Denoiser, test: SpectraBatch) -> Answer:
    found = denoiser.denoise(test.flux, test.sigma)
    # Some state what they know by samples alone.
    drawn = denoiser.denoise(test.flux, test.sigma, draws=DRAWS)
    if drawn.samples is None:
        return Answer(found.mean, found.std, {})
    inside, tenths = coverage(drawn.samples, test), tenths_of_samples(drawn.samples, test)
    return Answer(found.mean, found.std, inside, tenths)


def _score(found: Interval | None) -> Score | None:
    return None if found is None else score_of(found)


def _errors(answers: Mapping[str, Answer], floor: Floor) -> ScoreRows:
    """Return squared and weighted errors over those of the noisy spectra and of the floor, by S/N."""
    test, rows = floor.stars, []
    bins = snr_bins(test.known_snr())
    least, least_weighed = squared_error(floor.mean, test), weighted_error(floor.mean, test, 2)
    noisy, noisy_weighed = squared_error(test.flux, test), weighted_error(test.flux, test, 1)
    least_absolute = weighted_error(floor.mean, test, 1)
    for name, answer in answers.items():
        square, weighed = squared_error(answer.flux, test), weighted_error(answer.flux, test, 2)
        absolute = weighted_error(answer.flux, test, 1)
        for part, chosen in bins.items():
            rows.append(
                (
                    name,
                    f"{part} ({int(chosen.sum())})",
                    _score(ratio(square, noisy, chosen)),
                    _score(ratio(absolute, noisy_weighed, chosen)),
                    _score(ratio(square, least, chosen)),
                    _score(ratio(absolute, least_absolute, chosen)),
                    _score(ratio(weighed, least_weighed, chosen)),
                    _score(mean(weighed, chosen)),
                )
            )
    head = (
        *("denoiser", "stars", "MSE / noisy", "wMAE / noisy", "MSE / floor", "wMAE / floor"),
        "(error/σ)² / floor",
        "Σ (error/σ)²",
    )
    return ScoreRows(name="errors", caption="Errors on held-out stars", head=head, rows=tuple(rows))


def _by_region(answers: Mapping[str, Answer], floor: Floor) -> ScoreRows:
    """Return errors over the floor, and the bias, by part of the spectrum."""
    test, rows = floor.stars, []
    truth, every = test.known_truth(), np.ones(len(floor.stars), dtype=bool)
    for part, pixels in regions(truth.flux, test.sigma).items():
        if not bool(pixels.any()):
            continue
        least = squared_error(floor.mean, test, pixels)
        least_absolute = weighted_error(floor.mean, test, 1, pixels)
        for name, answer in answers.items():
            # The mean over stars first: what is left is what a longer survey does not average away.
            bias = (answer.flux - truth.flux)[:, pixels].mean(dim=0).square().mean().sqrt()
            typical = (floor.mean - truth.flux)[:, pixels].square().mean().sqrt()
            rows.append(
                (
                    name,
                    f"{part} ({int(pixels.sum())} pixels)",
                    _score(ratio(squared_error(answer.flux, test, pixels), least, every)),
                    _score(ratio(weighted_error(answer.flux, test, 1, pixels), least_absolute, every)),
                    Score(value=float(bias / typical)),
                )
            )
    head = (
        *("denoiser", "part", "MSE / floor", "wMAE / floor"),
        "rms of the bias spectrum / rms error of the floor",
    )
    return ScoreRows(name="regions", caption="By part of the spectrum", head=head, rows=tuple(rows))


def _coverage(answers: Mapping[str, Answer], floor: Floor) -> ScoreRows:
    test, rows = floor.stars, []
    for name, answer in answers.items():
        if answer.std is None and not answer.inside:
            continue
        stated = {} if answer.std is None else stated_coverage(answer.flux, answer.std, test)
        for part, chosen in snr_bins(test.known_snr()).items():
            cells: list[Score | str | None] = [name, f"{part} ({int(chosen.sum())})"]
            for held in (stated, answer.inside):
                for share in ("68 %", "95 %"):
                    values = held.get(share)
                    cells.append(None if values is None else _score(mean(100 * values.numpy(), chosen)))
            rows.append(tuple(cells))
    head = (
        *("denoiser", "stars", "within 68 % by std", "within 95 % by std"),
        *("in 68 % of samples", "in 95 % of samples"),
    )
    caption = "Truths inside stated intervals, %"
    return ScoreRows(name="coverage", caption=caption, head=head, rows=tuple(rows))


def _tenths(answers: Mapping[str, Answer], floor: Floor) -> ScoreRows:
    """Return the probability integral transform of every denoiser that states a distribution, over all stars."""
    test, rows = floor.stars, []
    every = np.ones(len(test), dtype=bool)
    for name, answer in answers.items():
        stated = None if answer.std is None else tenths_of_errors(answer.flux, answer.std, test)
        for how, tenths in (("std", stated), ("samples", answer.tenths)):
            if tenths is not None:
                rows.append(
                    (name, how, *(_score(mean(100 * tenths[:, k].numpy(), every)) for k in range(10)))
                )
    head = ("denoiser", "by", *(f"tenth {k + 1}" for k in range(10)))
    caption = "Truths in each tenth of the stated distribution, % (10 everywhere if it is right)"
    return ScoreRows(name="tenths", caption=caption, head=head, rows=tuple(rows))


def _lines(answers: Mapping[str, Answer], floor: Floor, simulator: Simulator) -> ScoreRows:
    test, grid, rows = floor.stars, simulator.grid, []
    truth, every = test.known_truth(), np.ones(len(floor.stars), dtype=bool)
    clean = equivalent_widths(truth.flux, grid)
    for name, answer in answers.items():
        found = equivalent_widths(answer.flux, grid)
        for element, width in clean.items():
            off = (100 * (found[element] - width) / width.mean()).numpy()
            rows.append((name, f"EW {element}, %", _score(mean(off, every)), _score(scatter(off, every))))
        shift = velocity_shift(answer.flux, truth.flux, truth.sigma, grid).numpy()
        rows.append((name, "velocity, km/s", _score(mean(shift, every)), _score(scatter(shift, every))))
    head = ("denoiser", "quantity", "bias", "scatter")
    caption = "Equivalent widths (of their mean) and velocities"
    return ScoreRows(name="lines", caption=caption, head=head, rows=tuple(rows))


def _structure(answers: Mapping[str, Answer], floor: Floor) -> ScoreRows:
    clean, every = floor.stars.known_truth().flux, np.ones(len(floor.stars), dtype=bool)
    rows = []
    for name, answer in answers.items():
        for scale, (kept, there) in kept_structure(answer.flux, clean).items():
            rows.append((name, scale, _score(ratio(kept.numpy(), there.numpy(), every))))
    head = ("denoiser", "scale", "structure kept")
    caption = "Over-smoothing: 1 keeps all structure of the star at that scale"
    return ScoreRows(name="structure", caption=caption, head=head, rows=tuple(rows))


def _controls(denoisers: Mapping[str, Denoiser], test: SpectraBatch) -> ScoreRows:
    """Return the errors with another sigma than the visible one, over those with it."""
    every, rows = np.ones(len(test), dtype=bool), []
    sigma = test.sigma
    level = sigma.median(dim=1, keepdim=True).values
    shape = (sigma / level).median(dim=0).values
    told: dict[str, Callable[[], Tensor]] = {
        "the true one": lambda: test.known_truth().sigma,
        "the mean shape": lambda: level * shape,
        "that of the next star": lambda: (sigma / level).roll(1, dims=0) * level,
        "flat (blind to its shape)": lambda: level.expand_as(sigma).contiguous(),
    }
    for name, denoiser in denoisers.items():
        plain = weighted_error(denoiser.denoise(test.flux, sigma).mean, test, 2)
        for words, make in told.items():
            changed = weighted_error(denoiser.denoise(test.flux, make()).mean, test, 2)
            rows.append((name, words, _score(ratio(changed, plain, every))))
    head = ("denoiser", "sigma that goes in", "(error/σ)² over that with the visible one")
    caption = "Controls of the sigma: the true one holds a noise-free copy of the spectrum"
    return ScoreRows(name="controls", caption=caption, head=head, rows=tuple(rows))


def _made_up(denoisers: Mapping[str, Denoiser], test: SpectraBatch, simulator: Simulator) -> ScoreRows:
    every, rows = np.ones(len(test), dtype=bool), []
    continuum = regions(test.known_truth().flux, test.sigma)["continuum"]
    outside = star_outside(simulator.observed, simulator.prior.label_space)
    for name, denoiser in denoisers.items():
        found = made_up(
            lambda flux, sigma, one=denoiser: one.denoise(flux, sigma).mean,  # type: ignore[misc]
            test,
            simulator.grid,
            continuum,
            outside,
        )
        shares = (found.line_put_in, found.line_taken_out, found.blend, found.outside)
        rows.append((name, *(_score(mean(share.numpy(), every)) for share in shares)))
    head = (
        *("denoiser", "line that no star has: left of it", "Ca II line taken out: comes back"),
        *("two stars in one: MSE / noisy", "star beyond the box: MSE / noisy"),
    )
    caption = "Spectra unlike any star's"
    return ScoreRows(name="made-up", caption=caption, head=head, rows=tuple(rows))


def _gains(found: list[Downstream]) -> ScoreRows:
    rows = tuple(
        (
            one.label,
            one.estimator,
            "fitted anew" if one.fitted else "as it comes",
            one.denoiser or "as observed",
            _score(one.r2),
            _score(one.gain),
            _score(one.expected),
            _score(one.expected_gain),
        )
        for one in found
    )
    head = ("label", "estimator", "how", "spectra", "R²", "gain, paired", "expected R²", "its gain")
    return ScoreRows(name="downstream", caption="Downstream", head=head, rows=rows)


def _biases(found: list[Downstream]) -> ScoreRows:
    rows = tuple(
        (one.label, one.estimator, one.denoiser or "as observed", part, _score(bias))
        for one in found
        for part, bias in one.bias.items()
    )
    head = ("label", "estimator", "spectra", "stars", "mean error")
    return ScoreRows(name="downstream-bias", caption="Bias downstream", head=head, rows=rows)
