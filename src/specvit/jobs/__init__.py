"""Jobs that produce run folders: the main job behind `specvit run`."""

from specvit.jobs.main_job import run_main_job
from specvit.jobs.progress import Progress, Quiet

__all__ = ["Progress", "Quiet", "run_main_job"]
