"""Whatever the encoding, the width or the reader: every verb prints, or ends in one line."""

import io
import json
import os
import subprocess
import sys

import pytest

from specvit.cli import console, library_options, main
from specvit.cli.progress import RichProgress
from specvit.cli.screen import Screen, print_table
from specvit.cli.terminal import ReaderGone, say, show, show_json
from specvit.errors import ConfigError, RunError

#: Cheap, and with names that no encoding but UTF-8 holds and no markup should touch.
NAME = "[/x][red]σ日\udcff"
CHEAP = {
    "run": ["--set", f"simulate.train={NAME}"],
    "simulate": ["--out", f"FOLDER/{NAME}", "--spectra", "8"],
    "train": ["--model", NAME],
    "calibrate": [NAME, "--out", f"FOLDER/{NAME}"],
    "refine": [NAME, "--out", f"FOLDER/{NAME}"],
    "predict": [NAME],
    "calibrate-stars": [NAME, "--out", f"FOLDER/{NAME}"],
    "denoise": [NAME, "--out", f"FOLDER/{NAME}"],
    "latents": [NAME, "--out", f"FOLDER/{NAME}.h5"],
    "probe": [NAME],
    "distil": [NAME],
    "finetune": [NAME],
    "study": ["show", NAME],
    "audit": ["experts", NAME],
    "hub": ["build", "--results", NAME, "--output", f"FOLDER/{NAME}"],
    "paper": ["build", "--results", NAME, "--output", f"FOLDER/{NAME}"],
    "library": ["info", "builtin"],
    "instrument": ["show", "pfs_mr"],
    "ceiling": ["--mag", "20", "--stars", "prior", "--count", "3"],
    "explain": [NAME],
    "report": ["--list", "--folder", f"FOLDER/{NAME}"],
    "doctor": [],
}
JSON = {
    "simulate": ["--out", f"FOLDER/{NAME}", "--spectra", "8"],
    "library list": [],
    "library info": ["builtin"],
    "instrument list": [],
    "instrument show": ["pfs_mr"],
    "instrument snr": ["pfs_mr"],
    # At magnitude 30 the errors are not bounded.
    "ceiling": ["--mag", "24", "--stars", "prior", "--count", "3", "--continuum", "-1"],
    "report": ["--list", "--folder", "FOLDER"],
    "doctor": [],
}


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


class Unwritable(io.RawIOBase):
    """A full disk, or a pipe without a reader."""

    def __init__(self, error):
        self.error = error

    def writable(self):
        return True

    def write(self, _):
        raise self.error


@pytest.fixture
def streams(monkeypatch):
    """Give standard output and error an encoding; return a function that returns what they got."""

    def encoded(encoding):
        taken = {}
        for name in ("stdout", "stderr"):
            taken[name] = io.BytesIO()
            monkeypatch.setattr(sys, name, io.TextIOWrapper(taken[name], encoding=encoding, newline="\n"))
        return lambda: [buffer.getvalue().decode(encoding) for buffer in taken.values()]

    return encoded


@pytest.fixture
def unwritable(monkeypatch):
    """Make a standard stream fail with an error."""

    def replace(name, error):
        monkeypatch.setattr(
            sys, name, io.TextIOWrapper(io.BufferedWriter(Unwritable(error)), encoding="utf-8")
        )

    return replace


def arguments(words, folder):
    return [word.replace("FOLDER", str(folder)) for word in words]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("verb", console.VERBS)
def test_every_verb_prints_in_every_encoding(verb, encoding, streams, tmp_path):
    printed = streams(encoding)
    assert main([verb, "--help"]) == 0
    assert "Usage: specvit" in printed()[0]
    code = main([verb, *arguments(CHEAP[verb], tmp_path)])
    out, err = printed()
    assert "unexpected" not in err
    assert code == 0 or (err.startswith("error: ") and err.count("\n") == 1)
    if NAME in "".join(CHEAP[verb]):
        assert "[/x][red]sigma\\u65e5\\" in out + err  # \\xff, or \\udcff where a message quotes it


@pytest.mark.parametrize("call", JSON)
def test_json_is_all_that_standard_output_holds(call, streams, tmp_path):
    printed = streams("ascii")
    assert main([*call.split(), *arguments(JSON[call], tmp_path), "--json"]) == 0

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    json.loads(printed()[0], parse_constant=refuse)


def test_what_json_cannot_say_is_null(capsys):
    show_json({"a": [float("nan"), (float("inf"), 1.5)]})
    assert json.loads(capsys.readouterr().out) == {"a": [None, [None, 1.5]]}


