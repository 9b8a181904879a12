"""What `specvit predict` prints: one row per star, then assumptions and refusals."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan
from statistics import median
from typing import Any

from rich import box
from rich.table import Table

from specvit.cli.screen import Screen, print_table
from specvit.cli.terminal import say

#: Lines of assumptions and refusals that are printed; the table has all.
MOST_LINES = 20


def print_found(stars: Iterable[dict[str, Any]], most_rows: int | None = None) -> None:
    """Print a table of the stars, then what was assumed and what was refused, each once.

    Args:
        stars: as they are kept, see `starlist.tables`.
        most_rows: of the table; None for all.
    """
    heads = ("star", "Teff (K)", "log g", "[M/H]", "[α/M]", "velocity (km/s)", "χ²/dof", "S/N", "flags")
    table = Table(*heads, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in table.columns[1:-1]:
        column.justify = "right"
    notes: dict[str, int] = {}
    left_out = 0
    for star in stars:
        if "reason" in star:
            notes[f"refused: {star['reason']}"] = 1
            continue
        for kind, lines in (("beyond the library", star["advice"]), ("assumed", star["assumptions"])):
            for line in lines:
                notes[f"{kind}: {line}"] = notes.get(f"{kind}: {line}", 0) + 1
        if most_rows is not None and table.row_count >= most_rows:
            left_out += 1
            continue
        cells = [
            _label_cell(star, name, digits)
            for name, digits in (("teff", 0), ("log_g", 2), ("m_h", 2), ("alpha_m", 2))
        ]
        table.add_row(
            star["name"],
            *cells,
            f"{star['rv']:.1f} ± {star['rv_err']:.1f}",
            f"{star['chi2']:.2f}",
            f"{star['snr']:.0f}",
            " ".join(star["flags"]),
        )
    if table.row_count:
        print_table(Screen(), table)
    if left_out:
        say(f"... and {left_out} stars more")
    for note, count in list(notes.items())[:MOST_LINES]:
        say(f"{note} ({count} spectra)" if count > 1 else note)
    if len(notes) > MOST_LINES:
        say(f"... and {len(notes) - MOST_LINES} lines more; --out has them all")


def _label_cell(star: dict[str, Any], name: str, digits: int) -> str:
    """Return a label with its total error, and what it is on the known scale if that was asked for."""
    if name not in star:
        return ""
    found = f"{star[name]:.{digits}f} ± {star[f'{name}_total']:.{digits}f}"
    value = star.get(f"{name}_calibrated")
    if value is None:
        return found
    return f"{found}, calibrated " + ("outside" if isnan(value) else f"{value:.{digits}f}")


def print_mask_costs(stars: Iterable[dict[str, Any]]) -> None:
    """Print what every mask costs: the median over the stars it is in, and their number."""
    costs: dict[str, list[dict[str, Any]]] = {}
    for star in stars:
        for name, cost in star.get("mask_costs", {}).items():
            costs.setdefault(name, []).append(cost)
    heads = ("mask", "stars", "Å", "σ(Teff) x", "σ(log g) x", "σ([M/H]) x")
    table = Table(*heads, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, found in costs.items():
        ratios = (
            [cost["ratio"][label] for cost in found if label in cost["ratio"]]
            for label in ("teff", "log_g", "m_h")
        )
        table.add_row(
            name,
            str(len(found)),
            f"{median(cost['angstroms'] for cost in found):.0f}",
            *(f"{median(values):.2f}" if values else "" for values in ratios),
        )
    print_table(Screen(), table)
