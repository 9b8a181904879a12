"""Which library to take for a star that lies beyond the one it was fitted with, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from specvit.report.words import label_name
from specvit.spectra import LabelSpace
from specvit.stellar.flags import FACE, LARGEST_SIGMA


class PublishedLibrary(NamedTuple):
    """A published library: its range, and how one gets a part of it; `{limit}` is where the part is named."""

    title: str
    limits: Mapping[str, tuple[float, float]]
    get: str


#: In the order they are recommended: what can be downloaded by a command first.
PUBLISHED = (
    PublishedLibrary(
        "BOSZ 2024 (Mészáros et al. 2024, A&A 688, A197)",
        {"teff": (2800.0, 16_000.0), "log_g": (-0.5, 5.5), "m_h": (-2.5, 0.75)},
        "`specvit library download bosz --folder bosz --resolution 20000 --limit {limit}`, `specvit library import`, "
        "`specvit library build`, then --library",
    ),
    PublishedLibrary(
        "PHOENIX (Husser et al. 2013, A&A 553, A6)",
        {"teff": (2300.0, 12_000.0), "log_g": (0.0, 6.0), "m_h": (-4.0, 1.0)},
        "from phoenix.astro.physik.uni-goettingen.de, `specvit library import`, `specvit library build`, then --library",
    ),
)
#: By how much a part of a library should go beyond the edge on both sides.
REACH = {"teff": 1500.0, "log_g": 1.0, "m_h": 1.0}
_BEYOND = {
    ("teff", False): "cooler",
    ("teff", True): "hotter",
    ("log_g", False): "of lower log g",
    ("log_g", True): "of higher log g",
    ("m_h", False): "poorer in metals",
    ("m_h", True): "richer in metals",
}


def advice_for(labels: Mapping[str, float], space: LabelSpace) -> list[str]:
    """Return one sentence per label that ended on the edge of the library: what the star may be, and what to take."""
    sentences = []
    for name in LARGEST_SIGMA:
        if name not in labels or name not in space.names:
            continue
        at = space.index(name)
        low, high = space.low[at], space.high[at]
        place = (labels[name] - low) / (high - low)
        if FACE < place < 1 - FACE:
            continue
        is_upper = place > 0.5
        sentences.append(_sentence(name, high if is_upper else low, is_upper))
    return sentences


def _sentence(name: str, edge: float, is_upper: bool) -> str:
    unit = " K" if name == "teff" else ""
    said = f"{label_name(name)} ended at {edge:g}{unit}, the edge of the library: the star may be {_BEYOND[name, is_upper]}"
    for library in PUBLISHED:
        low, high = library.limits[name]
        if (edge < high - FACE * (high - low)) if is_upper else (edge > low + FACE * (high - low)):
            part = (max(low, edge - REACH[name]), min(high, edge + REACH[name]))
            get = library.get.format(limit=f"{name}={part[0]:g}:{part[1]:g}")
            return f"{said}; {library.title} goes to {high if is_upper else low:g}{unit}: {get}"
    return f"{said}; no library that is known here goes further"
