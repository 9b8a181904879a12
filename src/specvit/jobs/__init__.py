"""Jobs: the survey behind `specvit run`, the training behind `specvit train`, `specvit calibrate`'s correction."""

from specvit.jobs.recalibration import NewStars, Recalibrated, recalibrate, simulated_stars, stored_stars
from specvit.jobs.survey import run_survey
from specvit.jobs.training import run_training
from specvit.jobs.watch import Quiet, Watch

__all__ = [
    "NewStars",
    "Quiet",
    "Recalibrated",
    "Watch",
    "recalibrate",
    "run_survey",
    "run_training",
    "simulated_stars",
    "stored_stars",
]
