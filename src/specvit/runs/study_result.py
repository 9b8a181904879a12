"""The result of a study: verdict, evidence and provenance, small enough to be committed and read without its runs.

Agreed between the studies that write it and the pages that are made of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from specvit.documents.opening import read_bytes
from specvit.documents.records import read_json, read_record
from specvit.errors import DataError
from specvit.runs.atomic import write_atomic
from specvit.runs.folder import as_json
from specvit.runs.summary import Score

STUDY_RESULT_VERSION = 1
Verdict = Literal["supported", "refuted", "undecided"]

MEND = "judge the study again with `specvit study run`"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EffectFacts(_Part):
    """One contrast, which has to be below zero for its claim to hold.

    Args:
        value, low, high: its mean over seeds and stars, with the 95 % interval.
        detectable: size that would have been told from zero in four of five repetitions.
    """

    value: float
    low: float
    high: float
    detectable: float


class ClaimFacts(_Part):
    """One comparison of a rule.

    Args:
        text: as it was declared.
        slice, label: what it is of.
        stars: how many.
        effects: one contrast, or the two of an equivalence; none where the slice has too few stars.
        p: chance of contrasts this far from zero, two-sided, before any correction.
        level: chance of a wrong verdict that was allowed for it, after Holm's correction.
        verdict: of this comparison alone.
    """

    text: str
    slice: str
    label: str
    stars: int
    effects: tuple[EffectFacts, ...]
    p: float
    level: float
    verdict: Verdict


class VariantFacts(_Part):
    """One variant.

    Args:
        changes: the keys that set it apart.
        runs: seed -> digest of its run.
        spectra: digest of the stars it was judged by.
        scores: slice -> measure -> mean over seeds and stars, with its 95 % interval.
        learning: of a network, (optimiser step, R² of the label on validation spectra) along its training, mean over
            seeds; no estimator is chosen or judged by it.
    """

    changes: dict[str, Any]
    runs: dict[str, str]
    spectra: str
    scores: dict[str, dict[str, Score]]
    learning: tuple[tuple[int, float], ...] = ()


class ShareFacts(_Part):
    """One difference over another.

    Args:
        text: what it is the share of.
        part, whole: as they were declared.
        slice: which stars.
        published: the share that was published, or None.
        share: it, with its 95 % interval over seeds and stars; no value where the whole is not told from zero.
    """

    text: str
    part: str
    whole: str
    slice: str
    published: float | None
    share: Score


class StarFacts(_Part):
    """The test stars of a study.

    Args:
        drawn: how many there are.
        unconverged: left out for all variants, as a posterior did not converge.
        missing: left out for all, as some variant has no estimate.
        slices: slice -> stars in it that are judged.
    """

    drawn: int
    unconverged: int
    missing: int
    slices: dict[str, int]


class KnowledgeChange(_Part):
    """A verdict, and since when it stood.

    Args:
        date: when it was reached, ISO 8601.
        verdict: it.
        declaration: digest of the study as declared then.
        runs: digest of the runs behind it.
    """

    date: str
    verdict: Verdict
    declaration: str
    runs: str


class StudyResult(_Part):
    """A judged study at one scale.

    Args:
        study_result_version: format of the file.
        id, title, track, entries, question, hypothesis, source, rule: as declared.
        declaration: digest of all that was declared.
        scale: at which it was run.
        label, metric: judged first.
        exact: whether estimates were measured against exact posteriors; else against the labels drawn.
        seeds: of the trainings.
        verdict: of the rule.
        sentence: what the verdict means, as declared before.
        correction: how many comparisons Holm's correction is for; 0 without one.
        claims: the comparisons of the rule.
        variants: name -> what was run, and its scores.
        stars: the test stars.
        shares: name -> a share that was declared to be stated beside the verdict.
        began: when the first of its runs was begun, ISO 8601; "" in results of before it was kept.
        seconds: of all its runs, whether shared with other studies or not.
        made: versions, machine and date of the judgement.
        history: the verdicts of this study at this scale, oldest first.
    """

    study_result_version: int
    id: str
    title: str
    track: str
    entries: tuple[str, ...]
    question: str
    hypothesis: str
    source: dict[str, str]
    rule: str
    declaration: str
    scale: str
    label: str
    metric: str
    exact: bool
    seeds: tuple[int, ...]
    verdict: Verdict
    sentence: str
    correction: int
    claims: tuple[ClaimFacts, ...]
    variants: dict[str, VariantFacts]
    stars: StarFacts
    shares: dict[str, ShareFacts] = {}
    began: str = ""
    seconds: float
    made: dict[str, Any]
    history: tuple[KnowledgeChange, ...]


def result_path(folder: Path, study: str, scale: str) -> Path:
    """Return where the result of a study at a scale is kept."""
    return folder / scale / f"{study}.json"


def read_study_result(path: Path) -> StudyResult:
    """Return the result in a file.

    Raises:
        DataError: if it is missing, damaged, or of another format; names the entry.
    """
    values = read_json(read_bytes(path, "result of a study", MEND), str(path), MEND)
    if values.get("study_result_version") != STUDY_RESULT_VERSION:
        found = values.get("study_result_version")
        raise DataError(
            f"{path}: study_result_version is {found}, this specvit reads {STUDY_RESULT_VERSION}; {MEND}"
        )
    return read_record(StudyResult, values, str(path), MEND)


def write_study_result(folder: Path, result: StudyResult) -> Path:
    """Write a result to its place under `folder`, and return the file."""
    return write_atomic(result_path(folder, result.id, result.scale), as_json(result.model_dump(mode="json")))
