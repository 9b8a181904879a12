"""The pipeline as a diagram: what is simulated, what estimators are shown, and what they are judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from specvit.report.palette import CEILING_BAND, INK, MODEL_COLOURS, MUTED
from specvit.report.style import house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Inches.
WIDTH, HEIGHT = 7.0, 3.4
#: Half the size of a box, in shares of the figure.
HALF_WIDTH, HALF_HEIGHT = 0.105, 0.095


class Step(NamedTuple):
    """A box: where its centre lies (shares of the figure), what it is called, and what it does."""

    x: float
    y: float
    name: str
    does: str


#: One box each, by the name that arrows use.
STEPS = {
    "library": Step(0.12, 0.82, "Library", "synthetic spectra\nat nodes of the labels"),
    "emulator": Step(0.375, 0.82, "Emulator", "flux at any labels,\nwith derivatives"),
    "instrument": Step(0.63, 0.82, "Instrument", "line spread, pixels,\nthroughput"),
    "noise": Step(0.885, 0.82, "Noise", "photons of star and sky,\ndetector"),
    "seen": Step(0.885, 0.48, "What is seen", "flux, and the sigma\nof a pipeline"),
    "estimators": Step(0.63, 0.48, "Estimators", "linear, trees, networks,\nexperts, template fits"),
    "posterior": Step(0.375, 0.48, "Exact posterior", "of each test star:\nBayes ceiling"),
    "bounds": Step(0.12, 0.48, "Fisher matrix", "of each test star:\nCramér-Rao bound"),
    "excess": Step(0.63, 0.14, "Excess risk", "(estimate - posterior mean)²,\nstar by star"),
    "verdict": Step(0.375, 0.14, "Verdict", "declared rule against\nintervals over seeds, stars"),
    "views": Step(0.12, 0.14, "Hub and paper", "tables, figures, roadmap,\nmade of verdicts"),
}
#: From what to what something is handed.
ARROWS = (
    ("library", "emulator"),
    ("emulator", "instrument"),
    ("instrument", "noise"),
    ("noise", "seen"),
    ("seen", "estimators"),
    ("emulator", "posterior"),
    ("emulator", "bounds"),
    ("estimators", "excess"),
    ("posterior", "excess"),
    ("excess", "verdict"),
    ("verdict", "views"),
)
#: What knows the world, which estimators do not.
ORACLES = ("posterior", "bounds")


def draw_pipeline() -> Figure:
    """Return the diagram."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    with house_style():
        figure = Figure(figsize=(WIDTH, HEIGHT))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_axis_off()
        for start, end in ARROWS:
            arrow = FancyArrowPatch(
                *_between(STEPS[start], STEPS[end]),
                arrowstyle="-|>",
                mutation_scale=9,
                color=MUTED,
                linewidth=1,
            )
            axes.add_patch(arrow)
        for name, step in STEPS.items():
            low = step.x - HALF_WIDTH, step.y - HALF_HEIGHT
            box = FancyBboxPatch(
                low,
                2 * HALF_WIDTH,
                2 * HALF_HEIGHT,
                boxstyle="round,pad=0,rounding_size=0.015",
                facecolor=CEILING_BAND if name in ORACLES else "white",
                edgecolor=MODEL_COLOURS[0],
                linewidth=1,
            )
            axes.add_patch(box)
            axes.text(
                step.x,
                step.y + 0.055,
                step.name,
                ha="center",
                va="center",
                color=INK,
                fontsize=8.5,
                weight="bold",
            )
            axes.text(step.x, step.y - 0.03, step.does, ha="center", va="center", color=INK, fontsize=6.5)
    return figure


def _between(start: Step, end: Step) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return where an arrow leaves one box and reaches another: side by side, or one above the other."""
    if start.y == end.y:
        side = HALF_WIDTH if end.x > start.x else -HALF_WIDTH
        return (start.x + side, start.y), (end.x - side, end.y)
    return (start.x, start.y - HALF_HEIGHT), (end.x, end.y + HALF_HEIGHT)
