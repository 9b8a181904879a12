"""The library shipped with specvit: LTE spectra of cool stars, 7000-8950 Å. Owns where it lies."""

from __future__ import annotations

from importlib import resources

from specvit.library.synthetic_library import SyntheticLibrary

BUILTIN_LIBRARY = "lte_r20000.h5"


def load_builtin() -> SyntheticLibrary:
    """Return the built-in library (2098 spectra, 5 labels, R = 20000, vacuum), decoded to float32.

    Raises:
        DataError: if the packaged file is damaged.
    """
    with resources.as_file(resources.files("specvit.library") / "data" / BUILTIN_LIBRARY) as path:
        return SyntheticLibrary.load(path)
