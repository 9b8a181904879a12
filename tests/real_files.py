"""Real files in the formats users have, kept beside the checkout and not in it: tests that need them skip without."""

from pathlib import Path

import pytest


def real_folder(name: str) -> Path:
    """Return a folder of real data, which may not exist: `shared/data/NAME` beside a folder this one lies in."""
    places = [parent / "shared" / "data" / name for parent in Path(__file__).parents]
    return next((place for place in places if place.is_dir()), places[0])


FORMATS = real_folder("formats")
needs_formats = pytest.mark.skipif(not FORMATS.is_dir(), reason="the shared real files are not here")
