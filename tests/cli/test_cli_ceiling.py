"""`specvit ceiling`: table, JSON, CSV and one-line errors."""

import json
import math

import pytest

from specvit.cli import main
from specvit.cli.magnitudes import parse_magnitudes
from specvit.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

FEW = ["--stars", "prior", "--count", "20"]


@pytest.mark.parametrize("instrument", ["pfs_mr", "pfs_mr_reference"])
def test_both_presets_give_a_table_as_json(capsys, instrument):
    assert (
        main(["ceiling", "--instrument", instrument, "--mag", "20:22", "--labels", "3", "--json", *FEW]) == 0
    )
    facts = json.loads(capsys.readouterr().out)
    assert facts["free_labels"] == ["teff", "log_g", "m_h"]
    assert facts["stars"] == 20
    assert facts["prior_variance"] == pytest.approx(4 / 3)
    assert [row["mag"] for row in facts["rows"]] == [20, 21, 22]
    means = [row["r2_mean"] for row in facts["rows"]]
    assert means == sorted(means, reverse=True)
    assert all(math.isfinite(value) for row in facts["rows"] for value in row.values())


def test_the_table_shows_the_published_row_below_ours(capsys):
    assert main(["ceiling", "--instrument", "pfs_mr_reference", "--mag", "21.5", "--published", *FEW]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "prior variance 1.3333" in lines[0]
    (ours,) = [line.split() for line in lines if line.split()[:1] == ["21.5"]]
    (theirs,) = [line.split() for line in lines if line.split()[:1] == ["pub."]]
    assert len(ours) == len(theirs) == 13
    assert theirs[:4] == ["pub.", "7.1", "0.8742", "-"]
    # S/N, medians and the condition number stand in equal columns.
    assert float(ours[2]) == pytest.approx(0.87, abs=0.1)
    assert 1e4 < float(ours[12]) < 1e8
    assert any("prior variance 1.6667" in line for line in lines)


def test_json_carries_the_published_rows_and_the_file_written(capsys, tmp_path):
    path = tmp_path / "stars.csv"
    options = ["--mag", "21.5,21.7", "--labels", "3", "--published", "--json", "--out", str(path)]
    assert main(["ceiling", *options, *FEW]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [row["mag"] for row in facts["published"]] == [21.5]
    assert facts["published"][0]["sigma_median"] == 0.4255
    assert (facts["rows_written"], facts["out"]) == (40, str(path))
    assert len(path.read_text().splitlines()) == 41


def test_a_csv_of_stars_is_written(capsys, tmp_path):
    path = tmp_path / "stars.csv"
    assert main(["ceiling", "--mag", "20,21", "--out", str(path), "--seeing", "0.6", *FEW]) == 0
    lines = path.read_text().splitlines()
    assert len(lines) == 41
    assert "correlation_log_g_m_h" in lines[0]
    assert f"40 rows written to {path}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--labels", "4"], "expected 3 or 5"),
        (["--label", "vsini"], "--label vsini: not a label of the library; choose from teff"),
        (["--label", "alpha_m", "--labels", "3"], "not among the free labels"),
        (["--variance", "wide"], "expected uniform, lattice, reference"),
        (["--variance", "-1"], "positive number"),
        (["--variance", "inf"], "positive number"),
        (["--stars", "all"], "nodes, all-nodes or prior"),
        (["--count", "0", "--stars", "prior"], "at least 1 star"),
        (["--seed", "-1", "--stars", "prior"], "--seed: expected 0 or more, got -1"),
        (["--mag", "bright"], "expected numbers"),
        (["--mag", "nan"], "expected numbers"),
        (["--mag", "60"], "--mag 60: mag = 60 AB mag"),
        (["--moon", "7"], "--moon 7: moon = 7 lunar phase"),
        (["--zenith-angle", "nan"], "--zenith-angle nan: zenith_angle = nan deg"),
        (["--instrument", "hubble"], "hubble"),
        (["--continuum", "-2"], "--continuum: expected -1 or more, got -2"),
        (["--continuum", "4000"], "continuum order must be 0 to 50"),
        (["--library", "none.safetensors"], "--library none.safetensors: no such file"),
        (["--out", "."], "--out .: is a folder"),
        (["--published", "--label", "teff"], "table is of log_g, not of teff"),
    ],
)
def test_requests_that_cannot_be_meant_are_one_line_and_code_two(capsys, arguments, words):
    assert main(["ceiling", *arguments]) == 2
    output = capsys.readouterr()
    assert words in output.err
    assert len(output.err.strip().splitlines()) == 1
    assert output.out == ""


def test_a_table_that_cannot_be_written_is_one_line_and_leaves_nothing(capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert main(["ceiling", "--mag", "20", "--out", str(tmp_path / "file" / "stars.csv"), *FEW]) == 1
    error = capsys.readouterr().err.strip()
    assert "cannot write" in error.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_magnitudes_are_numbers_lists_or_ranges():
    assert parse_magnitudes("20.5") == [20.5]
    assert parse_magnitudes("18,20,22") == [18, 20, 22]
    assert parse_magnitudes("18:20") == [18, 19, 20]
    assert parse_magnitudes("18:19:0.5") == [18, 18.5, 19]
    for text in ("", "18:", "a:b", "1:2:3:4", "20:18", "18:20:0", "0:20:0.001", "inf", "18:nan", "18:20:inf"):
        with pytest.raises(ConfigError, match="--mag"):
            parse_magnitudes(text)
