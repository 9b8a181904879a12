"""What is read: results that fit, and a line for every one that does not."""

import json

import pytest

from made_results import made_result, write_results
from specvit.documents import dump_toml
from specvit.hub import read_knowledge
from specvit.runs.study_result import write_study_result


def test_states_are_those_of_results_and_of_the_catalogue(knowledge):
    states = {known.id: known.state for known in knowledge.studies.values()}
    assert states["classical"] == "supported"
    assert states["kernel"] == "refuted"
    assert states["sigma-channel"] == "undecided"
    assert states["lattice"] == "open"
    assert set(states.values()) >= {"supported", "refuted", "undecided", "open"}
    assert knowledge.problems == ()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: "[]", "holds no entries"),
        (
            lambda text: json.dumps({**json.loads(text), "study_result_version": 99}),
            "study_result_version is 99",
        ),
        (lambda text: json.dumps({**json.loads(text), "verdict": "perhaps"}), "verdict"),
        (lambda text: json.dumps({**json.loads(text), "scale": "smoke"}), "its scale is 'smoke'"),
        (lambda text: json.dumps({**json.loads(text), "id": "other"}), "of the study 'other'"),
    ],
)
def test_a_result_that_cannot_be_used_is_left_out_and_told(damage, told, studies, tmp_path):
    path = write_study_result(tmp_path, made_result(studies["kernel"], "refuted"))
    write_study_result(tmp_path, made_result(studies["width"], "refuted"))
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    found = read_knowledge(tmp_path, "laptop")
    assert found.studies["kernel"].state == "open"
    assert found.studies["width"].state == "refuted"
    (problem,) = found.problems
    assert told in problem
    assert "kernel.json" in problem


def test_a_result_of_an_unknown_study_is_shown_and_is_no_evidence(studies, tmp_path):
    write_study_result(tmp_path, made_result(studies["kernel"], "refuted", id="kernal"))
    found = read_knowledge(tmp_path, "laptop")
    (problem,) = found.problems
    assert "kernal: not in the catalogue; did you mean 'kernel'?" in problem
    assert found.studies["kernal"].result is not None
    assert found.studies["kernal"].state == "open"
    assert found.judged == []


def test_a_result_of_a_planned_study_is_no_evidence_before_it_is_declared(studies, tmp_path):
    programme = tmp_path / "mine.toml"
    programme.write_text('title = "Mine"\nquestion = "What?"\nplanned = { later = "To be declared" }\n')
    write_study_result(tmp_path / "results", made_result(studies["kernel"], "refuted", id="later"))
    planned = read_knowledge(tmp_path / "none", "laptop", programme=programme).studies["later"]
    assert planned.state == "planned"
    found = read_knowledge(tmp_path / "results", "laptop", programme=programme)
    assert "later: not in the catalogue" in found.problems[0]
    assert found.studies["later"].state == "open"


def test_a_verdict_on_another_rule_counts_for_nothing(studies, tmp_path):
    write_study_result(
        tmp_path, made_result(studies["kernel"], "refuted", rule="excess(k9) <= 2 * excess(k21)")
    )
    known = read_knowledge(tmp_path, "laptop").studies["kernel"]
    assert known.state == "open"
    assert "Rule or variants were changed" in known.notes[0]


def test_a_verdict_on_other_words_counts_and_says_so(studies, tmp_path):
    write_study_result(tmp_path, made_result(studies["kernel"], "refuted", declaration="0" * 16))
    known = read_knowledge(tmp_path, "laptop").studies["kernel"]
    assert known.state == "refuted"
    assert "declaration was changed" in known.notes[0]


def test_other_seeds_than_declared_are_noted(studies, tmp_path):
    write_results(tmp_path, studies, {"kernel": "refuted"}, seeds=(1, 2))
    assert read_knowledge(tmp_path, "laptop").studies["kernel"].notes == (
        "Its 2 seeds are not the 3 that are declared now.",
    )


def test_results_of_another_scale_are_not_read(results):
    found = read_knowledge(results, "reference")
    assert found.judged == []
    assert "no such folder" in found.problems[0]


def test_a_catalogue_of_ones_own_has_no_programme_but_its_studies(studies, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    mine = {
        **studies["kernel"].model_dump(mode="json", exclude={"entries", "slices", "scales"}),
        "id": "mine",
    }
    (folder / "mine.toml").write_text(dump_toml(mine), encoding="utf-8")
    found = read_knowledge(tmp_path / "r", "laptop", folder)
    assert list(found.studies) == ["mine"]
    assert found.programme.questions == ()
