"""The card of a saved network: what it is, how it was trained, how well it does; for a human, beside the weights.

Owns the wording; every number comes from the estimator and its records.
"""

from __future__ import annotations

from collections.abc import Mapping

from specvit.estimators.recalibration import Recalibration
from specvit.models.network import SpectrumNetwork
from specvit.models.origin import Origin, TrainingRecord
from specvit.runs import TrueBin, TrueBins
from specvit.runs.true_bins import WHY

CARD = "card.md"


def card_text(
    name: str,
    network: SpectrumNetwork,
    origin: Origin,
    metrics: Mapping[str, Mapping[str, float]],
    by_true_label: Mapping[str, TrueBins],
    recalibration: Recalibration | None = None,
) -> str:
    """Return the card as Markdown.

    Args:
        name: of the estimator.
        network: with its configuration and labels.
        origin: what it was made for and from.
        metrics: label -> score -> value on test spectra; may be empty.
        by_true_label: label -> scores in bins of its true value on the same spectra; may be empty.
        recalibration: what came after the training.
    """
    training = origin.training
    lines = [
        f"# {name}",
        "",
        f"A {network.config.model} network with {network.parameter_count:,} parameters.",
        *_refined(network),
        "",
        "## For which spectra",
        "",
        "- in the rest frame: the star's velocity is taken out before. A shift biases the estimates, and the stated",
        "  errors do not grow with it",
        f"- pixels: {origin.grid.describe()}, wavelengths in {origin.grid.medium}",
        f"- S/N (median per pixel): {_snr_words(training)}",
    ]
    if origin.lsf is not None:
        fwhm = origin.lsf["fwhm"]
        lines.append(f"- line-spread function: FWHM {min(fwhm):.3f}-{max(fwhm):.3f} Å, without the pixel")
    lines.append("- flux and sigma in any one unit; the network divides both by the median flux itself")
    prior = "unknown" if training.stars is None else training.stars
    lines += [f"- stars like those of the training: prior {prior}, within", ""]
    lines += ["| label | unit | from | to |", "|---|---|---|---|"]
    space = network.label_space
    for label, unit, low, high in zip(space.names, space.units, space.low, space.high, strict=True):
        lines.append(f"| {label} | {unit} | {low:g} | {high:g} |")
    lines += [
        "",
        "Outside these bounds, and for stars unlike the training spectra (other chemistry, rotation, binaries,",
        "emission), its estimates and errors mean nothing.",
        "",
        "## How it was trained",
        "",
        *(f"- {title}: {value}" for title, value in _training_facts(training)),
    ]
    if metrics:
        lines += ["", "## How well it does", "", "| label | R² | MAE | RMSE |", "|---|---|---|---|"]
        for label, scores in metrics.items():
            lines.append(f"| {label} | {scores['r2']:.4f} | {scores['mae']:.4g} | {scores['rmse']:.4g} |")
        lines += ["", "On simulated test spectra of the survey's own S/N; stars and noise it has never seen."]
        if network.head.reweighting is not None or recalibration is not None:
            lines.append("Measured before it was made for other stars, see below.")
    if by_true_label:
        lines += ["", "## At which true values", "", WHY]
        for label, bins in by_true_label.items():
            lines += [
                "",
                f"| true {label} | spectra | bias | RMSE | in 68 % interval |",
                "|---|---|---|---|---|",
            ]
            lines += [_true_row(one) for one in bins]
    lines += [*_prior(network), *_recalibrated(recalibration)]
    return "\n".join(lines) + "\n"


def _refined(network: SpectrumNetwork) -> list[str]:
    """Return who gets a further step, if anybody does."""
    step = network.refinement
    if step is None:
        return []
    count = sum(parameter.numel() for parameter in step.parameters())
    return [
        f"Estimates of stars of S/N {step.config.snr:g} and more are made better by a learnt Gauss-Newton step on",
        f"{step.config.components} subspace coefficients ({count:,} parameters).",
    ]


def _true_row(one: TrueBin) -> str:
    """Return the row of one bin of true values; a dash is what its spectra do not tell."""

    def told(value: float | None, error: float | None, form: str) -> str:
        if value is None:
            return "-"
        return f"{value:{form}}" + ("" if error is None else f" ± {error:{form.replace('+', '')}}")

    cells = (
        f"{one.low:g} to {one.high:g}",
        f"{one.spectra:,}",
        told(one.bias, one.bias_error, "+.3g"),
        told(one.rms, None, ".3g"),
        told(one.coverage_68, one.coverage_68_error, ".3f"),
    )
    return f"| {' | '.join(cells)} |"


