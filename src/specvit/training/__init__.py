"""One training engine for every network."""

from specvit.training.engine import Listener, Trainer
from specvit.training.objectives import LabelRegression, Objective
from specvit.training.recipe import Recipe

__all__ = ["LabelRegression", "Listener", "Objective", "Recipe", "Trainer"]
