import subprocess
import sys

import pytest
import typer

import specvit
from specvit.cli import console, main
from specvit.errors import ConfigError, DataError


@pytest.fixture
def verb(monkeypatch):
    """Register the verb `try-it` that does what the test says."""

    def register(action):
        def try_it(number: int = typer.Option(1, help="A number.")) -> None:
            """Do what the test says."""
            action()

        monkeypatch.setattr(sys.modules[__name__], "registered", try_it, raising=False)
        verbs = {"try-it": console.Verb(f"{__name__}:registered", "Do what the test says.")}
        monkeypatch.setattr(console, "VERBS", verbs)

    return register


def failing(error):
    def action():
        raise error

    return action


def one_line(capsys):
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"specvit {specvit.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_verb_with_what_it_does(arguments, capsys):
    assert main(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, verb in console.VERBS.items():
        assert f"{name} {verb.help}" in shown


def test_every_listed_verb_can_be_loaded():
    for verb in console.VERBS.values():
        assert callable(console._load(verb))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["no-such-verb"], "No such command 'no-such-verb'"),
        (["--no-such-option"], "No such option: --no-such-option"),
        (["doctor", "--no-such-option"], "No such option: --no-such-option"),
        (["doctor", "--folder"], "requires an argument"),
        (["doctor", "one", "too", "many"], "unexpected extra argument"),
    ],
)
def test_a_wrong_request_is_one_line_and_code_2(arguments, expected, capsys):
    assert main(arguments) == 2
    line = one_line(capsys)
    assert expected in line
    assert "--help" in line


@pytest.mark.parametrize(("error", "code"), [(ConfigError("key: wrong"), 2), (DataError("file: broken"), 1)])
def test_expected_errors_are_one_line_with_their_code(verb, error, code, capsys):
    verb(failing(error))
    assert main(["try-it"]) == code
    assert one_line(capsys) == f"error: {error}\n"


def test_an_error_of_several_lines_is_folded_into_one(verb, capsys):
    verb(failing(DataError("first\n  second")))
    assert main(["try-it"]) == 1
    assert one_line(capsys) == "error: first second\n"


def test_an_unexpected_error_leaves_its_traceback_in_a_file(verb, capsys):
    verb(failing(ZeroDivisionError("by zero")))
    assert main(["try-it"]) == 1
    line = one_line(capsys)
    assert "unexpected ZeroDivisionError: by zero" in line
    with open(line.split()[-1]) as file:
        assert "in action" in file.read()


def test_traceback_may_be_asked_for_before_or_after_the_verb(verb, capsys):
    verb(failing(ZeroDivisionError("by zero")))
    for arguments in (["--traceback", "try-it"], ["try-it", "--traceback"]):
        assert main(arguments) == 1
        assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interruption_says_that_the_job_continues(verb, capsys):
    verb(failing(KeyboardInterrupt()))
    assert main(["try-it"]) == 130
    assert "continues after the last finished stage" in capsys.readouterr().err


def test_a_verb_sets_its_own_exit_code(verb):
    verb(failing(typer.Exit(3)))
    assert main(["try-it"]) == 3


def test_a_verb_that_returns_counts_as_done(verb):
    verb(lambda: None)
    assert main(["try-it", "--number", "4"]) == 0


def test_the_module_runs_as_the_command_and_survives_a_closed_pipe():
    script = f"{sys.executable} -m specvit --help | head -1"
    done = subprocess.run(script, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("Usage: specvit")
    assert "Traceback" not in done.stderr
