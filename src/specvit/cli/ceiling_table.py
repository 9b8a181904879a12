"""How `specvit ceiling` prints a sweep: as a table, or as JSON. Computes nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from specvit.cli.terminal import show, show_json
from specvit.limits import PUBLISHED_VARIANCE, PublishedRow, SweepRow, published_row

HEADS = (
    "mag",
    "S/N",
    "R²max",
    "mean",
    "p10",
    "p90",
    "shrunk",
    "=0 %",
    "σ p10",
    "σ med",
    "σ p90",
    "Schur",
    "cond.",
)


def print_json(facts: dict[str, Any], rows: list[SweepRow], published: int | None) -> None:
    """Print facts and rows as one JSON object, with the published rows of the same magnitudes if wanted.

    Args:
        facts: what was computed.
        rows: one per magnitude.
        published: number of free labels of the published table to show, or None.
    """
    # JSON knows no infinity; null says "not bounded".
    table = [row.to_dict() for row in rows]
    theirs = [published_row(published, row.mag) for row in rows] if published else []
    beside = {"published": [asdict(row) for row in theirs if row]} if published else {}
    show_json({**facts, "rows": table, **beside})


def print_table(facts: dict[str, Any], rows: list[SweepRow], published: int | None) -> None:
    """Print one line per magnitude, the published one below it if wanted; arguments as `print_json`."""
    from rich import box
    from rich.table import Table

    from specvit.cli.screen import Screen
    from specvit.cli.screen import print_table as print_whole

    order = facts["continuum_order"]
    nuisances = ["flux known" if order is None else f"continuum of order {order}"]
    nuisances += [name for name in ("velocity", "line_width") if facts[name]]
    show(
        f"{facts['label']} with {facts['instrument']}: {facts['stars']} stars ({facts['drawn_from']}); "
        f"free: {', '.join(facts['free_labels'])}; {', '.join(nuisances)}; "
        f"prior variance {facts['prior_variance']:.4f}"
    )
    table = Table(*HEADS, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in table.columns:
        column.justify = "right"
    for row in rows:
        table.add_row(*_cells(row))
        theirs = published_row(published, row.mag) if published else None
        if theirs is not None:
            table.add_row(*_published_cells(theirs), style="dim")
    print_whole(Screen(), table)
    if published:
        show(
            "pub.: as published, BOSZ spectra on their grid nodes, PFS red arm in medium resolution, "
            f"12 x 900 s, prior variance {PUBLISHED_VARIANCE}"
        )
    singular = max(row.singular for row in rows)
    if singular:
        show(f"{singular} stars have degenerate labels (singular Fisher matrix); they count as R2max = 0")
    if "out" in facts:
        show(f"{facts['rows_written']:,} rows written to {facts['out']}")


def _cells(row: SweepRow) -> list[str]:
    r2 = (row.r2_median, row.r2_mean, row.r2_p10, row.r2_p90, row.r2_shrunk_mean)
    sigma = (row.sigma_p10, row.sigma_median, row.sigma_p90)
    return [
        f"{row.mag:g}",
        f"{row.snr:.1f}",
        *(f"{value:.4f}" for value in r2),
        f"{100 * row.zero_fraction:.1f}",
        *(f"{value:.3g}" for value in sigma),
        f"{row.schur_median:.4f}",
        f"{row.condition_median:.1e}",
    ]


def _published_cells(row: PublishedRow) -> list[str]:
    r2 = (row.r2_median, row.r2_mean, row.r2_p10, row.r2_p90)
    sigma = (row.sigma_p10, row.sigma_median, row.sigma_p90)
    return [
        "pub.",
        f"{row.snr:.1f}",
        *("-" if value is None else f"{value:.4f}" for value in r2),
        "-",
        "-",
        *("-" if value is None else f"{value:.3g}" for value in sigma),
        f"{row.schur_median:.4f}",
        "-",
    ]
