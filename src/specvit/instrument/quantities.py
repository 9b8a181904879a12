"""Quantities of an instrument file that may depend on wavelength or field: their three forms, and their ranges.

A number, the name of a table, or a curve of a few nodes. The range of a quantity holds for all three; that of a
table is checked when it is loaded (`tables`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, GetCoreSchemaHandler, Tag, model_validator
from pydantic_core import CoreSchema

from specvit.documents import Section

#: Wide enough for every condition and axis, small enough that squares and products stay finite.
Number = Annotated[float, Field(ge=-1e9, le=1e9)]
TableName = Annotated[str, Field(min_length=1, max_length=200)]
Axis = Annotated[list[Annotated[float, Field(ge=0, le=1e12)]], Field(max_length=100_000)]


class Nodes(Section):
    """A curve given at a few nodes and interpolated linearly; beyond the last node it is constant.

    Exactly one axis: `wavelength` in Å or `field_angle` in degrees.
    """

    wavelength: Axis | None = Field(default=None, description="wavelength of the nodes, Å")
    field_angle: Axis | None = Field(default=None, description="field angle of the nodes, deg")
    value: list[Annotated[float, Field(ge=-1e12, le=1e12)]] = Field(
        max_length=100_000, description="value at each node, in the unit of the quantity"
    )

    @model_validator(mode="after")
    def _check(self) -> Nodes:
        axes = [axis for axis in (self.wavelength, self.field_angle) if axis is not None]
        if len(axes) != 1:
            raise ValueError("needs exactly one axis, wavelength or field_angle")
        if len(axes[0]) != len(self.value) or len(self.value) < 2:
            raise ValueError(
                f"needs as many values as nodes, at least 2; got {len(axes[0])} and {len(self.value)}"
            )
        if any(b <= a for a, b in zip(axes[0], axes[0][1:], strict=False)):
            raise ValueError("its nodes must increase")
        return self


def _form(value: Any) -> str | None:
    forms: dict[type, str] = {int: "number", float: "number", str: "name", dict: "nodes", Nodes: "nodes"}
    return forms.get(type(value))


@dataclass(frozen=True)
class Quantity:
    """The range of a quantity, as an annotation of fields of type `float | str | Nodes`.

    Args:
        low, high: closed bounds, in `unit`.
        unit: for messages.
    """

    low: float
    high: float
    unit: str

    def problem(self, values: np.ndarray) -> str | None:
        """Return what is wrong with values of this quantity, with the index of the first; None if all are good."""
        wrong = ~((values >= self.low) & (values <= self.high))
        if not wrong.any():
            return None
        first = int(np.argmax(wrong))
        value = float(values.flat[first])
        if value < 0 <= self.low:
            return f"{value:g} at index {first} is negative"
        return f"{value:g} at index {first} is outside {self.low:g} to {self.high:g} {self.unit}".rstrip()

    def _check_nodes(self, nodes: Nodes) -> Nodes:
        if (problem := self.problem(np.array(nodes.value))) is not None:
            raise ValueError(f"value {problem}")
        return nodes

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        number = Annotated[float, Field(ge=self.low, le=self.high), Tag("number")]
        name = Annotated[str, Field(min_length=1, max_length=200), Tag("name")]
        nodes = Annotated[Nodes, AfterValidator(self._check_nodes), Tag("nodes")]
        expected = "a number, the name of a table, or { wavelength = [...], value = [...] }"
        choice = Discriminator(_form, "wrong_kind", f"expected {expected}")
        return handler.generate_schema(Annotated[number | name | nodes, choice])


#: From gamma rays to radio waves.
WAVELENGTH = Quantity(1e-2, 1e12, "Å")
Wavelength = Annotated[float, Field(ge=WAVELENGTH.low, le=WAVELENGTH.high)]
#: A share of light. Published tables exceed 1 by a percent where a model was interpolated.
FRACTION = Quantity(0.0, 1.1, "")
Fraction = Annotated[float | str | Nodes, FRACTION]
#: Ten magnitudes per airmass leave 1e-4 of the light: no spectrograph looks through more.
Extinction = Annotated[float | str | Nodes, Quantity(0.0, 10.0, "mag per airmass")]
#: Beyond this a pixel is full within a millisecond.
Rate = Annotated[float | str | Nodes, Quantity(0.0, 1e8, "e/s per pixel")]
#: The moonlit sky has 20, twilight 1e4.
BRIGHTNESS = Quantity(0.0, 1e9, "photon/s/m²/arcsec²/nm")
Brightness = Annotated[float | str | Nodes, BRIGHTNESS]
Width = Annotated[float | str | Nodes, Quantity(0.0, 1e6, "Å")]
ResolvingPower = Annotated[float | str | Nodes, Quantity(1.0, 1e7, "")]
#: Per pixel: 1e4 is the noise of a flat field.
SignalToNoise = Annotated[float | str | Nodes, Quantity(0.0, 1e6, "")]
#: The faintest star has 1e-20, the Sun 1e2.
FluxDensity = Annotated[float | str | Nodes, Quantity(1e-30, 1e6, "erg/s/cm²/Å")]
Electrons = Annotated[float | str | Nodes, Quantity(0.0, 1e30, "e")]
Variance = Annotated[float | str | Nodes, Quantity(0.0, 1e15, "e²")]
PixelWidth = Annotated[float | str | Nodes, Quantity(0.0, 1e4, "pixels")]
FocalLength = Annotated[float | str | Nodes, Quantity(1e-2, 1e5, "m")]
