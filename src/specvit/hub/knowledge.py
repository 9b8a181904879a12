"""What is known: every study that is declared, planned or judged, with its result at one scale.

Reads the catalogue and committed results; a result that cannot be used is a note, never the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from specvit.documents.words import did_you_mean, shown
from specvit.errors import ConfigError, DataError
from specvit.hub.structure import SHIPPED, Programme, read_programme
from specvit.report.phrase import MarkKind
from specvit.runs.study_result import MEND, StudyResult, read_study_result
from specvit.studies import Study, is_of_now, parse_rule, read_scale, read_studies
from specvit.studies.rule import claims_of
from specvit.studies.schema import Scale
from specvit.studies.store import State


@dataclass(frozen=True)
class Known:
    """One study.

    Args:
        id: of it.
        title: one line.
        study: as it is declared now, or None.
        result: its verdict at the scale, or None.
        notes: what a reader has to know before believing the result.
        is_counted: whether its verdict is evidence: not, if its rule or variants were changed since.
    """

    id: str
    title: str
    study: Study | None = None
    result: StudyResult | None = None
    notes: tuple[str, ...] = ()
    is_counted: bool = True

    @property
    def state(self) -> MarkKind:
        """Its verdict; "open" without one that counts, "planned" if it is not even declared."""
        if self.result is not None and self.is_counted:
            return self.result.verdict
        return "planned" if self.study is None and self.result is None else "open"

    @property
    def sentence(self) -> str:
        """What follows from the verdict, in the words that are declared now; "" without one that counts."""
        if self.counted is None:
            return ""
        return (
            self.counted.sentence
            if self.study is None
            else getattr(self.study.outcomes, self.counted.verdict)
        )

    @property
    def counted(self) -> StudyResult | None:
        """The result, if it is evidence."""
        return self.result if self.is_counted else None


@dataclass(frozen=True)
class Knowledge:
    """Everything pages are made of.

    Args:
        programme: what was declared.
        scale: name of the scale.
        settings: the scale.
        studies: id -> what is known, those of the catalogue first.
        problems: results that were left out, and why.
        runs: study -> how far its runs are; empty where no folder of runs was looked at.
        options: of commands that judge these studies again: ` --catalogue FOLDER`, or nothing.
        started: study -> when the first of its runs began, of one without a verdict only runs that no judged study shares;
            as `runs`.
    """

    programme: Programme
    scale: str
    settings: Scale
    studies: Mapping[str, Known]
    problems: tuple[str, ...] = ()
    runs: Mapping[str, tuple[State, ...]] = field(default_factory=dict)
    started: Mapping[str, str] = field(default_factory=dict)
    options: str = ""

    def command(self, study: str, scale: str = "") -> str:
        """Return what runs and judges a study, at the scale of this or another."""
        return _command(study, scale or self.scale, self.options)

    @property
    def judged(self) -> list[Known]:
        """The studies with a verdict that counts."""
        return [known for known in self.studies.values() if known.counted is not None]

    @property
    def warnings(self) -> list[str]:
        """What every page has to say first."""
        if self.settings.is_evidence:
            return []
        return [f"The scale {self.scale} shows that everything works; its verdicts are no evidence."]

    def of(self, ids: tuple[str, ...]) -> list[Known]:
        """Return what is known of some studies."""
        return [self.studies[study] for study in ids]


def read_knowledge(
    results: Path, scale: str, catalogue: Path | None = None, programme: Path | None = None
) -> Knowledge:
    """Return what is known at a scale.

    Args:
        results: folder of the results; without it everything is open.
        scale: one of `specvit.studies.SCALES`.
        catalogue: a folder of studies of your own, or None for those that ship.
        programme: a file of your own; None: the one that ships for the studies that ship, else none but the studies.

    Raises:
        ConfigError: for studies or a programme that cannot be meant, or another scale.
    """
    settings, studies = read_scale(scale), read_studies(catalogue)
    if programme is None and catalogue is not None:
        declared = Programme(title=f"Studies of {catalogue.name}", question="What do these studies say?")
    else:
        declared = read_programme(programme or SHIPPED, studies)
    options = "" if catalogue is None else f" --catalogue {shown(catalogue)}"
    found, problems = _read_results(results, scale)
    known: dict[str, Known] = {}
    for name, study in studies.items():
        result = found.pop(name, None)
        known[name] = _compared(study, result, settings, scale, _command(name, scale, options))
    for name, title in declared.planned.items():
        known.setdefault(name, Known(name, title))
    for name, result in found.items():
        told = f"not in the catalogue{did_you_mean(name, studies)}"
        problems.append(f"{name}: {told}; its result is shown, and is evidence for nothing")
        known[name] = Known(
            name, result.title, result=result, notes=(f"This study is {told}.",), is_counted=False
        )
    return Knowledge(declared, scale, settings, known, tuple(problems), options=options)


def _command(study: str, scale: str, options: str) -> str:
    return f"specvit study run {study} --scale {scale}{options}"


def _read_results(results: Path, scale: str) -> tuple[dict[str, StudyResult], list[str]]:
    """Return id -> result of all that can be read, and a line about each file that cannot."""
    folder = results / scale
    if not folder.is_dir():
        return {}, [f"{shown(folder)}: no such folder, so that every study is open"]
    found: dict[str, StudyResult] = {}
    problems = []
    for path in sorted(folder.glob("*.json")):
        try:
            result = read_study_result(path)
        except DataError as error:
            problems.append(f"left out: {error}")
            continue
        if result.scale != scale:
            problems.append(
                f"left out: {shown(path)}: its scale is '{result.scale}'; move it to {shown(results / result.scale)}"
            )
        elif result.id != path.stem:
            problems.append(f"left out: {shown(path)}: it is of the study '{result.id}'; give it that name")
        elif problem := _problem(result):
            problems.append(f"left out: {shown(path)} is damaged: {problem}; {MEND}")
        else:
            found[result.id] = result
    return found, problems


def _problem(result: StudyResult) -> str:
    """Return which entry lacks what pages quote, or ''; the format itself leaves these open."""
    for entry, values, needed in (
        ("source", result.source, ("work", "claim", "number")),
        ("made", result.made, ("date", "specvit", "cpu")),
    ):
        for name in needed:
            if not isinstance(values.get(name), str):
                return f"no entry '{entry}.{name}'"
    if not isinstance(result.made.get("packages"), dict):
        return "no entry 'made.packages'"
    if not isinstance(result.made.get("git_commit", ""), str | None):
        return "entry 'made.git_commit' is no text"
    if any(claim.level <= 0 for claim in result.claims):
        return "entry 'claims': a level is not above zero"
    try:
        parse_rule(result.rule)
    except ConfigError as error:
        return f"entry 'rule': {error}"
    return ""


def _compared(study: Study, result: StudyResult | None, settings: Scale, scale: str, command: str) -> Known:
    """Return a declared study with its result, and notes on where the two differ."""
    if result is None:
        return Known(study.id, study.title, study)
    notes, counted = [], True
    if not is_of_now(study, result):
        counted = False
        notes.append(
            "Rule or variants were changed after this verdict, which therefore counts for nothing: judge it again with "
            f"`{command}`."
        )
    elif len(result.claims) != (comparisons := len(list(claims_of(study.parsed)))):
        # Readings count them: one that is gone would move the others up.
        counted = False
        notes.append(
            f"This result has {len(result.claims)} of the {comparisons} comparisons of its rule, and counts for nothing: "
            f"judge it again with `{command}`."
        )
    elif result.declaration != study.digest:
        notes.append("The declaration was changed after this verdict; rule and variants were not.")
    seeds = study.scale(scale).seeds or settings.seeds
    if result.seeds != seeds:
        notes.append(f"Its {len(result.seeds)} seeds are not the {len(seeds)} that are declared now.")
    return Known(study.id, study.title, study, result, tuple(notes), counted)
