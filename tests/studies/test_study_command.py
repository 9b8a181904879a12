"""`specvit study`: what is told, and what is refused."""

import json

import pytest

from small_studies import SMALL, study_file
from specvit.cli import main


def test_studies_are_listed_with_their_verdicts(ran, tmp_path, capsys):
    study_file(tmp_path, SMALL)
    places = ["--catalogue", str(tmp_path), "--results", str(ran[2])]
    assert main(["study", "list", *places]) == 0
    assert capsys.readouterr().out.startswith("small  Ridge at twice the noise  [")
    assert main(["study", "list", "--json", *places]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["verdicts"] == {"smoke": ran[3].results[0].verdict}


def test_a_study_is_shown_as_it_was_declared(tmp_path, capsys):
    path = study_file(tmp_path, SMALL)
    assert main(["study", "show", str(path), "--scale", "smoke"]) == 0
    shown = capsys.readouterr().out
    for part in (
        "noise hurts: none (published by nobody)",
        SMALL["rule"],
        "simulate.noise_level = 2.0",
        "seeds 1, 2",
    ):
        assert part in shown


def test_a_plan_says_what_is_done_and_starts_nothing(ran, tmp_path, capsys):
    path = study_file(tmp_path, SMALL)
    assert main(["study", "plan", str(path), "--scale", "smoke", "--runs", str(tmp_path / "none")]) == 0
    assert "5 runs in all, 0 done" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
    assert main(["study", "plan", str(path), "--scale", "smoke", "--runs", str(ran[1].root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["tasks"][0]["state"], told["remaining"]) == ("done", 0)


def test_a_report_is_of_the_results_alone(ran, tmp_path, capsys):
    path = study_file(tmp_path, SMALL)
    assert main(["study", "report", str(path), "--scale", "smoke", "--results", str(ran[2])]) == 0
    told = capsys.readouterr().out
    assert "detectable" in told
    assert "16 test stars" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "clasical"], "study 'clasical' is not known; did you mean 'classical'?"),
        (["run"], "give --all"),
        (["plan", "--all", "--scale", "huge"], "scale 'huge' is not known"),
        (["run", "classical", "--workers", "0"], "--workers"),
        (["run", "classical", "--hours", "nan"], "--hours"),
        (["report", "classical", "--results", "nowhere"], "no such file"),
        (["show", "none.toml"], "does not exist"),
    ],
)
def test_what_cannot_be_meant_is_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["study", *arguments]) in (1, 2)
    said = capsys.readouterr().err
    assert message in said
    assert said.count("error:") == 1
