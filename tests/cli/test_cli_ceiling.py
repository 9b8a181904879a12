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


def test_the_table_shows_the_published_row_beside_ours(capsys):
    assert main(["ceiling", "--instrument", "pfs_mr_reference", "--mag", "21.5", "--published", *FEW]) == 0
    out = capsys.readouterr().out
    assert "0.8742" in out
    assert "prior variance 1.3333" in out


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
        (["--label", "vsini"], "'vsini' is not among the free labels"),
        (["--label", "alpha_m", "--labels", "3"], "not among the free labels"),
        (["--variance", "wide"], "expected uniform, lattice, reference"),
        (["--variance", "-1"], "positive number"),
        (["--stars", "all"], "nodes or prior"),
        (["--count", "0", "--stars", "prior"], "at least 1 star"),
        (["--mag", "bright"], "expected numbers"),
        (["--instrument", "hubble"], "hubble"),
    ],
)
def test_requests_that_cannot_be_meant_are_one_line_and_code_two(capsys, arguments, words):
    assert main(["ceiling", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert len(error.splitlines()) == 1


def test_magnitudes_are_numbers_lists_or_ranges():
    assert parse_magnitudes("20.5") == [20.5]
    assert parse_magnitudes("18,20,22") == [18, 20, 22]
    assert parse_magnitudes("18:20") == [18, 19, 20]
    assert parse_magnitudes("18:19:0.5") == [18, 18.5, 19]
    for text in ("", "18:", "a:b", "1:2:3:4", "20:18", "18:20:0", "0:20:0.001"):
        with pytest.raises(ConfigError, match="--mag"):
            parse_magnitudes(text)
