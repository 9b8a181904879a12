"""Studies: experiments that are declared before they are run, shared runs, and verdicts by their own rules."""

from specvit.studies.judge import judge
from specvit.studies.plan import Plan, Task, make_plan
from specvit.studies.programme import Progress, is_of_now, run_studies, scaled_studies
from specvit.studies.rule import parse_rule
from specvit.studies.schema import SCALES, Study, choose_studies, read_scale, read_studies, read_study
from specvit.studies.store import Store
from specvit.studies.variants import ScaledStudy, Variant, at_scale

__all__ = [
    "SCALES",
    "Plan",
    "Progress",
    "ScaledStudy",
    "Store",
    "Study",
    "Task",
    "Variant",
    "at_scale",
    "choose_studies",
    "is_of_now",
    "judge",
    "make_plan",
    "parse_rule",
    "read_scale",
    "read_studies",
    "read_study",
    "run_studies",
    "scaled_studies",
]
