"""The studies that ship: declared completely, and all of them run at the scale smoke."""

import json
import re

import pytest

from specvit.cli import main
from specvit.studies import SCALES, Store, make_plan, read_scale, read_studies, scaled_studies
from specvit.studies.rule import claims_of

STUDIES = read_studies()


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_a_study_says_what_is_asked_claimed_and_would_follow(study):
    assert study.question.endswith("?")
    assert re.search(r"\d", study.source.number) or "no " in study.source.number
    sentences = list(study.outcomes.model_dump().values())
    assert len(set(sentences)) == 3
    assert all(sentence.endswith(".") for sentence in sentences)
    used = {term.variant for claim in claims_of(study.parsed) for c in claim.contrasts for term in c.terms}
    assert used <= set(study.variants)
    # What has no variant to be compared with is compared with a number, or with what its stars allow.
    measures = {t.measure for claim in claims_of(study.parsed) for c in claim.contrasts for t in c.terms}
    assert len(study.variants) > 1 or len(measures) > 1 or re.search(r"[<>]= ?\d", study.rule)


@pytest.mark.parametrize("scale", SCALES)
def test_every_variant_of_every_study_can_be_prepared(scale, tmp_path):
    scaled = scaled_studies(list(STUDIES.values()), scale)
    plan = make_plan(scaled, Store(tmp_path))
    # The baselines are shared: far fewer runs than the studies ask for one by one.
    trials = [task for task in plan.tasks if hasattr(task.run, "config")]
    assert len(trials) < 0.8 * plan.asked
    for study in scaled:
        spectra = {variant.yardstick.seed for variant in study.variants}
        updates = {trial.config.training.updates for v in study.variants for trial in v.trials.values()}
        assert len(spectra) == len(updates) == 1, study.study.id


def test_budgets_are_no_times():
    for scale in SCALES:
        assert "minutes" not in json.dumps(read_scale(scale).model_dump())
    assert "minutes" not in json.dumps([study.model_dump(mode="json") for study in STUDIES.values()])


def test_the_whole_catalogue_runs_at_the_scale_smoke(tmp_path, capsys):
    command = ["study", "run", "--all", "--scale", "smoke", "--json"]
    places = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    assert main([*command, *places]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["failed"] == {}
    assert told["incomplete"] == []
    # Of one seed each: nothing is known of the scatter between trainings.
    assert told["verdicts"] == dict.fromkeys(STUDIES, "undecided")
    assert {path.stem for path in (tmp_path / "results" / "smoke").iterdir()} == set(STUDIES)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.npz")}
    assert main([*command, *places]) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.npz")} == kept
    capsys.readouterr()
    assert main(["study", "status", "--all", "--scale", "smoke", "--json", *places]) == 0
    assert json.loads(capsys.readouterr().out)["remaining"] == 0
    assert main(["study", "report", "--all", "--scale", "smoke", *places[2:]]) == 0
    report = capsys.readouterr().out
    assert all(f"{study}: " in report for study in STUDIES)
