"""The table of what a network looks at: shares of groups of lines, for all and for cool and hot stars."""

from __future__ import annotations

import numpy as np

from specvit.report.tables import Cell, Table
from specvit.report.words import count, label_name, number
from specvit.runs import Explanation, Score

#: Quantity of `Explanation` -> head of its column.
HEADS = {
    "fisher": "Fisher",
    "response": "response",
    "ig": "|IG|",
    "rollout": "rollout",
    "attention": "attention",
}


def explain_table(found: Explanation) -> Table:
    """Return one row per range of stars and group of lines: shares in %, with 95 % intervals over stars."""
    quantities = [str(name) for name in found.quantities]
    shown = [name for name in HEADS if name in quantities]
    columns = [quantities.index(name) for name in shown]
    rows: list[tuple[Cell, ...]] = []
    for r, stars in enumerate(found.ranges):
        for w, window in enumerate(found.windows):
            pixels = 100 * float(np.mean(found.window == w))
            shares = [_percent(found.share[q, r, w]) for q in columns]
            rows.append((str(stars), str(window), pixels, *shares))
        likeness = [Score(value=float(found.likeness[q, r])) for q in columns]
        rows.append((str(stars), "likeness", None, *likeness))
    head = ("stars", "lines", "pixels [%]", *(f"{HEADS[name]} [%]" for name in shown))
    return Table("explain", explain_caption(found), head, tuple(rows))


def explain_caption(found: Explanation) -> str:
    """Return what the shares are of, over which sample, and how well the contributions add up."""
    snr = np.quantile(found.snr, (0.1, 0.5, 0.9))
    low, middle, high = (number(float(value), 1) for value in snr)
    return (
        f"What {found.model} looks at for {label_name(str(found.target))}, "
        f"{count(len(found.snr))} test spectra (S/N median {middle}, 10–90 % {low} to {high}; median over "
        "pixels of noise-free flux / true sigma), each counting the same. Intervals are 95 % of the mean "
        "over spectra. Likeness is the correlation with the Fisher information over pixels, both smoothed "
        "to 15 Å. Response: share of a pixel's noise in the variance of the estimate, (∂estimate/∂flux · σ)²; "
        f"IG: integrated gradients, which miss {100 * float(found.gap):.1f} % of the change of the estimate."
    )


def _percent(share: np.ndarray) -> Score:
    value, low, high = (100 * float(part) if np.isfinite(part) else None for part in share)
    return Score(value=value, low=low, high=high)
