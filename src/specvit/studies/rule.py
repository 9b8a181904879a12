"""Acceptance rules: a small language, parsed into linear contrasts that ought to be negative. Never evaluated as code.

    excess(wide) <= 0.95 * excess(base) on low_noise
    expected_r2(vit) >= expected_r2(ridge) + 0.02 and excess(vit) <= excess(trees)
    excess(sw) within 5 % of excess(c1d)

A comparison is of sums of measures of variants; `on` names a slice, `for` a label, `within` makes a claim of
equivalence with its margin, in the unit of the measure or in per cent of the right side. `and` binds closer than `or`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from specvit.documents.words import did_you_mean
from specvit.errors import ConfigError
from specvit.runs import ALL
from specvit.studies.measures import MEASURES

#: Parentheses within one another.
DEEPEST_RULE = 20

_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+/-]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.+/-]*")


@dataclass(frozen=True)
class Term:
    """`factor` times a measure of a variant."""

    factor: float
    measure: str
    variant: str


@dataclass(frozen=True)
class Contrast:
    """A sum of terms and a constant."""

    terms: tuple[Term, ...]
    constant: float

    def minus(self, other: Contrast, times: float = 1.0) -> Contrast:
        """Return this less `times` the other."""
        taken = tuple(Term(-times * term.factor, term.measure, term.variant) for term in other.terms)
        return Contrast(self.terms + taken, self.constant - times * other.constant)


@dataclass(frozen=True)
class Claim:
    """One comparison: it holds where all its contrasts are below zero.

    Args:
        text: as it was written.
        contrasts: one; two for an equivalence.
        slice: which stars.
        label: which label, or "" for the study's.
    """

    text: str
    contrasts: tuple[Contrast, ...]
    slice: str = ALL
    label: str = ""


@dataclass(frozen=True)
class AllOf:
    """Parts that all must hold."""

    parts: tuple[Rule, ...]


@dataclass(frozen=True)
class AnyOf:
    """Parts one of which must hold."""

    parts: tuple[Rule, ...]


Rule = Claim | AllOf | AnyOf


def parse_rule(text: str) -> Rule:
    """Return the rule that `text` states; ConfigError says where it is not understood."""
    return _Parser(text).rule()


def claims_of(rule: Rule) -> Iterator[Claim]:
    """Yield the claims of a rule, in the order they are written."""
    if isinstance(rule, Claim):
        yield rule
    else:
        for part in rule.parts:
            yield from claims_of(part)


def parse_sum(text: str) -> Contrast:
    """Return the sum of measures that `text` states; ConfigError says where it is not understood."""
    return _Parser(text).whole_sum()


class _Parser:
    """Recursive descent over the text; `at` is where the next token begins."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def rule(self) -> Rule:
        found = self._any(0)
        if self._rest():
            raise self._problem("expected 'and', 'or', 'on', 'for' or the end")
        return found

    def whole_sum(self) -> Contrast:
        found = self._sum()
        if self._rest():
            raise self._problem("expected +, - or the end")
        if not found.terms:
            raise self._problem("expected a measure of a variant, as in r2(NAME)")
        return found

    def _any(self, depth: int) -> Rule:
        parts = [self._all(depth)]
        while self._take("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self, depth: int) -> Rule:
        parts = [self._part(depth)]
        while self._take("and"):
            parts.append(self._part(depth))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _part(self, depth: int) -> Rule:
        if depth > DEEPEST_RULE:
            raise self._problem(f"at most {DEEPEST_RULE} parentheses may nest")
        if self._take("("):
            inner = self._any(depth + 1)
            self._expect(")")
            return inner
        return self._claim()

    def _claim(self) -> Claim:
        start = self.at
        left = self._sum()
        if self._take("<="):
            contrasts: tuple[Contrast, ...] = (left.minus(self._sum()),)
        elif self._take(">="):
            contrasts = (self._sum().minus(left),)
        elif self._take("within"):
            contrasts = self._equivalence(left)
        else:
            raise self._problem("expected <=, >= or within")
        if not any(contrast.terms for contrast in contrasts):
            raise self._problem("expected a measure of a variant on one side, as in excess(NAME)")
        part, label = ALL, ""
        while True:
            if self._take("on"):
                part = self._match(_NAME, "the name of a slice")
            elif self._take("for"):
                label = self._match(_WORD, "the name of a label")
            else:
                break
        return Claim(" ".join(self.text[start : self.at].split()), contrasts, part, label)

    def _equivalence(self, left: Contrast) -> tuple[Contrast, ...]:
        margin = self._number()
        if not margin > 0:
            raise self._problem("an equivalence needs a margin above zero")
        per_cent = self._take("%")
        self._expect("of")
        right = self._sum()
        allowed = Contrast((), margin)
        if per_cent:
            allowed = Contrast((), 0.0).minus(right, -margin / 100)
        return (left.minus(right).minus(allowed), right.minus(left).minus(allowed))

    def _sum(self) -> Contrast:
        total = self._term(-1.0 if self._take("-") else 1.0)
        while True:
            if self._take("+"):
                total = total.minus(self._term(1.0), -1.0)
            elif self._take("-"):
                total = total.minus(self._term(1.0))
            else:
                return total

    def _term(self, sign: float) -> Contrast:
        factor = sign
        if _NUMBER.match(self.text, self._skip()):
            factor *= self._number()
            if not self._take("*"):
                return Contrast((), factor)
        measure = self._match(_WORD, "a measure")
        if measure not in MEASURES:
            raise self._problem(
                f"'{measure}' is no measure; choose {', '.join(MEASURES)}{did_you_mean(measure, MEASURES)}"
            )
        self._expect("(")
        variant = self._match(_VARIANT, "the name of a variant")
        self._expect(")")
        return Contrast((Term(factor, measure, variant),), 0.0)

    def _number(self) -> float:
        return float(self._match(_NUMBER, "a number"))

    def _skip(self) -> int:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.at

    def _rest(self) -> str:
        return self.text[self._skip() :]

    def _take(self, token: str) -> bool:
        """Go past `token` if it is next; a word must end there."""
        rest = self._rest()
        if not rest.startswith(token):
            return False
        if token.isalpha() and _WORD.match(rest).group() != token:  # type: ignore[union-attr]
            return False
        self.at += len(token)
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise self._problem(f"expected '{token}'")

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self.text, self._skip())
        if found is None:
            raise self._problem(f"expected {what}")
        self.at = found.end()
        return found.group()

    def _problem(self, what: str) -> ConfigError:
        near = self._rest()[:30] or "the end"
        return ConfigError(f"rule: {what} at character {self.at + 1}, near '{near}'")
