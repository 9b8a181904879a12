"""Networks that come with specvit, trained and ready. Owns where they lie and how they are named."""

from __future__ import annotations

from pathlib import Path

from specvit.errors import DataError
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.models.manifest import MANIFEST

FOLDER = Path(__file__).parent / "bundles"


def pretrained_names() -> list[str]:
    """Return the names of the networks that come with specvit."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{MANIFEST}"))


def find_bundle(name: str | Path) -> Path:
    """Return the folder of a saved estimator given by path, or by the name of one that comes with specvit.

    Raises:
        DataError: if there is neither.
    """
    if str(name) in pretrained_names():
        return FOLDER / str(name)
    if (Path(name) / MANIFEST).is_file():
        return Path(name)
    raise DataError(
        f"{name}: neither the folder of a saved estimator (with a {MANIFEST}) nor one that comes with "
        f"specvit ({', '.join(pretrained_names())})"
    )


def load_pretrained(name: str) -> NetworkEstimator:
    """Return a network that comes with specvit, e.g. "subspace" or "vit".

    Raises:
        DataError: if there is none of that name, or its files were changed.
    """
    if name not in pretrained_names():
        raise DataError(f"{name}: no such network comes with specvit; choose {', '.join(pretrained_names())}")
    return NetworkEstimator.load(FOLDER / name)
