"""One training engine for every network."""

from specvit.training.engine import Listener, Trainer
from specvit.training.feeds import endless
from specvit.training.objectives import LabelRegression, Objective
from specvit.training.recipe import RECIPES, Recipe

__all__ = ["RECIPES", "LabelRegression", "Listener", "Objective", "Recipe", "Trainer", "endless"]
