"""The page of one study: what was asked, what came out, of which runs."""

from __future__ import annotations

from specvit.hub.blocks import Block, Facts, Grid, Heading, HubPage, Item, Listing, Paragraph
from specvit.hub.cite import day, effect_score, mark
from specvit.hub.conditions import changes_text, conditions_of
from specvit.hub.evidence import p_of
from specvit.hub.knowledge import Knowledge, Known
from specvit.report.phrase import Code, Phrase, coded, phrase
from specvit.report.tables import Cell, Table
from specvit.report.words import count, label_name, number
from specvit.runs import ALL
from specvit.runs.study_result import StudyResult
from specvit.studies.measures import MEASURES


def study_page(known: Known, knowledge: Knowledge) -> HubPage:
    """Return the page of a study."""
    blocks: list[Block] = [Paragraph(coded(text), True) for text in (*knowledge.warnings, *known.notes)]
    result = known.result
    if result is None:
        blocks.append(Paragraph(_without_result(known, knowledge)))
    else:
        blocks.append(Paragraph(phrase(mark(result.verdict), " ", known.sentence or result.sentence)))
    blocks += [Heading("What was declared", "declared"), _declared(known)]
    if result is not None:
        blocks += _judged(known, result, knowledge)
    above = f"study {known.id}, {knowledge.scale} scale"
    return HubPage(f"studies/{known.id}", known.title, above, tuple(blocks))


def claims_table(result: StudyResult) -> Table:
    """Return the comparisons of a rule; each effect has to be below zero."""
    rows: list[tuple[Cell, ...]] = []
    for claim in result.claims:
        effects = claim.effects or (None,)
        for effect in effects:
            rows.append(
                (
                    phrase(Code(claim.text)),
                    claim.slice,
                    label_name(claim.label),
                    None if effect is None else effect_score(effect),
                    None if effect is None else f"{effect.detectable:.2g}",
                    claim.stars,
                    f"{claim.p:.2g}",
                    f"{claim.level:.2g}",
                    phrase(mark(claim.verdict)),
                )
            )
    holm = f"; levels are corrected for {result.correction} comparisons (Holm)" if result.correction else ""
    caption = (
        "Every effect has to be below zero for its comparison to hold: mean over seeds and stars with its 95 % interval, and "
        f"the size that would have been seen in four of five repetitions{holm}."
    )
    head = ("comparison", "stars of", "label", "effect", "detectable", "stars", "p", "level", "verdict")
    return Table(f"claims-{result.id}", caption, head, tuple(rows), digits=None)


def shares_table(result: StudyResult) -> Table:
    """Return the shares that were declared to be stated beside the verdict."""
    rows = tuple(
        (
            facts.text,
            phrase(Code(facts.part), " of ", Code(facts.whole)),
            facts.slice,
            facts.share,
            None if facts.published is None else f"{facts.published:g}",
        )
        for facts in result.shares.values()
    )
    caption = (
        "One difference over another, with Fieller's 95 % interval over seeds and stars; without a value where the whole is "
        "not told from zero, of which then nothing can be a share."
    )
    head = ("share", "of what", "stars of", "value", "published")
    return Table(f"shares-{result.id}", caption, head, rows, digits=None)


def scores_table(result: StudyResult, part: str = ALL) -> Table:
    """Return the scores of all variants on a slice."""
    names = [
        name
        for name in MEASURES
        if any(name in facts.scores.get(part, {}) for facts in result.variants.values())
    ]
    rows = tuple(
        (variant, *(facts.scores.get(part, {}).get(name) for name in names))
        for variant, facts in result.variants.items()
    )
    stars = result.stars.slices.get(part, 0)
    caption = f"{label_name(result.label)}, {part}: {sample_text(result, stars)}."
    name = f"scores-{result.id}" if part == ALL else f"scores-{result.id}-{part}"
    return Table(name, caption, ("variant", *(n.replace("_", " ") for n in names)), rows, digits=None)


def sample_text(result: StudyResult, stars: int) -> str:
    """Return over what scores are, as captions have to say."""
    against = "measured against exact posteriors" if result.exact else "measured against the labels drawn"
    return (
        f"{count(stars)} test stars, {len(result.seeds)} seeds, mean and 95 % interval over both, {against}"
    )


