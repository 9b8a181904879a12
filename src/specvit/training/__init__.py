"""One training engine for every network and every objective."""

from specvit.training.distributed import Processes, join_processes
from specvit.training.engine import Listener, Trainer
from specvit.training.feeds import Feed, Share, make_feed
from specvit.training.objectives import LabelRegression, Objective
from specvit.training.recipe import Recipe

__all__ = [
    "Feed",
    "LabelRegression",
    "Listener",
    "Objective",
    "Processes",
    "Recipe",
    "Share",
    "Trainer",
    "join_processes",
    "make_feed",
]
