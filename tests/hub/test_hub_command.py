"""`specvit hub`: what is told, and what is refused."""

import json

import pytest

from made_results import write_results
from small_studies import SMALL, study_file
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


@pytest.mark.parametrize(("verb", "name"), [("build", "index.html"), ("findings", "findings.md")])
def test_a_page_of_ones_own_is_not_overwritten(verb, name, results, tmp_path, capsys):
    own = tmp_path / name
    own.write_text("<html>mine</html>", encoding="utf-8")
    output = str(tmp_path if verb == "build" else own)
    arguments = ["hub", verb, "--results", str(results), "--output", output]
    assert main(arguments) == 1
    assert f"{own}: not made by `specvit hub {verb}`, and would be overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert own.read_text(encoding="utf-8") == "<html>mine</html>"
    own.unlink()
    assert [main(arguments), main(arguments)] == [0, 0]


def test_commands_for_studies_of_ones_own_name_their_folder(tmp_path, capsys):
    catalogue = tmp_path / "mine"
    catalogue.mkdir()
    study_file(catalogue, SMALL)
    (tmp_path / "results" / "laptop").mkdir(parents=True)
    places = ["--catalogue", str(catalogue), "--results", str(tmp_path / "results")]
    assert main(["hub", "build", *places, "--output", str(tmp_path / "hub")]) == 0
    for page in ("experiments.csv", "markdown/studies/small.md"):
        told = (tmp_path / "hub" / page).read_text(encoding="utf-8")
        assert f"specvit study run small --scale laptop --catalogue {catalogue}" in told
