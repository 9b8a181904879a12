"""Whether a network agrees with the fit on spectra that both were given. Owns what "agrees" means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from specvit.stellar.parameters import StellarParameters

#: Spectra of a setup that both are given, and the fewest that say anything.
CHECKED, FEWEST = 24, 5
#: Labels that have to agree.
LABELS = ("teff", "log_g", "m_h")
#: Largest median of |difference| / σ and of difference / σ, σ of both in quadrature; 0.67 and 0 would be independent
#: normal errors, and errors of the same noise are not independent: they differ by less.
TYPICAL, OFFSET = 1.35, 1.0
#: Largest median of the network's errors over the fit's: one that has learnt nothing states errors so large that it
#: contradicts nobody.
WIDER = 2.5


@dataclass(frozen=True)
class Agreement:
    """Network against fit.

    Args:
        checked: how many spectra.
        typical: label -> median of |network - fit| over both errors in quadrature.
        offset: label -> median of (network - fit), in the label's unit.
        biased: label -> the same over both errors.
        wider: label -> median of the network's error over the fit's.
    """

    checked: int
    typical: dict[str, float]
    offset: dict[str, float]
    biased: dict[str, float]
    wider: dict[str, float] = field(default_factory=dict)

    @property
    def is_as_sure(self) -> bool:
        """Whether the network knows about as much as the fit."""
        return all(value <= WIDER for value in self.wider.values())

    @property
    def holds(self) -> bool:
        """Whether the network may answer."""
        return (
            self.checked >= FEWEST
            and all(value <= TYPICAL for value in self.typical.values())
            and all(abs(value) <= OFFSET for value in self.biased.values())
            and self.is_as_sure
        )

    def describe(self) -> str:
        """Return one line for people."""
        if self.checked < FEWEST:
            return f"{self.checked} spectra are in domain, too few to check the network: the fit answers"
        parts = ", ".join(
            f"{label} {self.offset[label]:+.0f} K ({value:.1f} σ)"
            if label == "teff"
            else f"{label} {self.offset[label]:+.2f} ({value:.1f} σ)"
            for label, value in self.typical.items()
        )
        verdict = "the network answers" if self.holds else "they disagree, the fit answers"
        if not self.is_as_sure:
            label, ratio = max(self.wider.items(), key=lambda item: item[1])
            verdict = f"its errors of {label} are {ratio:.1f} times the fit's, the fit answers (more --updates may help)"
        return f"network against fit on {self.checked} spectra: {parts}; {verdict}"

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {
            "checked": self.checked,
            "typical": self.typical,
            "offset": self.offset,
            "wider": self.wider,
            "holds": self.holds,
        }


def compared(network: Sequence[StellarParameters], fit: Sequence[StellarParameters]) -> Agreement:
    """Return how the two agree on the same stars."""
    typical, offset, biased, wider = {}, {}, {}, {}
    for label in LABELS:
        pairs = [(a, b) for a, b in zip(network, fit, strict=True) if label in a.labels]
        if not pairs:
            continue
        off = np.array([a.labels[label] - b.labels[label] for a, b in pairs])
        pull = off / np.array([np.hypot(a.errors[label], b.errors[label]) for a, b in pairs])
        typical[label] = float(np.median(np.abs(pull)))
        offset[label], biased[label] = float(np.median(off)), float(np.median(pull))
        wider[label] = float(np.median([a.errors[label] / b.errors[label] for a, b in pairs]))
    return Agreement(len(network), typical, offset, biased, wider)
