"""Which comparisons of a study's rule speak of a statement, and how: `1 and 2`, `not 1`, `1 or not (2 and 3)`.

A rule may ask more than was published (both noise levels, where one was), or the opposite of it. A number is that of a
comparison in the order of the rule. Without a reading the whole rule speaks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from specvit.errors import ConfigError
from specvit.runs.study_result import Verdict

_TOKEN = re.compile(r"\s*(\d+|and\b|or\b|not\b|\(|\))")
OPPOSITE: dict[Verdict, Verdict] = {
    "supported": "refuted",
    "refuted": "supported",
    "undecided": "undecided",
}
#: Parentheses and `not` within one another.
DEEPEST = 20


@dataclass(frozen=True)
class Comparison:
    """One comparison of a rule, or its opposite."""

    number: int
    turned: bool


@dataclass(frozen=True)
class Together:
    """Parts that all must hold, or one of which must."""

    parts: tuple[Reading, ...]
    every: bool


Reading = Comparison | Together


@lru_cache(maxsize=500)
def parse_reading(text: str) -> Reading:
    """Return the reading that `text` states; ConfigError says where it is not understood."""
    tokens, at = [], 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise ConfigError(f"'{text}': not understood from '{text[at:].strip()[:20]}' on; {_GRAMMAR}")
        tokens.append(found[1])
        at = found.end()
    left, reading = _any(tokens, False, 0)
    if left:
        raise ConfigError(f"'{text}': '{left[0]}' is one too many; {_GRAMMAR}")
    return reading


_GRAMMAR = "expected numbers of comparisons with and, or, not and parentheses, as in '1 and not 2'"


def _any(tokens: list[str], turned: bool, depth: int) -> tuple[list[str], Reading]:
    return _joined(tokens, turned, depth, "or")


def _joined(tokens: list[str], turned: bool, depth: int, word: str) -> tuple[list[str], Reading]:
    deeper = _one if word == "and" else lambda left, no, far: _joined(left, no, far, "and")
    tokens, part = deeper(tokens, turned, depth)
    parts = [part]
    while tokens and tokens[0] == word:
        tokens, part = deeper(tokens[1:], turned, depth)
        parts.append(part)
    # What is turned round swaps "and" with "or" (De Morgan).
    return tokens, parts[0] if len(parts) == 1 else Together(tuple(parts), (word == "and") != turned)


def _one(tokens: list[str], turned: bool, depth: int) -> tuple[list[str], Reading]:
    if not tokens or depth > DEEPEST:
        raise ConfigError(f"a reading ends too early, or nests too deep; {_GRAMMAR}")
    first, rest = tokens[0], tokens[1:]
    if first == "not":
        return _one(rest, not turned, depth + 1)
    if first == "(":
        rest, inside = _any(rest, turned, depth + 1)
        if rest[:1] != [")"]:
            raise ConfigError(f"a parenthesis is not closed; {_GRAMMAR}")
        return rest[1:], inside
    if not first.isdigit():
        raise ConfigError(f"'{first}' stands where a number is expected; {_GRAMMAR}")
    return rest, Comparison(int(first), turned)


def check_reading(text: str, comparisons: int) -> None:
    """Raise ConfigError if a reading is not understood, or names a comparison that the rule does not have."""
    for number in _numbers(parse_reading(text)):
        if not 1 <= number <= comparisons:
            raise ConfigError(f"'{text}': the rule has {comparisons} comparisons, not a number {number}")


def _numbers(reading: Reading) -> list[int]:
    if isinstance(reading, Comparison):
        return [reading.number]
    return [number for part in reading.parts for number in _numbers(part)]


def verdict_read(reading: Reading, verdicts: Sequence[Verdict]) -> Verdict:
    """Return what a reading says, from the verdicts of a rule's comparisons."""
    if isinstance(reading, Comparison):
        verdict = verdicts[reading.number - 1]
        return OPPOSITE[verdict] if reading.turned else verdict
    parts = [verdict_read(part, verdicts) for part in reading.parts]
    decisive: Verdict = "refuted" if reading.every else "supported"
    if decisive in parts:
        return decisive
    return OPPOSITE[decisive] if all(part == OPPOSITE[decisive] for part in parts) else "undecided"


def chance_read(
    reading: Reading, verdict: Verdict, verdicts: Sequence[Verdict], chances: Sequence[float]
) -> float:
    """Return the chance that stands against a decided verdict, as `evidence.p_of` does for a whole rule."""
    if isinstance(reading, Comparison):
        told = verdict_read(reading, verdicts)
        return chances[reading.number - 1] if told == verdict else 1.0
    parts = [chance_read(part, verdict, verdicts, chances) for part in reading.parts]
    return max(parts) if reading.every == (verdict == "supported") else min(parts)
