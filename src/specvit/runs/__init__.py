"""Run folders: one execution with its configuration, log, results and provenance; an index over many."""

from specvit.runs.atomic import write_atomic
from specvit.runs.folder import RunFolder
from specvit.runs.index import RunIndex
from specvit.runs.provenance import describe_machine
from specvit.runs.results import (
    CeilingResults,
    ModelResults,
    Score,
    SnrBins,
    Spread,
    Summary,
    check_arrays,
)

__all__ = [
    "CeilingResults",
    "ModelResults",
    "RunFolder",
    "RunIndex",
    "Score",
    "SnrBins",
    "Spread",
    "Summary",
    "check_arrays",
    "describe_machine",
    "write_atomic",
]
