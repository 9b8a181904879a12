"""Run folders: one execution with its configuration, log, artefacts, results and provenance; an index over many."""

from specvit.runs.artefacts import (
    CellScores,
    DenoisedExamples,
    Estimates,
    Examples,
    Explanation,
    FluxScores,
    LineFocus,
    Posteriors,
    StarBounds,
    StarTable,
)
from specvit.runs.atomic import write_atomic
from specvit.runs.folder import RunFolder
from specvit.runs.index import RunIndex
from specvit.runs.provenance import describe_machine
from specvit.runs.summary import (
    ALL,
    CeilingFacts,
    EstimatorFacts,
    Family,
    FreeSet,
    LabelFacts,
    Score,
    SliceFacts,
    Spread,
    Summary,
    read_summary,
    world_warning,
)
from specvit.runs.true_bins import TrueBin, TrueBins

__all__ = [
    "ALL",
    "CeilingFacts",
    "CellScores",
    "DenoisedExamples",
    "Estimates",
    "EstimatorFacts",
    "Examples",
    "Explanation",
    "Family",
    "FluxScores",
    "FreeSet",
    "LabelFacts",
    "LineFocus",
    "Posteriors",
    "RunFolder",
    "RunIndex",
    "Score",
    "SliceFacts",
    "Spread",
    "StarBounds",
    "StarTable",
    "Summary",
    "TrueBin",
    "TrueBins",
    "describe_machine",
    "read_summary",
    "world_warning",
    "write_atomic",
]
