"""What was found: for each published claim its number, our verdict, and what could have been seen."""

from __future__ import annotations

from statistics import median
from typing import Literal

from specvit.hub.blocks import Block, Facts, Heading, HubPage, Item, Listing, Paragraph
from specvit.hub.cite import day, effects_text, mark, runs_link, share_text, study_link
from specvit.hub.evidence import heard
from specvit.hub.knowledge import Knowledge, Known
from specvit.report.phrase import Code, Phrase, coded, joined, phrase
from specvit.report.words import count, label_name
from specvit.studies import parse_rule
from specvit.studies.rule import claims_of

Fate = Literal["does not hold", "holds", "undecided", "beside the claim", "open"]
#: In the order in which they are told: what is said of how many, and the heading.
FATES: dict[Fate, tuple[str, str]] = {
    "does not hold": ("not replicated", "What does not hold here"),
    "holds": ("replicated", "What holds here"),
    "undecided": ("undecided", "What these trials cannot tell"),
    "beside the claim": ("asked beside the claim", "What was asked beside a published claim"),
    "open": ("open", "What is open"),
}


def fate_of(known: Known, knowledge: Knowledge) -> Fate:
    """Return what became of the claim that a study tests."""
    programme = knowledge.programme
    if known.state in ("open", "planned"):
        return "open"
    if known.id in programme.beside or programme.why_beyond(knowledge.scale, known.id):
        return "beside the claim"
    state, _ = heard(known, programme.published.get(known.id, ""))
    if state == "undecided":
        return "undecided"
    return "holds" if state == "supported" else "does not hold"


def findings_page(knowledge: Knowledge) -> HubPage:
    """Return what became of every published claim."""
    fates = {known.id: fate_of(known, knowledge) for known in knowledge.studies.values()}
    by_fate = {fate: [knowledge.studies[k] for k, found in fates.items() if found == fate] for fate in FATES}
    told = ", ".join(f"{len(studies)} {FATES[fate][0]}" for fate, studies in by_fate.items())
    blocks: list[Block] = [Paragraph(phrase(text), True) for text in knowledge.warnings]
    blocks.append(
        Paragraph(
            phrase(
                f"Of {len(fates)} claims: {told}. A claim holds or does not hold here, in specvit's own simulated world and at "
                f"the budget of the {knowledge.scale} scale, by a rule that was declared before any run. Effects have to be "
                "below zero for a comparison to hold; beside each stands its 95 % interval over seeds and stars, and the size "
                "that would have been seen in four of five repetitions (detectable)."
            )
        )
    )
    sizes = detectable(knowledge)
    if sizes:
        told = "; ".join(
            f"{name.replace('_', ' ')} {size:.2g} ({count(number)} comparisons)"
            for name, (size, number) in sizes.items()
        )
        blocks.append(
            Paragraph(
                phrase(
                    f"What this scale can decide, the median of the sizes that would have been seen: {told}. A rule with a "
                    "smaller margin ends undecided more often than not."
                )
            )
        )
    for fate, (_, heading) in FATES.items():
        studies = by_fate[fate]
        if not studies:
            continue
        blocks.append(Heading(heading, fate.replace(" ", "-")))
        if fate == "open":
            blocks.append(Listing(tuple(_open(known) for known in studies)))
            continue
        for known in studies:
            blocks += [Heading(known.title, known.id, 3), _told(known, knowledge)]
    if knowledge.problems:
        blocks.append(Heading("Results that were left out, or come with a warning", "problems"))
        blocks.append(Listing(tuple(Item(coded(problem)) for problem in knowledge.problems)))
    return HubPage("findings", "Findings", f"{knowledge.scale} scale", tuple(blocks))


def detectable(knowledge: Knowledge) -> dict[str, tuple[float, int]]:
    """Return measure -> median size that would have been seen, and of how many comparisons of that measure alone."""
    found: dict[str, list[float]] = {}
    for known in knowledge.judged:
        result = known.counted
        if result is None:
            continue
        effects = {claim.text: claim.effects for claim in result.claims}
        for claim in claims_of(parse_rule(result.rule)):
            measures = {term.measure for contrast in claim.contrasts for term in contrast.terms}
            # Sums with factors are of another size than what they are sums of.
            plain = all(abs(term.factor) == 1 for contrast in claim.contrasts for term in contrast.terms)
            if len(measures) == 1 and plain:
                found.setdefault(measures.pop(), []).extend(
                    effect.detectable for effect in effects.get(claim.text, ())
                )
    return {name: (median(sizes), len(sizes)) for name, sizes in sorted(found.items()) if sizes}


def _told(known: Known, knowledge: Knowledge) -> Facts:
    result = known.counted
    assert result is not None
    source = result.source
    effects = [
        phrase(
            f"({number}) ",
            Code(claim.text),
            f" ({claim.slice}, {label_name(claim.label)}, {count(claim.stars)} stars): ",
            mark(claim.verdict),
            f", {effects_text(claim)}",
        )
        for number, claim in enumerate(result.claims, 1)
    ]
    verdict = phrase(
        mark(result.verdict),
        f" on {day(result.made['date'])}, {len(result.seeds)} seeds, ",
        "measured against exact posteriors" if result.exact else "measured against the labels drawn",
        ", ",
        study_link(known),
        ", ",
        runs_link(known),
    )
    entries: list[tuple[str, Phrase]] = [
        ("Published", phrase(f"{source['claim']} ({source['work']})")),
        ("Its number", phrase(source["number"])),
        ("Our verdict on the rule", verdict),
        ("Effects", joined(effects)),
        ("Decision", phrase(known.sentence)),
    ]
    if reading := knowledge.programme.published.get(known.id):
        read, _ = heard(known, reading)
        entries.insert(
            3, ("The claim itself", phrase(mark(read), " by ", Code(reading), " of the comparisons below"))
        )
    if why := knowledge.programme.why_beyond(knowledge.scale, known.id):
        entries.insert(2, ("Not what was published", phrase(why)))
    if result.shares:
        shares = [
            phrase(f"{facts.text} ({facts.slice}): {share_text(facts)}") for facts in result.shares.values()
        ]
        entries.insert(len(entries) - 1, ("Shares", joined(shares)))
    entries += [("Note", coded(note)) for note in known.notes]
    return Facts(tuple(entries))


def _open(known: Known) -> Item:
    said = phrase(study_link(known), f": {known.title}")
    if known.study is not None:
        source = known.study.source
        said = phrase(said, f". Published: {source.claim}; {source.number} ({source.work})")
    notes = tuple(Item(coded(note)) for note in known.notes)
    return Item(phrase(mark(known.state), " ", said), notes)
