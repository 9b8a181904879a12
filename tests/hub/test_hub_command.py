"""`specvit hub`: what is told, and what is refused."""

import json

import pytest

from made_results import write_results
from specvit.cli import main


def test_the_hub_is_built_and_says_how_much_is_known(results, tmp_path, capsys):
    assert main(["hub", "build", "--results", str(results), "--output", str(tmp_path / "hub")]) == 0
    told = capsys.readouterr()
    assert "16 of " in told.out
    assert told.err == ""
    assert (tmp_path / "hub" / "index.html").is_file()


def test_what_is_left_out_is_told_and_ends_nothing(studies, tmp_path, capsys):
    write_results(tmp_path / "results", studies, {"kernel": "refuted", "width": "refuted"})
    (tmp_path / "results" / "laptop" / "kernel.json").write_text("{", encoding="utf-8")
    places = ["--results", str(tmp_path / "results"), "--output", str(tmp_path / "hub"), "--json"]
    assert main(["hub", "build", *places]) == 0
    told = capsys.readouterr()
    assert "left out: " in told.err
    outcome = json.loads(told.out)
    assert (outcome["studies"]["kernel"], outcome["studies"]["width"]) == ("open", "refuted")
    assert len(outcome["problems"]) == 1


def test_findings_link_to_results_from_where_they_lie(results, tmp_path, capsys):
    page = tmp_path / "docs" / "findings.md"
    assert main(["hub", "findings", "--results", str(results), "--output", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == str(page)
    link = page.read_text(encoding="utf-8").split("[kernel](")[1].split(")")[0]
    assert (page.parent / link).resolve() == (results / "laptop" / "kernel.json").resolve()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "--scale", "laptob"], "scale 'laptob' is not known"),
        (["build", "--catalogue", "nowhere"], "nowhere is no folder"),
        (["build", "--programme", "nowhere.toml"], "nowhere.toml does not exist"),
        (["build", "--programme", "referense"], "did you mean 'reference'?"),
        (["build", "--runs", "nowhere"], "--runs: nowhere is no folder"),
        (["build", "--output", "a-file"], "a file stands where a folder is needed"),
        (["findings", "--output", "a-file/findings.md"], "a file stands where a folder is needed"),
    ],
)
def test_what_cannot_be_meant_is_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_text("", encoding="utf-8")
    assert main(["hub", *arguments]) in (1, 2)
    said = capsys.readouterr().err
    assert message in said
    assert said.count("error:") == 1


def test_results_that_were_misspelled_are_no_programme_without_verdicts(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for verb in ("hub", "paper"):
        for name in ("reslts", "file"):
            assert main([verb, "build", "--results", name]) == 2
            assert f"--results {name}: no such folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
