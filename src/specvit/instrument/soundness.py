"""Whether an instrument's values, each allowed, also go together: finite noise under all conditions it states.

One look when an instrument is built, at the ends of its conditions and at the nodes of its tables between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from specvit.errors import ConfigError

if TYPE_CHECKING:
    from specvit.instrument.instrument import Instrument

#: Of sigma and of S/N: squares of both are formed in float32, which ends at 3e38 and loses digits below 1e-38.
SMALLEST, LARGEST = 1e-15, 1e15
#: Spectra looked at together; bounds the memory for instruments of a million pixels.
ELEMENTS = 1 << 22

STAR = ("object.area", "object.throughput", "object.trace_fraction", "object.transmission", "object.extinction",
        "object.aperture", "object.vignetting", "object.obscuration", "conditions.mag", "conditions.exposure_time",
        "conditions.exposure_count", "conditions.field_angle")  # fmt: skip
SKY = ("sky.background", "sky.line_rate", "sky.continuum", "sky.moon", "sky.solid_angle", "sky.fibre_radius_um",
       "sky.focal_length", "sky.extinction", "detector.sky_floor", "detector.variance_factor", "object.area",
       "conditions.exposure_time", "conditions.exposure_count")  # fmt: skip
DETECTOR = ("detector.read_noise", "detector.dark", "detector.width", "detector.stray", "detector.trace_pitch_pix",
            "detector.variance_factor", "conditions.exposure_time", "conditions.exposure_count")  # fmt: skip


def check_noise(instrument: Instrument) -> None:
    """Raise unless sigma and S/N of a flat-AB source are finite and positive wherever the file says it is used.

    Raises:
        ConfigError: names the file, the pixel, the conditions, and the fields that can be at fault.
    """
    pixels = instrument.grid.size
    _check_shapes(instrument)
    flux = torch.from_numpy(instrument.flat_source()).float()
    conditions = _corners(instrument)
    count, step = len(conditions["mag"]), max(1, ELEMENTS // pixels)
    for start in range(0, count, step):
        some = {name: value[start : start + step] for name, value in conditions.items()}
        for shape in (flux, instrument.continuum.float()):
            _check_some(instrument, shape, some)


def _check_shapes(instrument: Instrument) -> None:
    """Raise unless the flat source and the pipeline's continuum are finite, positive numbers in every pixel."""
    shapes = {
        "band.blue, band.red": instrument.flat_source(),
        "pipeline.continuum_temperature": instrument.continuum.numpy(),
    }
    for keys, values in shapes.items():
        wrong = instrument.live & ~((values > SMALLEST) & (values < LARGEST))
        if wrong.any():
            at = int(np.argmax(wrong))
            wavelength = instrument.grid.wavelength[at]
            raise ConfigError(
                f"{instrument.file}: the spectrum of {keys} is {values[at]:g} in pixel {at} ({wavelength:g} Å), "
                "expected a positive number; give values that fit the grid"
            )


def _check_some(instrument: Instrument, flux: Tensor, conditions: dict[str, Tensor]) -> None:
    terms = instrument.noise_terms(conditions)
    sigma = terms.sigma(flux.expand_as(terms.response))
    snr = flux / sigma
    good = (sigma > SMALLEST) & (sigma < LARGEST) & (snr > SMALLEST) & (snr < LARGEST)
    # A dead pixel is one with infinite sigma, under all conditions.
    good |= torch.from_numpy(~instrument.live) & torch.isinf(sigma)
    if bool(good.all()):
        return
    row, pixel = (int(at) for at in (~good).nonzero()[0])
    fault = _Fault(
        star=float(flux[pixel] * terms.response[row, pixel]),
        variance=float(terms.variance[row, pixel]),
        constant=float(instrument.noise.multipliers(conditions, torch.float32).constant[row]),
    )
    at = ", ".join(f"{name} {float(conditions[name][row]):g}" for name in instrument.conditions.ranges)
    raise ConfigError(
        f"{instrument.file}: S/N is {float(snr[row, pixel]):.3g} and sigma {float(sigma[row, pixel]):.3g} in pixel "
        f"{pixel} ({instrument.grid.wavelength[pixel]:g} Å) for {at}; expected {SMALLEST:g} to {LARGEST:g}: "
        f"{fault.words} there, look at {', '.join(_stated(instrument, fault.keys))}"
    )


@dataclass(frozen=True)
class _Fault:
    """What the noise of one pixel is made of: electrons of the star, variance besides, e², and its constant part."""

    star: float
    variance: float
    constant: float

    @property
    def keys(self) -> tuple[str, ...]:
        """The fields that can be at fault."""
        if not SMALLEST < self.star < LARGEST:
            return STAR
        if not np.isfinite(self.constant):
            return tuple(dict.fromkeys(SKY + DETECTOR))
        return DETECTOR if self.constant > self.variance / 2 else SKY

    @property
    def words(self) -> str:
        """What is wrong."""
        if self.keys is STAR:
            return f"the star gives {self.star:.3g} electrons"
        return f"the variance besides the star's is {self.variance:.3g} e²"


def _stated(instrument: Instrument, keys: tuple[str, ...]) -> list[str]:
    """Return those of `keys` that the file states: a default is not at fault."""
    sections = {key: getattr(instrument.settings, key.split(".")[0]) for key in keys}
    stated = [
        key
        for key, section in sections.items()
        if section is not None and key.split(".")[1] in section.model_fields_set
    ]
    return [*(["noise"] if instrument.settings.noise is not None else []), *stated] or list(keys)


def _corners(instrument: Instrument) -> dict[str, Tensor]:
    """Return the conditions at all combinations of their ends, and at every node of a table with the first of each.

    Between nodes the formula is linear in seeing, field angle and moon, and monotonic in the others.
    """
    ranges = instrument.conditions.ranges
    ends = [dict.fromkeys(bounds) for bounds in ranges.values()]
    rows = list(product(*ends))
    lowest = tuple(low for low, _ in ranges.values())
    for at, (name, (low, high)) in enumerate(ranges.items()):
        inner = [node for node in _nodes(instrument, name) if low < node < high]
        rows += [(*lowest[:at], node, *lowest[at + 1 :]) for node in inner]
    return {name: torch.tensor(column) for name, column in zip(ranges, zip(*rows, strict=True), strict=True)}


def _nodes(instrument: Instrument, condition: str) -> Iterator[float]:
    noise = instrument.noise
    tables = {
        "seeing": (noise.seeing_64,),
        "field_angle": (noise.field_angle_64, noise.vignetting_angle_64, noise.focal_angle_64),
        "moon": (noise.moon_phase_64,),
    }
    for nodes in tables.get(condition, ()):
        assert isinstance(nodes, Tensor)
        yield from nodes.tolist()
