"""What `specvit predict` prints: one row per star, then assumptions and refusals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from specvit.cli.screen import Screen, print_table
from specvit.cli.terminal import say

if TYPE_CHECKING:
    from specvit.stellar import Refusal, StellarParameters

#: Lines of assumptions and refusals that are printed; the table has all.
MOST_LINES = 20


def print_found(found: Sequence[StellarParameters | Refusal]) -> None:
    """Print a table of the stars, then what was assumed and what was refused, each once."""
    from specvit.stellar import Refusal

    heads = ("star", "Teff (K)", "log g", "[M/H]", "[α/M]", "velocity (km/s)", "χ²/dof", "S/N", "flags")
    table = Table(*heads, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in table.columns[1:-1]:
        column.justify = "right"
    notes: dict[str, int] = {}
    for one in found:
        if isinstance(one, Refusal):
            notes[f"refused: {one.reason}"] = 1
            continue
        cells = [
            f"{one.labels[name]:.{digits}f} ± {one.total_errors[name]:.{digits}f}"
            if name in one.labels
            else ""
            for name, digits in (("teff", 0), ("log_g", 2), ("m_h", 2), ("alpha_m", 2))
        ]
        table.add_row(
            one.name,
            *cells,
            f"{one.velocity:.1f} ± {one.velocity_error:.1f}",
            f"{one.chi2:.2f}",
            f"{one.snr:.0f}",
            " ".join(one.flags),
        )
        for note in one.assumptions:
            notes[f"assumed: {note}"] = notes.get(f"assumed: {note}", 0) + 1
    if table.row_count:
        print_table(Screen(), table)
    for note, count in list(notes.items())[:MOST_LINES]:
        say(f"{note} ({count} spectra)" if count > 1 else note)
    if len(notes) > MOST_LINES:
        say(f"... and {len(notes) - MOST_LINES} lines more; --out has them all")