def _snr_words(training: TrainingRecord) -> str:
    if training.snr is None:
        return "not recorded when it was trained"
    low, high = training.snr
    return f"{low:.3g} to {high:.3g} in training; outside its stated errors are not tested"


def _training_facts(training: TrainingRecord) -> list[tuple[str, str]]:
    """Return what the record of a training says, as titles and texts."""
    facts: list[tuple[str, str]] = []
    if training.train is not None:
        world = training.world or {}
        facts += [(key, f"{world[key]}") for key in ("library", "instrument", "prior") if key in world]
        facts.append(("seed of the spectra", f"{training.train.get('seed')}"))
    for title, key, form in (
        ("training spectra", "train_spectra", "{:,}"),
        ("optimiser steps", "steps", "{:,}"),
        ("seconds", "seconds", "{:,.0f}"),
        ("weights of step", "best_step", "{:,}"),
        ("validation R²", "validation_r2", "{:.4f}"),
        ("validation loss, sign changed", "validation_negative_loss", "{:.4f}"),
        ("spectra that corrected its errors", "calibration_spectra", "{:,}"),
        ("device", "device", "{}"),
        ("CPU threads", "threads", "{}"),
        ("date", "date", "{}"),
    ):
        if (value := getattr(training, key)) is not None:
            facts.append((title, form.format(value)))
    if training.recipe is not None:
        facts.append(("recipe", ", ".join(f"{key} {value}" for key, value in training.recipe.items())))
    return facts


def _prior(network: SpectrumNetwork) -> list[str]:
    """Return for which prior its distributions are weighted, if for another than that of its training."""
    reweighting, space = network.head.reweighting, network.label_space
    if reweighting is None:
        return []
    lines = ["", "## For which prior", ""]
    lines += ["What it states is weighted by a prior other than that of its training:", ""]
    lines += ["| label | unit | from | to |", "|---|---|---|---|"]
    for label, unit, low, high in zip(space.names, space.units, *reweighting.box, strict=True):
        lines.append(f"| {label} | {unit} | {low:g} | {high:g} |")
    return lines


def _recalibrated(done: Recalibration | None) -> list[str]:
    """Return by which spectra its errors were corrected after the training."""
    if done is None:
        return []
    world = done.world or {}
    lines = ["", "## For which stars its errors are corrected", ""]
    facts = {
        key.replace("_", " "): _in_words(value) for key, value in world.items() if value not in ({}, None)
    }
    lines += [f"- {title}: {text}" for title, text in facts.items()]
    if not world:
        lines.append("- stored spectra of a world that is not known")
    space = done.labels
    box = (
        f"{name} {low:g} to {high:g}"
        for name, low, high in zip(space.names, space.low, space.high, strict=True)
    )
    lines += [f"- labels: {', '.join(box)}", f"- spectra that corrected its errors: {done.spectra:,}"]
    lines += [f"- seed of the spectra: {done.source.get('seed')}", f"- date: {done.date}", ""]
    lines += ["| label | 68 % holds, % | 95 % holds, % | RMSE |", "|---|---|---|---|"]
    for label, scores in done.scores.items():
        held = (
            f"{100 * change.after:.1f} (was {100 * change.before:.1f})"
            for change in (scores.coverage_68, scores.coverage_95)
        )
        error = f"{scores.rmse.after:.4g} (was {scores.rmse.before:.4g})"
        lines.append(f"| {label} | {' | '.join(held)} | {error} |")
    lines += ["", f"On {done.measured_spectra:,} further spectra of these stars, which corrected nothing."]
    return lines


def _in_words(value: object) -> str:
    """Return a field of a world as text; ranges by name as "log_g 4 to 5"."""
    if not isinstance(value, Mapping):
        return f"{value}"
    ends = {
        name: " to ".join(map(str, part)) if isinstance(part, list | tuple) else part
        for name, part in value.items()
        if part is not None
    }
    return ", ".join(f"{name} {text}" for name, text in ends.items())