def _without_result(known: Known, knowledge: Knowledge) -> Phrase:
    if known.study is None:
        return phrase(mark("planned"), " This study is on the roadmap; it is not declared yet.")
    command = knowledge.command(known.id)
    return phrase(mark("open"), " There is no verdict at this scale yet: ", Code(command))


def _declared(known: Known) -> Facts:
    study, result = known.study, known.result
    entries: list[tuple[str, Phrase]] = []
    source = study.source.model_dump() if study is not None else result.source if result is not None else {}
    said = study or result
    if said is not None:
        entries += [("Question", phrase(said.question)), ("Hypothesis", phrase(said.hypothesis))]
        entries.append(("Rule", phrase(Code(said.rule))))
        entries.append(("On the roadmap", phrase(", ".join(said.entries) or "–")))
    if source:
        told = f"{source['claim']}: {source['number']} ({source['work']})"
        entries.insert(2, ("Published claim", phrase(told)))
    if study is not None:
        for outcome in ("supported", "refuted", "undecided"):
            text = getattr(study.outcomes, outcome)
            entries.append((f"If {outcome}", phrase(text)))
    return Facts(tuple(entries) or (("Title", phrase(known.title)),))


def _judged(known: Known, result: StudyResult, knowledge: Knowledge) -> list[Block]:
    blocks: list[Block] = [Heading("Comparisons", "comparisons"), Grid(claims_table(result))]
    if result.verdict != "undecided":
        blocks.append(
            Paragraph(
                phrase(
                    f"The chance that stands against this verdict is p = {p_of(result):.2g} after correction."
                )
            )
        )
    if result.shares:
        blocks += [Heading("Shares", "shares"), Grid(shares_table(result))]
    blocks.append(Heading("Scores of the variants", "scores"))
    blocks += [
        Paragraph(
            phrase("; ".join(f"{name.replace('_', ' ')}: {MEASURES[name].words}" for name in MEASURES) + ".")
        )
    ]
    for part in result.stars.slices:
        if any(part in facts.scores for facts in result.variants.values()):
            blocks.append(Grid(scores_table(result, part)))
    stars = result.stars
    blocks.append(
        Paragraph(
            phrase(
                f"{count(stars.drawn)} test stars were drawn. Left out for all variants: {count(stars.unconverged)} whose "
                f"posterior did not converge, {count(stars.missing)} without an estimate."
            )
        )
    )
    blocks += [Heading("Runs", "runs"), Listing(tuple(_variant_runs(known, result, knowledge)))]
    blocks += [Heading("Provenance", "provenance"), _provenance(result)]
    blocks += [Heading("Verdicts so far", "history"), Listing(tuple(_history(result)))]
    return blocks


def _variant_runs(known: Known, result: StudyResult, knowledge: Knowledge) -> list[Item]:
    items = []
    for name, facts in result.variants.items():
        found = conditions_of(known, name, knowledge)
        told = changes_text(facts.changes)
        if found is not None:
            told = f"{found.estimator}; {found.training}; noise level {found.noise}; {told}"
        runs = [Item(phrase(f"seed {seed}: ", Code(digest))) for seed, digest in facts.runs.items()]
        runs.append(Item(phrase("judged by the stars ", Code(facts.spectra))))
        items.append(Item(phrase(f"{name}: {told}"), tuple(runs)))
    return items


def _provenance(result: StudyResult) -> Facts:
    made = result.made
    packages = made["packages"]
    entries = [
        ("Judged", phrase(made["date"])),
        (
            "Software",
            phrase(f"specvit {made['specvit']}, commit {made.get('git_commit') or 'unknown'}"),
        ),
        (
            "Packages",
            phrase(", ".join(f"{name} {version}" for name, version in packages.items() if version) or "–"),
        ),
        ("Machine", phrase(made["cpu"])),
        ("Time of all its runs", phrase(f"{number(result.seconds / 3600, 2)} h")),
        ("Declaration", phrase(Code(result.declaration))),
    ]
    return Facts(tuple(entries))


def _history(result: StudyResult) -> list[Item]:
    return [
        Item(
            phrase(
                f"{day(change.date)}: ",
                mark(change.verdict),
                ", runs ",
                Code(change.runs),
                ", declaration ",
                Code(change.declaration),
            )
        )
        for change in result.history
    ]
