"""One training engine for every network."""

from specvit.training.engine import Listener, Trainer
from specvit.training.feeds import endless
from specvit.training.recipe import Recipe

__all__ = ["Listener", "Recipe", "Trainer", "endless"]
