"""The page of one star: what was found, the spectrum, the posterior, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from specvit.report.plain_page import PageTable, render_page
from specvit.report.style import to_data_uri
from specvit.report.words import label_name, number
from specvit.starlist.figure import corner_figure, digits_of, spectrum_figure
from specvit.stellar import FLAGS, FittedSpectrum, StellarParameters
from specvit.stellar.mask_cost import MaskCost

#: Below every page.
FOOTER = "Flags and errors are explained in docs/predict.md of specvit."


def star_page(
    star: StellarParameters,
    fitted: FittedSpectrum,
    masks: Mapping[str, Any],
    costs: Mapping[str, MaskCost],
    advice: Sequence[str],
    provenance: Mapping[str, Any],
) -> str:
    """Return the page of one star.

    Args:
        star, fitted: what was found.
        masks: name -> pixels that it leaves out, shape (L,), bool.
        costs: name of a mask -> its cost.
        advice: which library to take instead.
        provenance: what a table says of where it is from.
    """
    flags = [f"{flag}: {FLAGS[flag]}" for flag in star.flags if flag in FLAGS]
    figures = [
        (
            "Spectrum and best template",
            to_data_uri(spectrum_figure(star, fitted, masks, title=False)),
            "Flux over its median, and below the residual over the flux. Shaded is what the fit leaves out.",
        ),
        (
            "Posterior",
            to_data_uri(corner_figure(star)),
            "Normal approximation about the best minimum: 68 and 95 % (statistical errors). Crosses are other minima "
            "within 95 %.",
        ),
    ]
    return render_page(
        title=star.name,
        above=f"specvit predict, {star.source}",
        numbers=_numbers(star),
        findings=[*flags, *advice] or ["No flag was raised."],
        figures=figures,
        tables=[*_minima_table(star), *cost_table(costs)],
        facts=_facts(star, provenance),
        footer=FOOTER,
    )


def _numbers(star: StellarParameters) -> list[tuple[str, str, str]]:
    shown = []
    for label, value in star.labels.items():
        digits, missing = digits_of(label), star.systematic.get(label)
        small = f"± {number(star.total_errors[label], digits)}"
        if missing is not None:
            small += f" ({number(star.errors[label], digits)} statistical)"
        shown.append((label_name(label) + (", K" if label == "teff" else ""), number(value, digits), small))
    shown.append(
        (
            "velocity, km/s",
            number(star.velocity, 1),
            f"± {number(star.velocity_error, 1)}, {star.frame} frame",
        )
    )
    shown.append(("χ² per degree of freedom", number(star.chi2, 2), f"{star.pixels} pixels"))
    shown.append(("S/N per pixel", number(star.snr, 0), "median of what was fitted"))
    return shown


def _minima_table(star: StellarParameters) -> list[PageTable]:
    if len(star.minima) < 2:
        return []
    head = ("Δχ²", "velocity", *(label_name(label) for label in star.labels))
    rows = [
        [
            number(one.excess, 1),
            number(one.velocity, 1),
            *(number(one.values[label], digits_of(label)) for label in star.labels),
        ]
        for one in star.minima
    ]
    return [PageTable("All minima", "Δχ² with priors, in units of what the noise makes of 1.", head, rows)]


def cost_table(costs: Mapping[str, MaskCost]) -> list[PageTable]:
    """Return the table of what masks cost, none without masks."""
    if not costs:
        return []
    labels = list(next(iter(costs.values())).ratio)
    rows = [
        [name, number(one.angstroms, 0), *(f"x {number(one.ratio[label], 2)}" for label in labels)]
        for name, one in costs.items()
    ]
    caption = (
        "By how much the error of a label (Fisher matrix at the best fit, other labels, velocity, line width and "
        "continuum free) is larger with a mask than without it, all others in place."
    )
    return [PageTable("What masks cost", caption, ("mask", "Å", *map(label_name, labels)), rows)]


def _facts(star: StellarParameters, provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("Form", f"{star.form}; wavelengths in {star.medium}, {star.frame} frame"),
        ("Resolution", f"{star.resolution:.0f}, line width {star.width:.2f} ± {star.width_error:.2f} of it"),
        *(("Assumed", line) for line in star.assumptions),
        *((key, f"{value}") for key, value in star.facts.items()),
        *((key, f"{value}") for key, value in provenance.items()),
    ]
    return facts
