"""How far the runs of studies are, for the roadmap: the only view that looks beyond results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from specvit.documents.words import shown
from specvit.errors import DataError
from specvit.hub.knowledge import Knowledge
from specvit.runs import RunFolder
from specvit.studies import Store, make_plan, scaled_studies
from specvit.studies.plan import Task
from specvit.studies.store import State


def with_runs(knowledge: Knowledge, folder: Path) -> Knowledge:
    """Return what is known, with the states of the runs in a folder of `specvit study run`.

    Raises:
        DataError: if there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(
            f"--runs: {shown(folder)} is no folder; leave --runs out, or name that of `specvit study run`"
        )
    store = Store(folder)
    studies = [known.study for known in knowledge.studies.values() if known.study is not None]
    states: dict[str, list[State]] = {study.id: [] for study in studies}
    started: dict[str, str] = {}
    judged = {known.id for known in knowledge.judged}
    for task in make_plan(scaled_studies(studies, knowledge.scale), store).tasks:
        begun = _begun(store, task)
        for study in task.studies:
            states[study].append(task.state)
            # What was run for a study that is judged begins no other that happens to share it.
            if begun and (study in judged or not judged & set(task.studies)):
                started[study] = min(begun, started.get(study, begun))
    return replace(knowledge, runs={study: tuple(found) for study, found in states.items()}, started=started)


def _begun(store: Store, task: Task) -> str:
    """Return when a run began, ISO 8601; '' for one that has not, or whose folder is damaged."""
    if task.state not in ("done", "started"):
        return ""
    try:
        return str(RunFolder.open(store.folder_of(task.run)).provenance["created"])
    except DataError:
        return ""
