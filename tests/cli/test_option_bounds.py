"""No number on the command line is without an upper bound."""

import inspect
from typing import get_args, get_type_hints

import pytest
import typer

from specvit.cli import main
from specvit.cli.bounds import LARGEST, MOST_SPECTRA
from specvit.cli.console import VERBS, _load
from specvit.errors import ConfigError
from specvit.jobs.config import sections
from specvit.training.recipe import Recipe


def functions(target):
    """Yield the functions that do the work of a verb."""
    if not isinstance(target, typer.Typer):
        yield target
        return
    for command in target.registered_commands:
        yield command.callback
    for group in target.registered_groups:
        yield from functions(group.typer_instance)


def holds_number(annotation):
    return annotation in (int, float) or any(holds_number(part) for part in get_args(annotation))


def numbers(function):
    hints = get_type_hints(function, localns={"Any": object})
    return [name for name in inspect.signature(function).parameters if holds_number(hints[name])]


@pytest.mark.parametrize("verb", VERBS)
def test_every_number_has_a_bound(verb):
    for function in functions(_load(VERBS[verb])):
        assert set(numbers(function)) <= set(LARGEST), function.__name__


def test_runs_and_verbs_agree_on_the_largest_set():
    assert MOST_SPECTRA == sections.MOST_SPECTRA


def test_a_number_without_a_bound_would_be_seen():
    def careless(flux: int | None = None, name: str = "") -> None: ...

    assert numbers(careless) == ["flux"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "--out", "x", "--spectra", "99999999999"], "--spectra: expected at most 100,000,000"),
        (["simulate", "--out", "x", "--shards", "9" * 60], "--shards: expected at most 100,000, got a number of"),
        (["simulate", "--out", "x", "--workers", "1000000"], "--workers: expected at most 4,096, got 1,000,000"),
        (["simulate", "--out", "x", "--noise-level", "nan"], "--noise-level: expected at most 1,000,000.0, got nan"),
        (["audit", "experts", "x", "--posteriors", "-1"], "--posteriors: expected 0 or more, got -1"),
        (["distil", "subspace", "--threads", "-2"], "--threads: expected 0 or more, got -2"),
        (["train", "--minutes", "inf"], "--minutes: expected at most 43,200, got inf"),
        (["train", "--steps", "1000000000000"], "--steps: expected at most"),
        (["explain", "vit", "--stars", "1000000000000"], "--stars: expected at most"),
        (["library", "download", "bosz", "--folder", "x", "--connections", "10000"], "--connections: expected"),
    ],
)  # fmt: skip
def test_a_number_beyond_its_bound_is_refused_before_any_work(capsys, arguments, message):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize(
    "name", ["batch", "steps", "minutes", "lr", "clip", "validations", "checkpoint_minutes"]
)
def test_a_recipe_is_bounded(name, value):
    with pytest.raises(ConfigError, match=f"{name}: expected"):
        Recipe(**{name: value})
