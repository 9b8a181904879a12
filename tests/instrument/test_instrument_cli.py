"""`specvit instrument`: what it prints, as text and JSON, and its exit codes."""

import json
import re

import numpy as np
import pytest

from specvit.cli import main
from specvit.instrument import Instrument, instrument_names


def run(capsys, *arguments):
    code = main(["instrument", *arguments])
    return code, *capsys.readouterr()


def test_list(capsys):
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0
    assert tuple(json.loads(out)) == instrument_names()
    code, out, _ = run(capsys, "list")
    assert [line.split()[0] for line in out.splitlines()] == list(instrument_names())


def test_show(capsys):
    code, out, _ = run(capsys, "show", "pfs_mr", "--json")
    facts = json.loads(out)
    assert (code, facts["pixels"], facts["medium"]) == (0, 4096, "vacuum")
    assert facts["conditions"]["seeing"] == {"low": 0.5, "high": 1.5, "default": 0.8}
    code, out, _ = run(capsys, "show", "pfs_mr")
    assert "4096 pixels, 7100.21-8849.79 Å (vacuum)" in out


def test_snr_prints_the_calculators_table(capsys):
    arguments = ["--mag", "18:23", "--seeing", "0.8", "--zenith-angle", "30", "--field-angle", "0", "--json"]
    code, out, _ = run(capsys, "snr", "pfs_mr_etc", *arguments)
    rows = json.loads(out)
    assert code == 0
    assert [row["mag"] for row in rows] == [18, 19, 20, 21, 22, 23]
    # The calculator's check table; tests/instrument/data/README.md.
    expected = {
        "median": [98.24, 53.83, 26.91, 12.18, 5.15, 2.11],
        "mean": [91.34, 49.21, 24.23, 10.91, 4.62, 1.89],
        "p5": [39.79, 16.48, 6.73, 2.70, 1.08, 0.43],
        "p95": [109.25, 61.89, 32.03, 14.97, 6.47, 2.67],
    }
    for key, values in expected.items():
        np.testing.assert_allclose([row[key] for row in rows], values, atol=0.006)
    code, out, _ = run(capsys, "snr", "pfs_mr", "--mag", "20,21.5")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["20.00", "21.50"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("show", "nothing"), 2, "instrument 'nothing' is not known"),
        (("snr", "pfs_mr", "--mag", "bright"), 2, "--mag bright: expected numbers"),
        (("snr", "pfs_mr", "--mag", "23:18"), 2, "expected FIRST <= LAST"),
        (("snr", "pfs_mr", "--seeing", "9"), 1, "seeing = 9 arcsec FWHM"),
        (("check", "missing.toml"), 2, "missing.toml does not exist"),
    ],
)
def test_errors_are_one_line(capsys, arguments, code, message):
    found, out, err = run(capsys, *arguments)
    assert found == code
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""


def test_show_tells_what_there_is(capsys):
    code, out, _ = run(capsys, "show", "weave_lr_red")
    assert code == 0
    for told in (
        "in 2 segments (5790.24-7589.76, 7669.24-9589.24)",
        "clip ",
        "throughput ",
        "sigma ",
        "S/N ",
    ):
        assert told in out
    code, out, _ = run(capsys, "show", "muse", "--json", "--set", "conditions.mag=18")
    facts = json.loads(out)
    assert (facts["stated_in_air"], facts["medium"], facts["clip"]) == (True, "vacuum", True)
    assert facts["conditions"]["mag"] == {"low": 18, "high": 18, "default": 18}
    code, out, _ = run(capsys, "show", "muse")
    assert "(vacuum), converted from air" in out


def test_check_of_a_library_of_ones_own_and_of_what_it_covers(capsys, tmp_path):
    from specvit.library import Emulator

    emulator = Emulator.builtin()
    emulator.save(tmp_path / "mine.safetensors")
    path = tmp_path / "wide.toml"
    path.write_text(
        'extends = "gaia_rvs"\nname = "wide"\n[grid]\nstart = 8700.0\nstep = 0.245\npixels = 2000\n'
        '[band]\nname = "i"\n[object]\nthroughput = 0.4\n'
    )
    library = ("--library", str(tmp_path / "mine.safetensors"))
    code, _, err = run(capsys, "check", str(path), *library)
    assert code == 1
    assert "to use the pixels that both have, set clip = true" in err
    for clipped in (("--clip",), ("--set", "clip=true")):
        code, out, _ = run(capsys, "check", str(path), *library, *clipped, "--json")
        assert code == 0
        assert 8940 < json.loads(out)["stop"] < 8950
    code, _, err = run(capsys, "check", str(path), "--library", "nothing.safetensors")
    assert code == 2
    assert "--library nothing.safetensors: no such file" in err


def test_check_looks_at_the_library_through_the_instrument(capsys, tmp_path):
    path = tmp_path / "wide.toml"
    text = 'extends = "gaia_rvs"\nname = "wide"\n[grid]\nstart = 6000.0\nstep = 0.245\npixels = 1000\n'
    path.write_text(text + "[object]\nthroughput = 0.4\n")
    code, out, _ = run(capsys, "show", str(path))
    assert code == 0
    code, out, err = run(capsys, "check", str(path))
    assert code == 1
    assert "the instrument needs 59" in err
    code, out, _ = run(capsys, "check", "gaia_rvs")
    assert code == 0
    assert "11500" in out


@pytest.mark.parametrize("name", instrument_names())
def test_every_preset_does_all_that_is_promised(capsys, tmp_path, name):
    from specvit.library import Emulator

    library = tmp_path / "mine.safetensors"
    Emulator.builtin().save(library)
    code, out, _ = run(capsys, "show", name, "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["source"]
    code, out, err = run(capsys, "check", name, "--library", str(library), "--json")
    assert (code, err) == (0, "")
    seen = json.loads(out)
    assert 7000 < seen["start"] < seen["stop"] < 8950
    mag = str(shown["conditions"]["mag"]["default"])
    code, out, err = run(capsys, "exposure", name, "--snr", "5", "--mag", mag, "--json")
    assert (code, err) == (0, "")
    (row,) = json.loads(out)
    assert 1 <= row["exact"] <= row["exposures"] < 1e4
    # So many, and no fewer, give the S/N that `snr` states.
    whole = ("snr", name, "--mag", mag, "--set", f"conditions.exposure_count={row['exposures']}", "--json")
    code, out, err = run(capsys, *whole)
    assert (code, err) == (0, "")
    assert json.loads(out)[0]["median"] == pytest.approx(row["snr"], rel=1e-4)
    assert row["snr"] >= 5
    image = tmp_path / "plot.png"
    assert run(capsys, "plot", name, "-o", str(image))[0] == 0
    assert image.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", instrument_names())
def test_the_resolving_power_of_a_preset_is_what_its_line_says(name):
    instrument = Instrument.load(name)
    stated = re.search(r"\bR = (\d+)(?:-(\d+))?", instrument.description)
    if stated is None:
        assert name.startswith("pfs_mr")
        return
    power = instrument.resolving_power()
    assert power.min() == pytest.approx(int(stated[1]), rel=0.03)
    assert power.max() == pytest.approx(int(stated[2] or stated[1]), rel=0.03)
