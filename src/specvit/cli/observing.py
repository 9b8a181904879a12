"""Options that say how stars are observed: magnitudes and conditions, the same for every command that takes them."""

from __future__ import annotations

from typing import Annotated

import typer

Magnitudes = Annotated[str, typer.Option(help="Magnitudes: 20, 18,20,22 or FIRST:LAST[:STEP].")]
Seeing = Annotated[float | None, typer.Option(help="arcsec FWHM; default: the instrument's.")]
ZenithAngle = Annotated[float | None, typer.Option(help="deg")]
FieldAngle = Annotated[float | None, typer.Option(help="deg")]
Moon = Annotated[float | None, typer.Option(help="Lunar phase, 0 is dark.")]
ExposureTime = Annotated[float | None, typer.Option(help="s")]
ExposureCount = Annotated[float | None, typer.Option(help="Number of exposures.")]


def stated(**conditions: float | None) -> dict[str, float]:
    """Return the conditions that were given; the instrument knows the others."""
    return {name: value for name, value in conditions.items() if value is not None}
