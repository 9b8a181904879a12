"""The frozen protocol: what holds for every study at a scale, with a digest that changes when it does."""

from __future__ import annotations

from typing import Any

from specvit.hub.blocks import Block, Facts, Heading, HubPage, Item, Listing, Paragraph
from specvit.hub.knowledge import Knowledge
from specvit.report.phrase import Code, Phrase, phrase
from specvit.report.words import count
from specvit.runs.identity import content_digest
from specvit.studies.variants import dotted


def protocol_page(knowledge: Knowledge) -> HubPage:
    """Return the protocol."""
    settings = dotted(knowledge.settings.settings)
    blocks: list[Block] = [Paragraph(phrase(text), True) for text in knowledge.warnings]
    blocks.append(Listing(tuple(Item(phrase(rule)) for rule in knowledge.programme.protocol)))
    entries: list[tuple[str, Phrase]] = [("Seeds", phrase(", ".join(map(str, knowledge.settings.seeds))))]
    entries += [(key, phrase(_value(value))) for key, value in settings.items()]
    entries.append(("Digest", phrase(Code(protocol_digest(knowledge)))))
    blocks += [Heading(f"Settings of the {knowledge.scale} scale", "settings"), Facts(tuple(entries))]
    blocks.append(
        Paragraph(
            phrase(
                "What a study changes of these stands on its page; the digest changes with any of the settings."
            )
        )
    )
    blocks += [Heading("What verdicts were reached under", "reached"), Listing(tuple(_reached(knowledge)))]
    return HubPage("protocol", "Protocol", f"{knowledge.scale} scale", tuple(blocks))


def protocol_digest(knowledge: Knowledge) -> str:
    """Return the digest of what the protocol fixes."""
    return content_digest(knowledge.settings.model_dump(mode="json"))


def _reached(knowledge: Knowledge) -> list[Item]:
    """Return the seeds, stars and versions behind the verdicts, with how many rest on each."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for known in knowledge.judged:
        result = known.result
        if result is not None:
            made = (
                result.seeds,
                result.stars.drawn,
                result.made.get("specvit"),
                result.made.get("git_commit"),
            )
            groups.setdefault(made, []).append(known.id)
    return [
        Item(
            phrase(
                f"seeds {', '.join(map(str, seeds))}; {count(stars)} test stars; specvit {version}, commit ",
                Code(str(commit or "unknown")),
                f": {', '.join(studies)}",
            )
        )
        for (seeds, stars, version, commit), studies in groups.items()
    ] or [Item(phrase("There are none yet."))]


def _value(value: Any) -> str:
    return count(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)
