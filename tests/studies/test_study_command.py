"""`specvit study`: what is told, and what is refused."""

import json
import shutil

import pytest

from small_studies import SMALL, study_file
from specvit.cli import main
from specvit.runs.study_result import write_study_result
from specvit.studies import Store, make_plan, read_study, scaled_studies
from specvit.studies.store import keep_failure


def test_studies_are_listed_with_their_verdicts(ran, tmp_path, capsys):
    study_file(tmp_path, SMALL)
    places = ["--catalogue", str(tmp_path), "--results", str(ran[2])]
    assert main(["study", "list", *places]) == 0
    assert capsys.readouterr().out.startswith("small  Ridge at twice the noise (tests)  [")
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


def test_runs_are_named_by_study_and_variant(tmp_path, capsys):
    path = study_file(tmp_path, SMALL)
    assert main(["study", "plan", str(path), "--scale", "smoke", "--runs", str(tmp_path / "none")]) == 0
    told = capsys.readouterr().out
    for seed in (1, 2):
        assert f"Ridge, seed {seed} (small: once, small: again)" in told
        assert f"Ridge, seed {seed} (small: twice)" in told


def test_several_studies_are_shown_at_once(tmp_path, capsys):
    paths = [str(study_file(tmp_path, SMALL, id=name)) for name in ("one", "other")]
    assert main(["study", "show", *paths, "--scale", "smoke"]) == 0
    told = capsys.readouterr().out
    assert told.index("one: Ridge") < told.index("other: Ridge")
    assert main(["study", "show", *paths, "--json"]) == 0
    assert [study["id"] for study in json.loads(capsys.readouterr().out)] == ["one", "other"]


def test_a_verdict_on_another_rule_is_told_as_such(ran, tmp_path, capsys):
    """Wherever the command shows it: whoever changes a rule must not read the verdict of the old one as its own."""
    path = study_file(tmp_path, SMALL, rule="excess(once) <= 0.5 * excess(twice)")
    places = ["--results", str(ran[2])]
    verdict = ran[3].results[0].verdict
    assert main(["study", "list", "--catalogue", str(tmp_path), *places]) == 0
    assert f"[{verdict}, rule or variants changed since at smoke]" in capsys.readouterr().out
    scaled = [str(path), "--scale", "smoke", *places]
    assert main(["study", "status", *scaled, "--runs", str(ran[1].root)]) == 0
    assert f"{verdict}, rule or variants changed since" in capsys.readouterr().out
    assert main(["study", "report", *scaled]) == 0
    told = capsys.readouterr().out
    assert "but rule or variants changed since: judge it again" in told
    assert SMALL["outcomes"][verdict] not in told


def test_a_report_of_all_shows_what_there_is_and_names_the_rest(ran, tmp_path, capsys):
    catalogue, results = tmp_path / "catalogue", tmp_path / "results"
    catalogue.mkdir()
    for name in ("small", "unjudged", "damaged"):
        study_file(catalogue, SMALL, id=name)
    shutil.copytree(ran[2], results)
    (results / "smoke" / "damaged.json").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    places = ["--catalogue", str(catalogue), "--results", str(results)]
    assert main(["study", "report", "--all", "--scale", "smoke", *places]) == 0
    told = capsys.readouterr()
    assert "small: Ridge at twice the noise" in told.out
    assert "no verdict at the scale smoke yet: unjudged" in told.out
    assert "damaged.json" in told.err
    assert main(["study", "list", *places]) == 0
    told = capsys.readouterr().out
    assert "damaged   Ridge at twice the noise (tests)  [unreadable result" in told
    assert "[undecided at smoke]" in told or "[supported at smoke]" in told


def test_a_slice_without_stars_is_said_to_have_none(ran, tmp_path, capsys):
    result = ran[3].results[0]
    empty = result.claims[1].model_copy(update={"effects": (), "stars": 0})
    write_study_result(tmp_path, result.model_copy(update={"claims": (result.claims[0], empty)}))
    path = study_file(tmp_path, SMALL)
    assert main(["study", "report", str(path), "--scale", "smoke", "--results", str(tmp_path)]) == 0
    assert "bright has 0 test stars, too few to say anything" in capsys.readouterr().out


def test_a_folder_without_studies_is_no_catalogue(tmp_path, capsys):
    for verb in (["list"], ["status", "--all"], ["plan", "--all"], ["run", "--all"], ["report", "--all"]):
        assert main(["study", *verb, "--catalogue", str(tmp_path)]) == 2
        assert f"--catalogue: {tmp_path} holds no study (NAME.toml)" in capsys.readouterr().err


def test_seeds_are_no_level_of_a_factor(tmp_path, capsys):
    levels = {"one": {"simulate": {"seed": 5}}, "other": {}}
    path = study_file(
        tmp_path, SMALL, factors={"noise": levels}, rule="excess(one) <= excess(other)", shares={}
    )
    assert main(["study", "show", str(path)]) == 2
    told = capsys.readouterr().err
    assert "simulate.seed: the seeds are those of scale and study" in told
    assert "study small, variant one" in told


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


def test_a_wrong_estimator_is_named_by_the_key_of_the_study(tmp_path, capsys):
    path = study_file(tmp_path, SMALL, base={"estimator": {"name": "vit-nan"}})
    assert main(["study", "show", str(path)]) == 2
    told = capsys.readouterr().err
    assert "error: estimator.name: 'vit-nan' is neither an estimator nor the folder of a saved one" in told
    assert "study small, variant once" in told


def test_status_says_why_a_run_failed_and_where(tmp_path, capsys):
    path = study_file(tmp_path, SMALL)
    store = Store(tmp_path / "runs")
    task = make_plan(scaled_studies([read_study(path)], "smoke"), store).tasks[-1]
    folder = store.folder_of(task.run)
    keep_failure(folder, "Traceback (most recent call last):\nValueError: no good\n")
    arguments = ["study", "status", str(path), "--scale", "smoke", "--runs", str(store.root)]
    assert main([*arguments, "--results", str(tmp_path / "none")]) == 0
    told = capsys.readouterr().out
    assert "1 failed" in told
    assert f"failed: {task.title}: ValueError: no good ({folder / 'failure.txt'})" in told


def test_a_section_that_is_no_table_is_refused(tmp_path, capsys):
    path = study_file(tmp_path, SMALL, base={"estimator": {"name": "ridge"}, "simulate": 3})
    assert main(["study", "show", str(path)]) == 2
    told = capsys.readouterr().err
    assert "simulate" in told
    assert "unexpected" not in told
