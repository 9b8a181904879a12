"""One training engine for every network."""

from specvit.training.engine import Listener, Trainer
from specvit.training.estimators import NetworkFitter, make_estimator, split_options
from specvit.training.feeds import endless
from specvit.training.recipe import RECIPES, Recipe

__all__ = [
    "RECIPES",
    "Listener",
    "NetworkFitter",
    "Recipe",
    "Trainer",
    "endless",
    "make_estimator",
    "split_options",
]