def test_a_question_is_not_part_of_the_result(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    library_options.agree("Start?")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Start?")
    for answer in ("n\n", ""):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        with pytest.raises(ConfigError, match="not started"):
            library_options.agree("Start?")


@pytest.mark.parametrize("print_it", [lambda: show("a"), lambda: show_json([]), lambda: table("a")])
def test_a_result_that_cannot_be_printed_is_an_error(print_it, unwritable):
    unwritable("stdout", OSError(28, "No space left on device"))
    with pytest.raises(RunError, match="cannot print the result: No space left on device"):
        print_it()
    unwritable("stdout", BrokenPipeError())
    with pytest.raises(ReaderGone):
        print_it()


def table(cell, **options):
    from rich.table import Table

    grid = Table("σ" * 5, "value", title="[/title]")
    grid.add_row(cell, "x" * 100)
    print_table(Screen(**options), grid)


def test_a_log_that_cannot_be_written_ends_no_job_but_a_reader_that_left_does(unwritable):
    unwritable("stderr", OSError(28, "No space left on device"))
    say("a")
    RichProgress(Screen(stderr=True)).say("a")
    unwritable("stderr", BrokenPipeError())
    for speak in (say, RichProgress(Screen(stderr=True)).say):
        with pytest.raises(ReaderGone):
            speak("a")


@pytest.mark.parametrize("call", ["--help", "--version", "library list --help"])
def test_lost_output_has_its_line_and_exit_code(call):
    command = f"{sys.executable} -m specvit {call}"
    line = {
        "full": "error: cannot print the result: No space left",
        "closed": "error: standard output is closed",
    }
    for name, place in (("full", ">/dev/full"), ("closed", ">&-")):
        done = subprocess.run(f"{command} {place}", shell=True, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith(line[name])
        assert done.stderr.count("\n") == 1
    gone = subprocess.run(
        f"({command}; echo $? >&2) | true", shell=True, capture_output=True, text=True, check=True
    )
    assert gone.stderr == "141\n"


def test_a_closed_standard_input_or_error_is_no_matter():
    for place in ("<&-", "2>&-"):
        done = subprocess.run(
            f"{sys.executable} -m specvit --version {place}", shell=True, capture_output=True
        )
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_traceback_that_cannot_be_kept_still_leaves_one_line(monkeypatch, capsys):
    def nowhere(*_, **__):
        raise FileNotFoundError("No usable temporary directory")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", nowhere)
    assert "--traceback" in console._unexpected(ValueError("x"), shown=False)


@pytest.mark.parametrize("error", [ValueError(NAME), ValueError("two\nlines \x1b[31m")])
def test_an_unexpected_error_of_any_text_is_one_line(error, monkeypatch, streams):
    def fail(_):
        raise error

    monkeypatch.setattr(console, "_load", fail)
    printed = streams("ascii")
    assert main(["doctor"]) == 1
    assert printed()[1].count("\n") == 1
    assert "\x1b" not in printed()[1]


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colour_is_for_terminals_that_have_it(environment, coloured, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Terminal())
    say(("a", "red"), "b")
    assert sys.stderr.getvalue() == ("\x1b[31ma\x1b[0mb\n" if coloured else "ab\n")


def test_a_table_is_whole_in_any_width_and_encoding(monkeypatch, streams):
    monkeypatch.setenv("COLUMNS", "20")
    printed = streams("ascii")
    table("[red]\udcff\x1b[1m")
    out = printed()[0]
    assert "x" * 100 in out
    assert "[red]\\xff\\x1b[1m" in out
    assert "[/title]" in out
    assert len({len(line) for line in out.splitlines()[1:]}) == 1


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves."""
    now = [0.0]
    monkeypatch.setattr("specvit.cli.progress.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("dumb", [False, True])
def test_a_log_gets_a_line_now_and_then_and_no_control_characters(dumb, clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb" if dumb else "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")  # colours, which a log viewer may show, are not a cursor
    monkeypatch.setattr(sys, "stderr", Terminal() if dumb else io.StringIO())
    with RichProgress(Screen(stderr=True)) as progress, progress.task("fit [/x]") as update:
        for second in range(100):
            clock[0] = float(second)
            update(second, 200, "loss 1")
        progress.say("a line " + "that is long " * 20)
    lines = sys.stderr.getvalue().splitlines()
    assert lines[:3] == [
        f"fit [/x]: {s / 2:.0f} % after {s} s, {200 - s} s to go, loss 1" for s in (30, 60, 90)
    ]
    assert len(lines) == 5
    assert lines[-1] == "fit [/x]: done in 99.0 s"
    assert not set("\r\x1b") & set(sys.stderr.getvalue())


@pytest.mark.parametrize("columns", ["20", "200"])
def test_bars_are_drawn_on_a_terminal_of_any_width(columns, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with RichProgress(Screen(stderr=True)) as progress, progress.task("fit [/x] σ") as update:
        update(1, 2)
        progress.say("[/y]")
    drawn = sys.stderr.getvalue()
    assert "fit [/x]" in drawn
    assert "[/y]" in drawn
    assert "100%" in drawn


def test_a_quiet_screen_says_nothing(capsys):
    with RichProgress(Screen(stderr=True, quiet=True)) as progress, progress.task("fit") as update:
        update(1, 2)
    assert capsys.readouterr() == ("", "")


def test_help_states_the_exit_codes(capsys):
    main(["--help"])
    assert " ".join(console.EXIT_CODES.split()) in " ".join(capsys.readouterr().out.split())


def test_the_path_of_an_error_may_be_bytes(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff[/x]"
    command = [sys.executable, "-m", "specvit", "report", "--list", "--folder", path]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 1
    assert b"\\xff[/x]: no such folder" in done.stderr
    assert done.stderr.count(b"\n") == 1
