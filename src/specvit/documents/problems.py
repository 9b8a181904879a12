"""What is wrong with a document, from pydantic's findings, in one line: the only place that words them.

`explain` is for what people write: it finds the key as the document spells it, and suggests. `wrong_entry` is for
what programs write, where the mend is to make the file anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from specvit.documents.words import did_you_mean, one_line, shown, shown_key

Key = tuple[str, ...]

#: Types of a finding -> what whoever wrote the document would say; pydantic's words are those of Python's types.
_PLAIN = dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "expected a table")
_PLAIN |= dict.fromkeys(("tuple_type", "list_type"), 'expected a list, as in ["one", "two"]')


def explain(
    error: ValidationError,
    model: type[BaseModel],
    tables: Mapping[str, Any],
    place_of: Callable[[Key], str],
    extra: Sequence[str] = (),
) -> str:
    """Return the first problem as one line: the key, what is wrong, and where it is set.

    Args:
        error: what pydantic found in `tables`.
        model: what was asked of them.
        tables: the document.
        place_of: key -> where it is set.
        extra: keys that may also stand at the top.
    """
    # A misspelt key is unknown, and the right one missing: the first says more.
    problem = min(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
    key = _key_of(problem, tables)
    return f"{shown_key(key) or 'file'}: {_what(problem, key, model, extra)} ({place_of(key)})"


def wrong_entry(error: ValidationError) -> str:
    """Return what pydantic found first in a file that a program wrote: the entry, what is wrong, what was there."""
    problem = error.errors(include_url=False, include_context=False)[0]
    entry = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"has no entry '{entry}'"
    # A check of the whole names its entry itself, and what was there is all of it.
    return (
        f"entry '{entry}': {_message(problem)}, got {shown(problem['input'])}" if entry else _message(problem)
    )


def true_for_a_number(model: type[BaseModel], tables: Mapping[str, Any], table: Key = ()) -> Key | None:
    """Return the key of the first number given as true or false, which pydantic would take for 1 or 0."""
    for name, value in tables.items():
        field = model.model_fields.get(name)
        if field is None:
            continue
        if isinstance(value, bool) and _is_number(field.annotation):
            return (*table, name)
        if isinstance(value, Mapping):
            for inner in models_in(field.annotation):
                if found := true_for_a_number(inner, value, (*table, name)):
                    return found
    return None


def _is_number(annotation: Any) -> bool:
    """Return whether a field of this type holds a number or nothing."""
    if get_origin(annotation) is Annotated:
        return _is_number(get_args(annotation)[0])
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        return all(_is_number(part) for part in get_args(annotation))
    return annotation in (int, float, type(None))


def known_keys(model: type[BaseModel], table: Sequence[str] = ()) -> list[str]:
    """Return the keys allowed in the table of that name, [] if it is none of the model's."""
    models = [model]
    # A place in a list is no key of its own.
    for name in (part for part in table if not part.isdigit()):
        fields = [inner.model_fields[name] for inner in models if name in inner.model_fields]
        models = [found for field in fields for found in models_in(field.annotation)]
    return list(dict.fromkeys(key for inner in models for key in inner.model_fields))


def _what(problem: Any, key: Key, model: type[BaseModel], extra: Sequence[str]) -> str:
    if problem["type"] == "extra_forbidden":
        return f"unknown key{_suggestion(key, model, extra)}"
    if problem["type"] == "missing":
        return "is missing"
    message = _PLAIN.get(problem["type"]) or _message(problem)
    if problem["type"] == "too_short":
        message = f"expected at least {problem['ctx']['min_length']}"
    got = "" if isinstance(problem["input"], Mapping | BaseModel) else f", got {shown(problem['input'])}"
    return f"{message}{got}"


def _message(problem: Any) -> str:
    message = one_line(problem["msg"].removeprefix("Value error, "))
    return f"{message[:1].lower()}{message[1:]}"


def _suggestion(key: Key, model: type[BaseModel], extra: Sequence[str]) -> str:
    *table, word = key
    siblings = [*known_keys(model, table), *(extra if not table else ())]
    if near := did_you_mean(word, siblings):
        return near
    # The key may be right and the section wrong: `train = 5000` at the top of a file.
    if elsewhere := [".".join(known) for known in _all_keys(model) if known[-1] == word]:
        return f"; did you mean '{elsewhere[0]}'?"
    return f"; known here: {', '.join(siblings)}" if siblings else ""


def _key_of(problem: Any, tables: Mapping[str, Any]) -> Key:
    """Return the key of the document that pydantic's location is about.

    A location also names the member of a union it speaks of, which is no key: the reading is taken that follows
    the document furthest, its last part before all others (`lsf.profile.profile` may be two keys, or one).
    """
    location = tuple(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return (*_longest_reading(location[:-1], tables, ends_in_table=True), location[-1])
    return _longest_reading(location, tables)


def _longest_reading(location: Key, tables: Mapping[str, Any], ends_in_table: bool = False) -> Key:
    readings: list[tuple[bool, int, Key]] = []
    for count in range(len(location) + 1):
        for kept in combinations(range(len(location)), count):
            key = tuple(location[at] for at in kept)
            there, value = look_up(tables, key)
            if there and (isinstance(value, Mapping) or not ends_in_table):
                readings.append((len(location) - 1 in kept, count, key))
    return max(readings)[2]


def look_up(tables: Any, key: Sequence[str]) -> tuple[bool, Any]:
    """Return whether nested tables and lists have `key`, and its value."""
    for part in key:
        if isinstance(tables, Mapping) and part in tables:
            tables = tables[part]
        elif isinstance(tables, list) and part.isdigit() and int(part) < len(tables):
            tables = tables[int(part)]
        else:
            return False, None
    return True, tables


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models an annotation mentions, those inside unions and lists included."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def _all_keys(model: type[BaseModel], prefix: Key = ()) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        yield (*prefix, name)
        for inner in models_in(field.annotation):
            yield from _all_keys(inner, (*prefix, name))
