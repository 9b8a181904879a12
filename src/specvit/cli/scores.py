"""The scores of a job on the terminal: the same table for every job, from its summary alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from specvit.runs import Score, Summary


def print_scores(console: Console, summary: Summary) -> None:
    """Print the target's scores and ceilings, the other labels', and warnings.

    Of estimators above the ceiling, and of those that were trained in another world.
    """
    from rich.table import Table

    from specvit.cli.screen import print_table
    from specvit.runs import ALL

    spectra = summary.slices[ALL].spectra
    table = Table(title=f"{summary.target}: {spectra} test spectra")
    for name in ("", "R²", f"MAE ({summary.unit})", "efficiency"):
        table.add_column(name)
    for name in summary.estimating(summary.target):
        scores = (summary.score(name, metric) for metric in ("r2", "mae", "efficiency"))
        table.add_row(summary.estimators[name].title, *map(_text, scores))
    ceiling = summary.ceiling
    if ceiling is not None:
        if ceiling.exact:
            doubt = ", not converged" if ceiling.ceiling_converged is False else ""
            table.add_row(f"Bayes ceiling{doubt}", _text(ceiling.bayes[ALL]), "", "")
        for free in ceiling.sets:
            median = ceiling.spreads[ALL][f"r2_max_{free.at}"].median
            told = "-" if median is None else f"{median:.2f} median star"
            table.add_row(f"CRLB, {len(free.labels)} labels", told, "", "")
    print_table(console, table)
    others = [label for label in summary.labels if label != summary.target and summary.estimating(label)]
    if others:
        print_table(console, _other_labels(summary, others))
    for name, why in summary.left_out.items():
        console.print(f"slice '{name}' has no scores: {why}")
    for name, facts in summary.estimators.items():
        if facts.above_ceiling.get(summary.target):
            headroom = summary.score(name, "headroom")
            over = 0.0 if headroom is None or headroom.value is None else -headroom.value
            text = f"{facts.title} is above the Bayes ceiling, by {over:.3f} in R²: leakage or a bug"
            console.print(text, style="bold red")
        if facts.world_warning is not None:
            console.print(f"warning: {facts.world_warning}", style="bold red")


def print_flux_scores(console: Console, scores: dict[str, dict[str, float]]) -> None:
    """Print what is left of the noise, by slice."""
    from rich.table import Table

    from specvit.cli.screen import print_table

    table = Table(title="test stars")
    for name in (
        "",
        "mean squared error",
        "over that of the noisy flux",
        "mean error / sigma, over the noisy one's",
    ):
        table.add_column(name)
    for place, found in scores.items():
        table.add_row(place, *(f"{found[name]:.4g}" for name in ("mse", "mse_ratio", "wmae_ratio")))
    print_table(console, table)


def _other_labels(summary: Summary, others: list[str]) -> Table:
    from rich.table import Table

    from specvit.runs import ALL

    table = Table(title="R² of the other labels")
    table.add_column("")
    for label in others:
        table.add_column(label)
    for name, facts in summary.estimators.items():
        scores = [summary.score(name, "r2", label) for label in others]
        if any(score is not None for score in scores):
            table.add_row(facts.title, *map(_text, scores))
    ceilings = [summary.ceilings[label].bayes.get(ALL) for label in others if label in summary.ceilings]
    if any(ceiling is not None for ceiling in ceilings):
        table.add_row("Bayes ceiling", *map(_text, ceilings))
    return table


def _text(score: Score | None) -> str:
    if score is None or score.value is None:
        return "-"
    text = f"{score.value:.2f}"
    return text if score.low is None else f"{text} ({score.low:.2f}-{score.high:.2f})"
