"""LightGBM itself, and the trees of a saved estimator: loaded late, and read only after the text was checked."""

from __future__ import annotations

from types import ModuleType
from typing import Any

# First: both bring an OpenMP runtime, and torch's has to be there before LightGBM's.
import torch  # noqa: F401

from specvit.errors import RunError, import_optional
from specvit.models.bundle import StoredBundle
from specvit.models.tree_text import TreeTextError, check_tree_text


def load_lightgbm() -> ModuleType:
    """Return the LightGBM module.

    Raises:
        MissingExtra: if it is not installed.
        RunError: if its library cannot be loaded; names the package that mends it.
    """
    try:
        return import_optional("lightgbm", None, "the LightGBM estimator")
    except OSError as error:
        raise RunError(
            f"lightgbm is installed but its library cannot be loaded ({error}); "
            "on Linux install its OpenMP runtime (`apt install libgomp1`), on macOS `brew install libomp`"
        ) from error


def read_trees(bundle: StoredBundle, name: str, features: int) -> Any:
    """Return the booster of `features` inputs in the text `name` of a saved estimator.

    Raises:
        DataError: if the text is missing, or not what LightGBM would have written.
    """
    if name not in bundle.texts:
        raise bundle.problem(f"no '{name}' among its files")
    lightgbm, text = load_lightgbm(), bundle.texts[name]
    try:
        check_tree_text(text, features)
        return lightgbm.Booster(model_str=text)
    except (TreeTextError, lightgbm.basic.LightGBMError) as error:
        raise bundle.problem(f"{name}: {error}") from error
