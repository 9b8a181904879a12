"""Names of the strong features between 7000 and 8900 Å, for marking figures; no line strengths, no physics.

Wavelengths are vacuum, Å. Atomic lines: air values of the NIST Atomic Spectra Database (Kramida et al.)
converted with Ciddor's index; Paschen lines from the Rydberg formula; TiO heads as they stand in the built-in
library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Rydberg constant of hydrogen, cm⁻¹.
#: R∞ / (1 + mₑ / mₚ).
RYDBERG_HYDROGEN = 109_677.583_4


@dataclass(frozen=True)
class Feature:
    """A named line or band head.

    Args:
        name: as printed in a figure, e.g. "Ca II".
        wavelength: centre of the line, or the blue edge of the band, Å in vacuum.
        kind: "atom", "hydrogen" or "band".
    """

    name: str
    wavelength: float
    kind: Literal["atom", "hydrogen", "band"]


def paschen_wavelength(upper: int) -> float:
    """Return the vacuum wavelength, Å, of the hydrogen line from level `upper` to 3: 1/λ = R (1/9 - 1/n²)."""
    return 1e8 / (RYDBERG_HYDROGEN * (1 / 9 - 1 / upper**2))


_ATOMS = {
    "Ca I": (7150.12, 7328.16),
    "K I": (7667.02, 7701.09),
    "O I": (7774.08,),
    "Na I": (8185.51, 8197.08),
    "Fe I": (8329.35, 8390.08, 8516.41, 8691.01, 8826.64),
    "Ti I": (8437.32,),
    "Ca II": (8500.36, 8544.44, 8664.52),
    "Mg I": (8738.42, 8809.18),
}
_BANDS = {"TiO": (7056.4, 7089.8, 7127.6, 7591.7, 7630.2)}

FEATURES: tuple[Feature, ...] = tuple(
    sorted(
        [
            *(Feature(name, at, "atom") for name, lines in _ATOMS.items() for at in lines),
            *(Feature(name, at, "band") for name, heads in _BANDS.items() for at in heads),
            *(Feature(f"Pa {n}", round(paschen_wavelength(n), 2), "hydrogen") for n in (11, 12, 14, 17)),
        ],
        key=lambda feature: feature.wavelength,
    )
)


def features_between(start: float, stop: float) -> tuple[Feature, ...]:
    """Return the features from `start` to `stop`, Å, in increasing wavelength."""
    return tuple(feature for feature in FEATURES if start <= feature.wavelength <= stop)
