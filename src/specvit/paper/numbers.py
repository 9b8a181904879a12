"""Numbers as LaTeX macros, so that prose quotes results and never holds a digit of its own."""

from __future__ import annotations

import re

from specvit.errors import ConfigError
from specvit.hub import Knowledge
from specvit.hub.cite import effect_score
from specvit.report.latex import latex_text
from specvit.report.words import count, decimals_of, number
from specvit.runs import ALL, Score
from specvit.runs.study_result import StudyResult

#: All names begin so.
PREFIX = "sv"
_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
#: Names of comparisons: the first of a study is A.
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def number_macros(knowledge: Knowledge) -> dict[str, str]:
    """Return name -> LaTeX of every number of every verdict that counts.

    Of study `kernel` and variant `k9`: \\svKernelKNineExpectedRTwo with its ends ...Low and ...High, for every measure;
    \\svKernelShareWide, ...Low, ...High of its share `wide`; \\svKernelEffectA, ...Low, ...High, ...Detectable, ...P of its comparisons; \\svKernelVerdict, \\svKernelSeeds,
    \\svKernelStars.

    Raises:
        ConfigError: if two names would be the same; names both.
    """
    found: dict[str, str] = {}
    origin: dict[str, str] = {}
    for known in knowledge.judged:
        result = known.counted
        if result is None:
            continue
        for parts, text in _of_study(result):
            name, what = macro_name(*parts), "/".join(parts)
            if name in found:
                raise ConfigError(
                    f"paper: '{what}' and '{origin[name]}' would both be \\{name}; rename one of the two levels"
                )
            found[name], origin[name] = text, what
    return found


def macro_name(*parts: str) -> str:
    """Return the name of a macro, which holds letters only: words begin with capitals, digits are spelled."""
    words = [word for part in parts for word in re.split(r"[^A-Za-z0-9]+", part) if word]
    spelled = (
        "".join(_DIGITS[int(c)] if c.isdigit() else c for c in f"{word[0].upper()}{word[1:]}")
        for word in words
    )
    return PREFIX + "".join(spelled)


def macros_file(macros: dict[str, str]) -> str:
    """Return the file of macros."""
    lines = ["% Made by specvit paper build from the results of studies; edits are lost."]
    lines += [rf"\newcommand{{\{name}}}{{{text}}}" for name, text in macros.items()]
    return "\n".join(lines) + "\n"


def _of_study(result: StudyResult) -> list[tuple[tuple[str, ...], str]]:
    study = result.id
    rows: list[tuple[tuple[str, ...], str]] = [
        ((study, "verdict"), result.verdict),
        ((study, "seeds"), count(len(result.seeds))),
        ((study, "stars"), count(result.stars.slices.get(ALL, 0))),
    ]
    for at, claim in enumerate(result.claims):
        for place, effect in enumerate(claim.effects):
            name = letters(at) + ("" if place == 0 else "Other")
            score = effect_score(effect)
            rows += _ends((study, f"Effect{name}"), score)
            rows.append(
                ((study, f"Effect{name}", "Detectable"), number(effect.detectable, decimals_of(score)))
            )
        rows.append(((study, f"Effect{letters(at)}", "P"), f"{claim.p:.2g}"))
    for name, share in result.shares.items():
        if share.share.value is not None:
            rows += _ends((study, "Share", name), share.share)
    for variant, facts in result.variants.items():
        for measure, score in facts.scores.get(ALL, {}).items():
            if score.value is not None:
                rows += _ends((study, variant, measure), score)
    return [(parts, latex_text(text)) for parts, text in rows]


def _ends(parts: tuple[str, ...], score: Score) -> list[tuple[tuple[str, ...], str]]:
    decimals = decimals_of(score)
    rows = [(parts, number(score.value, decimals))]
    for end, value in (("Low", score.low), ("High", score.high)):
        if value is not None:
            rows.append(((*parts, end), number(value, decimals)))
    return rows


def letters(at: int) -> str:
    """Return the letters of comparison number `at` of a rule: A, B, ..., Z, AA, AB, ..."""
    return (letters(at // 26 - 1) if at >= 26 else "") + _LETTERS[at % 26]
