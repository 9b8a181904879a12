"""The scoreboard: variants that were judged by the same stars, the best first, each with its conditions."""

from __future__ import annotations

from dataclasses import dataclass

from specvit.hub.cite import study_link
from specvit.hub.conditions import Conditions, conditions_of
from specvit.hub.knowledge import Knowledge, Known
from specvit.report.phrase import Phrase, joined, phrase
from specvit.report.tables import Table
from specvit.report.words import count, label_name
from specvit.runs import ALL, Score
from specvit.runs.study_result import VariantFacts


@dataclass(frozen=True)
class Entry:
    """A variant on the board.

    Args:
        name: of it.
        facts: its scores.
        conditions: how it was trained, or None if that is not declared any more.
        studies: all that ask for its runs.
        label: the label it was judged by.
    """

    name: str
    facts: VariantFacts
    conditions: Conditions | None
    studies: tuple[Known, ...]
    label: str

    @property
    def score(self) -> Score:
        """What it is ranked by: expected R² where there are exact posteriors, else R²."""
        scores = self.facts.scores.get(ALL, {})
        return scores.get("expected_r2") or scores.get("r2") or Score(value=None)

    @property
    def rank(self) -> float:
        """The score as a number to sort by."""
        return float("-inf") if self.score.value is None else self.score.value


def boards(knowledge: Knowledge) -> list[list[Entry]]:
    """Return groups of variants that may be compared, the largest first, each with the best first.

    Of the same label and judged by the same stars; variants of several studies that are the same runs stand once.
    """
    groups: dict[tuple[str, str], dict[tuple[str, ...], Entry]] = {}
    for known in knowledge.judged:
        result = known.result
        if result is None:
            continue
        for name, facts in result.variants.items():
            group = groups.setdefault((result.label, facts.spectra), {})
            runs = tuple(sorted(facts.runs.values()))
            before = group.get(runs)
            if before is None:
                group[runs] = Entry(
                    name, facts, conditions_of(known, name, knowledge), (known,), result.label
                )
            else:
                studies = (*before.studies, known)
                group[runs] = Entry(before.name, before.facts, before.conditions, studies, before.label)
    found = [sorted(group.values(), key=lambda entry: -entry.rank) for group in groups.values()]
    return sorted(found, key=len, reverse=True)


def board_table(entries: list[Entry], at: int) -> Table:
    """Return a group as a table."""
    rows = []
    for entry in entries:
        scores, told = entry.facts.scores.get(ALL, {}), entry.conditions
        rows.append(
            (
                entry.name if told is None else f"{told.estimator} ({entry.name})",
                entry.score,
                scores.get("ceiling"),
                scores.get("mae"),
                "–" if told is None else told.training,
                "–" if told is None else told.noise,
                _studies(entry),
            )
        )
    exact = "expected_r2" in entries[0].facts.scores.get(ALL, {})
    caption = (
        f"{label_name(entries[0].label)}, the same {count(_stars(entries))} test stars "
        f"(set {entries[0].facts.spectra[:8]}) for all; {'expected R²' if exact else 'R²'} with 95 % interval over "
        "seeds and stars. Rows of different training are no comparison of models, and intervals of two rows are not of "
        "their difference: that is on the pages of the studies."
    )
    head = ("variant", "R²", "ceiling", "MAE", "training", "noise level", "studies")
    return Table(f"scoreboard-{at + 1}", caption, head, tuple(rows), digits=3)


def board_tables(knowledge: Knowledge) -> list[Table]:
    """Return all groups of more than one variant as tables."""
    return [
        board_table(entries, at)
        for at, entries in enumerate(found for found in boards(knowledge) if len(found) > 1)
    ]


def _stars(entries: list[Entry]) -> int:
    result = entries[0].studies[0].result
    return 0 if result is None else result.stars.drawn


def _studies(entry: Entry) -> Phrase:
    return joined([phrase(study_link(known)) for known in entry.studies], ", ")
