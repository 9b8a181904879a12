"""Documents that blunder or attack are refused in one line that names them, whoever reads them."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specvit.documents import dump_toml
from specvit.documents.toml import DEEPEST, LARGEST_FILE
from specvit.errors import ConfigError, SpecvitError
from specvit.instrument import Instrument
from specvit.jobs.config import resolve

INSTRUMENT = """format_version = 1
name = "toy"
description = "a toy"
[grid]
start = 8000.0
step = 0.5
pixels = 12
[lsf]
kind = "gaussian"
resolving_power = 5000
[band]
name = "toy"
blue = 7900.0
red = 8300.0
[object]
area = 1.0
throughput = { wavelength = [8000.0, 8100.0], value = [0.3, 0.2] }
[detector]
read_noise = 3.0
[conditions]
mag = { low = 15.0, high = 17.0 }
exposure_time = 600.0
exposure_count = 2
"""
CONFIGURATION = dump_toml(resolve("smoke").to_dict())


def read_instrument(path):
    return Instrument.load(path)


def read_configuration(path):
    return resolve("smoke", path)


READERS = pytest.mark.parametrize("read", [read_instrument, read_configuration])


def refusal(read, argument):
    """Return the message with which `argument` is refused; it has one line of bearable length."""
    with pytest.raises(ConfigError) as caught:
        read(argument)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1000
    return message


HOSTILE = {
    "digits": (b"a = 1\nb = " + b"9" * 5000, ":2"),
    "hex digits": (b"a = 1\nb = 0x" + b"f" * 100_000, ":2"),
    "more than 64 bits": (b"\nseed = 9223372036854775808", ":2"),
    "nested lists": (b"a = " + b"[" * 3000, "nested too deeply"),
    "closed nested lists": (b"\na = " + b"[" * 40 + b"]" * 40, ":2"),
    "nested tables": (b"a = " + b"{a = " * 3000, "nested too deeply"),
    "a key of many parts": (b"\n" + b"a." * 400_000 + b"a = 1", ":2: a key of more than"),
    "a key of many quoted parts": (b"\n" + b'"a" . ' * 100_000 + b"a = 1", ":2: a key of more than"),
    "a table of many parts": (b"\n[" + b"a." * 400_000 + b"a]", ":2: a key of more than"),
    "a deep table": (b"\n[" + b".".join([b"a"] * (DEEPEST + 3)) + b"]\nb = 1", "nested too deeply"),
    "one long word": (b"a" * 900_000, "not valid TOML"),
    "brackets and spaces": (b"a = 99999999999999999999\n[" + b" " * 500_000, "not valid TOML"),
    "spaces in a long header": (b"x = 99999999999999999999\n[" + b" a " * 3 + b"]" + b" " * 500_000, "not valid TOML"),
    "too large": (b"#" * (LARGEST_FILE + 1), "larger than"),
    "a NUL": (b"a = 1\nb = \"\0\"", "not valid TOML"),
    "an escaped NUL": (b'\nname = "a\\u0000b"', ":2"),
    "a NUL in a key": (b'\n"a\\u0000b" = 1', "is no text"),
    "half a character": (b'name = "\\ud800"', "not valid TOML"),
    "not UTF-8": (b'\n\nname = "\xff"', ":3: not a UTF-8"),
    "UTF-16": ("name = 'a'".encode("utf-16"), "not a UTF-8"),
    "a key twice": (b"a = 1\na = 2", "not valid TOML"),
    "a date": (b"\nname = 2026-01-01", "hostile"),
    "a long name": (b'\nextends = "' + b"n" * 5000 + b'.toml"', ":2"),
    "a NUL in what it extends": (b'extends = "a\\u0000.toml"', ":1"),
    "a folder it extends": (b'extends = "."', ":1"),
    "a list it extends": (b'extends = ["a"]', ":1"),
    "itself": (b'extends = "hostile.toml"', "cannot extend itself"),
    "a long unknown key": (b"k" * 900_000 + b" = 1", "unknown key"),
    "a key with a line break": (b'"a\\nb" = 1', "unknown key"),
    "a long value": (b'extends = "' + b"x" * 500_000 + b'"', "xxx..."),
}  # fmt: skip


@READERS
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(tmp_path, read, name):
    content, expected = HOSTILE[name]
    path = tmp_path / "hostile.toml"
    path.write_bytes(content)
    message = refusal(read, path)
    assert "hostile.toml" in message
    assert expected in message


@READERS
def test_what_is_no_file_is_refused(tmp_path, read):
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert "this is a folder" in refusal(read, folder)
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    assert "a device or pipe" in refusal(read, pipe)
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    for name in ("absent.toml", "n" * 300 + ".toml", "n/" * 3000 + "a.toml", "nul\0.toml", "\udcff.toml"):
        refusal(read, tmp_path / name)
    refusal(read, loop)


@pytest.mark.parametrize("name", ["n" * 5000, "a\0b", "\udcff", "a\nb", ""])
@pytest.mark.parametrize("read", [Instrument.load, resolve])
def test_a_hostile_name_is_refused(read, name):
    assert "is not known; choose " in refusal(read, name)


@READERS
def test_a_byte_order_mark_and_foreign_line_ends_are_no_fault(tmp_path, read):
    text = INSTRUMENT if read is read_instrument else CONFIGURATION
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    read(path)


@pytest.mark.parametrize(
    "override",
    [
        "simulate.train=" + "9" * 5000,
        "simulate.train=99999999999999999999",
        "evaluate.bootstrap=99999999999",
        "simulate.train=" + "[" * 3000,
        ".".join("a" * 5000) + "=1",
        "simulate." + "t" * 100_000 + "=1",
        "run.name=a\0b",
        "run.folder=\udcff",
        "run.folder='" + "f" * 300 + "'",
        "library.name='" + "a/" * 3000 + "'",
        "simulate.train=5\nsimulate.test=5",
        "simulate.train={a = {a = 1}}",
        "simulate.seed=true",
        "simulate.noise_level=true",
        "simulate.noise_level=inf",
        "simulate.noise_level=nan",
        "simulate.bounds.log_g=[nan, 3]",
        "simulate.bounds.log_g=[2, inf]",
        "simulate.bounds=5",
        "models=[]",
        "evaluate.snr_edges=[1, 2, nan]",
        "models.networks.minutes=1e300",
        "run.threads=1e9",
        "extends=laptop",
        "\0=1",
        "=",
    ],
)
def test_a_hostile_override_is_refused_in_one_line(override):
    assert "--set" in refusal(lambda text: resolve("smoke", None, [text]), override)


tokens = st.sampled_from(
    ["=", "[", "]", "{", "}", '"', "'", ".", ",", "\n", "#", "\\", "nan", "inf", "-", "1e308", "1e-320", "true",
     "[[", "0", "9" * 30, "_", "\0", "é", "\u2028", "\ud7ff", "[a]", "extends", "extends = 'pfs_mr'\n", "= {}", "'''"]
)  # fmt: skip


@st.composite
def mutants(draw, text):
    """A document with a few characters replaced, pieces cut out, repeated or moved, and tokens thrown in."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 12)))
        piece = draw(st.one_of(tokens, st.text(max_size=4), st.just(text[start:stop] * 2), st.just("")))
        text = text[:start] + piece + text[stop:]
    return text


def check_read_or_refused(read, argument, named):
    """Read a document; if it is refused, then in one line that names it."""
    try:
        read(argument)
        return
    except SpecvitError as error:
        message = str(error)
    assert message.isprintable()
    assert named in message


def read_mutant(folder, read, text):
    path = folder / "mutant.toml"
    path.write_text(text, encoding="utf-8", newline="")
    check_read_or_refused(read, path, path.name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mutants")


@settings(deadline=None)
@given(text=mutants(INSTRUMENT))
def test_a_mutated_instrument_file_is_read_or_refused(folder, text):
    read_mutant(folder, read_instrument, text)


@settings(deadline=None)
@given(text=mutants(CONFIGURATION))
def test_a_mutated_configuration_is_read_or_refused(folder, text):
    read_mutant(folder, read_configuration, text)


@settings(deadline=None)
@given(
    text=st.one_of(mutants("simulate.bounds.log_g=[2.0, 3.0]"), mutants("models.names=['ridge']"), st.text())
)
def test_a_mutated_override_is_read_or_refused(text):
    check_read_or_refused(lambda said: resolve("smoke", None, [said]), text, "--set")
