"""Jobs that produce run folders: the main job behind `specvit run`."""

from specvit.studies.main_job import run_main_job
from specvit.studies.progress import Progress, Quiet

__all__ = ["Progress", "Quiet", "run_main_job"]
