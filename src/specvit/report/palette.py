"""How each model looks in every figure of a run: colour, marker and line, told apart without colour too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from specvit.runs import Summary

#: Okabe & Ito's palette (2008) without black and yellow, then the brown and the violet that lie furthest from
#: it under simulated protanopia, deuteranopia and tritanopia. In the order models are given colours.
MODEL_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"),
    *("#592c00", "#4300cc"),
)
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "h")
#: Families that fit the simulated world itself instead of learning from its spectra -> dashes.
DASHES: dict[str, Any] = {"template": (0, (4, 1.6)), "posterior": (0, (1, 1.2))}
#: Ceilings are neutral, models coloured.
INK = "#24292f"
MUTED = "#6e7781"
CEILING_BAND = "#e3e6ea"


@dataclass(frozen=True)
class Look:
    """The look of one model."""

    colour: str
    marker: str
    dashes: Any

    def line(self, size: float = 5.0) -> dict[str, Any]:
        """Return arguments of `Axes.plot` for a line with markers of `size` points."""
        hollow = self.dashes != "-"
        return {
            "color": self.colour,
            "linestyle": self.dashes,
            "marker": self.marker,
            "markersize": size,
            "markerfacecolor": "white" if hollow else self.colour,
            "markeredgecolor": self.colour if hollow else "white",
            "markeredgewidth": 1.2 if hollow else 0.8,
        }


def look_of(name: str, summary: Summary) -> Look:
    """Return the look of an estimator, by its place in the run and its family."""
    at = list(summary.estimators).index(name) % len(MODEL_COLOURS)
    return Look(MODEL_COLOURS[at], MARKERS[at], DASHES.get(summary.estimators[name].family, "-"))
