"""Tables of a paper: scores of several studies, claims and their fates, settings of all trials."""

from __future__ import annotations

from collections.abc import Sequence

from specvit.hub import Knowledge, Known
from specvit.hub.cite import day, effects_text
from specvit.hub.conditions import config_of, training_text
from specvit.hub.findings import fate_of
from specvit.hub.protocol import protocol_digest
from specvit.report.tables import Cell, Table
from specvit.report.words import count
from specvit.runs import ALL
from specvit.studies.measures import MEASURES
from specvit.studies.variants import dotted

#: Measures of a table of scores, those that there are.
SHOWN = ("expected_r2", "r2", "ceiling", "excess", "error")
#: How the columns of tables of words share the width of the page.
FINDINGS_COLUMNS = "".join(
    rf">{{\raggedright\arraybackslash}}p{{{share}\textwidth}}" for share in (0.26, 0.19, 0.1, 0.34)
)
SETTINGS_COLUMNS = "ll"


def score_table(name: str, caption: str, studies: Sequence[Known], knowledge: Knowledge) -> Table:
    """Return a row per variant of some studies, with the scores that all of them have."""
    results = [(known, known.counted) for known in studies if known.counted is not None]
    facts = [one for _, result in results if result is not None for one in result.variants.values()]
    measures = [name for name in SHOWN if all(name in one.scores.get(ALL, {}) for one in facts)]
    # Where there is an expected R² the plain one is the same with the luck of the labels drawn.
    if "expected_r2" in measures:
        measures = [name for name in measures if MEASURES[name].exact]
    rows: list[tuple[Cell, ...]] = []
    for known, result in results:
        if result is None:
            continue
        for variant, one in result.variants.items():
            config = config_of(known, variant, knowledge)
            trained = "–" if config is None else training_text(config)
            rows.append((known.id, variant, *(one.scores[ALL][name] for name in measures), trained))
    head = (
        "study",
        "variant",
        *(name.replace("expected_r2", "expected R²").replace("r2", "R²") for name in measures),
        "training",
    )
    return Table(name, caption, head, tuple(rows), digits=None)


def finding_table(name: str, caption: str, studies: Sequence[Known], knowledge: Knowledge) -> Table:
    """Return a row per published claim that was tested: claim, its number, its fate, our effect."""
    rows = []
    for known in studies:
        result = known.counted
        if result is None:
            continue
        effects = "; ".join(effects_text(claim) for claim in result.claims)
        told = f"{fate_of(known, knowledge)} ({result.verdict}, {day(result.made['date'])})"
        rows.append((result.source["claim"], result.source["number"], told, f"{known.id}: {effects}"))
    return Table(name, caption, ("published claim", "its number", "here", "effects"), tuple(rows))


def settings_table(name: str, caption: str, knowledge: Knowledge) -> Table:
    """Return the settings of the scale, which hold wherever a study says nothing else."""
    settings = dotted(knowledge.settings.settings)
    rows = [("seeds", ", ".join(map(str, knowledge.settings.seeds)))]
    for key, value in settings.items():
        rows.append(
            (key, count(value) if isinstance(value, int) and not isinstance(value, bool) else str(value))
        )
    rows.append(("digest", protocol_digest(knowledge)))
    return Table(name, caption, (f"setting ({knowledge.scale} scale)", "value"), tuple(rows))
