"""Views of the results of studies: hub, roadmap, findings. Reads the catalogue and results; nobody edits a view by hand."""

from specvit.hub.build import hub_pages, write_findings, write_hub
from specvit.hub.evidence import Standing, standing
from specvit.hub.knowledge import Knowledge, Known, read_knowledge
from specvit.hub.run_states import with_runs
from specvit.hub.structure import Programme, read_programme

__all__ = [
    "Knowledge",
    "Known",
    "Programme",
    "Standing",
    "hub_pages",
    "read_knowledge",
    "read_programme",
    "standing",
    "with_runs",
    "write_findings",
    "write_hub",
]
