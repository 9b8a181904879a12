"""Jobs that produce run folders: the survey behind `specvit run`, the training behind `specvit train`."""

from specvit.jobs.survey import run_survey
from specvit.jobs.training import run_training
from specvit.jobs.watch import Quiet, Watch

__all__ = ["Quiet", "Watch", "run_survey", "run_training"]
