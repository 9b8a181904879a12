"""The summary of a job: parts that belong together are there together, and a file says what to do if not."""

import json

import pytest
from pydantic import ValidationError

from small_summary import metrics, small_summary
from specvit.errors import DataError
from specvit.runs import ALL, RunFolder, Score, SliceFacts, Summary, read_summary

WHOLE = small_summary()


def changed(*keys, value=None):
    """Return the whole summary as plain values with one entry replaced, or deleted for None."""
    values = entry = json.loads(WHOLE.model_dump_json())
    for key in keys[:-1]:
        entry = entry[key]
    if value is None:
        del entry[keys[-1]]
    else:
        entry[keys[-1]] = value
    return values


def test_a_summary_survives_json_and_its_folder(tmp_path):
    assert Summary.model_validate_json(WHOLE.model_dump_json()) == WHOLE
    run = RunFolder.create(tmp_path, "demo", {"config_version": 1})
    run.write_summary(WHOLE.model_dump(mode="json"))
    assert read_summary(run) == WHOLE


def test_scores_are_found_by_estimator_label_slice_and_metric():
    assert WHOLE.score("ridge", "r2").value == 0.5
    assert WHOLE.score("ridge", "r2", "teff").value == 0.9
    assert WHOLE.score("mine", "r2", "teff") is None
    assert WHOLE.score("ridge", "coverage_68") is None
    assert WHOLE.estimating("log_g") == ["ridge", "mine"]
    assert WHOLE.estimating("teff") == ["ridge"]
    assert WHOLE.bins == ["S/N 2-4", "S/N 4-8"]
    assert [one.value for one in WHOLE.over_bins("mine", "r2")] == [0.4, 0.4]
    assert [one.value for one in WHOLE.over_bins("mine", "headroom")] == [None, None]
    assert WHOLE.has("r2", "teff")
    assert not WHOLE.has("headroom")
    assert WHOLE.unit == "dex"
    assert WHOLE.ceiling is WHOLE.ceilings["log_g"]


CASES = [
    (("target",), "m_h", "target: 'm_h' is none of the labels"),
    (("scores", "other"), {}, "scores.other: no such estimator in 'estimators'"),
    (("scores", "ridge", "m_h"), {}, "scores.ridge.m_h: no such label in 'labels'"),
    (("scores", "mine", "log_g", "S/N 4-8"), None, "scores.mine.log_g: no slice 'S/N 4-8'"),
    (("ceilings", "log_g", "spreads", "S/N 2-4"), None, "ceilings.log_g.spreads: no slice 'S/N 2-4'"),
    (("ceilings", "log_g", "exact"), True, "ceilings.log_g.bayes: no slice 'all'"),
    (("ceilings", "log_g", "sets"), [], "entry 'ceilings.log_g.sets': list should have at least 1 item"),
    (("slices", ALL), None, "slices: no slice 'all'"),
    (("slices", "S/N 2-4", "edges"), None, "slices.S/N 2-4: a bin in S/N has edges, other slices have none"),
    (("slices", ALL, "edges"), [1.0, 2.0], "slices.all: a bin in S/N has edges, other slices have none"),
    (
        ("estimators", "ridge", "family"),
        "magic",
        "entry 'estimators.ridge.family': input should be 'linear', 'trees'",
    ),
    (("estimators", "ridge", "title"), None, "has no entry 'estimators.ridge.title'"),
    (
        ("scores", "ridge", "log_g", "all", "r2", "value"),
        "x",
        "entry 'scores.ridge.log_g.all.r2.value': input should",
    ),
    (("nonsense",), 1, "entry 'nonsense': extra inputs are not permitted"),
]


@pytest.mark.parametrize(("keys", "value", "words"), CASES)
def test_parts_that_do_not_belong_together_are_named_in_one_line_with_the_mend(tmp_path, keys, value, words):
    values = changed(*keys, value=value)
    with pytest.raises(ValidationError):
        Summary.model_validate(values)
    run = RunFolder.create(tmp_path, "demo", {"config_version": 1})
    run.write_summary(values)
    with pytest.raises(DataError) as caught:
        read_summary(run)
    message = str(caught.value)
    assert f"{run.path}/summary.json: {words}" in message
    assert message.endswith("the file was changed or is damaged: start the run again with --fresh")
    assert "\n" not in message
    assert ": :" not in message


def test_an_estimator_without_scores_and_a_label_without_a_ceiling_are_whole():
    """What estimates none of the labels of the test spectra is in the run all the same."""
    scores = {"ridge": {"log_g": metrics(0.5)}, "mine": {}}
    partial = small_summary(scores=scores, ceilings={})
    assert partial.estimating("log_g") == ["ridge"]
    assert partial.ceiling is None
    named = SliceFacts(kind="named", definition="a box", spectra=0, median_snr=None)
    assert named.edges is None


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (
            None,
            "schema_version 1 was written by an older specvit, this one reads 2: give the command of the run again",
        ),
        (
            1,
            "schema_version 1 was written by an older specvit, this one reads 2: give the command of the run again",
        ),
        (9, "schema_version 9 is newer than this specvit reads (2): pip install --upgrade specvit"),
        ("x", "schema_version x was written by an older specvit"),
    ],
)
def test_a_summary_of_another_version_says_what_to_do_in_one_line(tmp_path, version, words):
    """The first version had no entry at all, and other ones beside it."""
    old = {"target": "log_g", "models": {"ridge": {"overall": {"r2": {"value": 0.5}}}}}
    run = RunFolder.create(tmp_path, "demo", {"config_version": 1})
    run.write_summary(old if version is None else {**WHOLE.model_dump(), "schema_version": version})
    with pytest.raises(DataError) as caught:
        read_summary(run)
    assert f"{run.path}/summary.json: {words}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_of_an_old_run_makes_a_new_folder_as_the_message_says(tmp_path, monkeypatch):
    monkeypatch.setattr("specvit.runs.folder.RESULTS", 1)
    old = RunFolder.create(tmp_path, "demo", {"config_version": 1})
    old.write_summary({"target": "log_g"})
    monkeypatch.undo()
    assert RunFolder.create(tmp_path, "demo", {"config_version": 1}).name == "demo-2"
    assert old.summary == {"target": "log_g"}


def test_a_run_without_results_says_which_stages_are_done(tmp_path):
    run = RunFolder.create(tmp_path, "demo", {"config_version": 1})
    with pytest.raises(DataError, match=r"no results yet \(finished stages: none\)"):
        read_summary(run)
    with run.stage("simulate"):
        pass
    with pytest.raises(DataError, match=r"no results yet \(finished stages: simulate\); start the same run"):
        read_summary(run)


def test_a_score_without_a_value_is_null_in_the_file(tmp_path):
    run = RunFolder.create(tmp_path, "demo", {"config_version": 1})
    run.write_summary(WHOLE.model_dump(mode="json"))
    kept = json.loads((run.path / "summary.json").read_text())
    assert kept["scores"]["ridge"]["log_g"]["all"]["mae"] == {"value": None, "low": None, "high": None}
    assert read_summary(run).score("ridge", "mae") == Score(value=None)
