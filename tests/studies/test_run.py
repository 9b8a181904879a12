"""Running studies: every run once, whoever does it and however often it is stopped; failures stay where they are."""

import json
import shutil
from statistics import median

import numpy as np
import pytest

from own_estimators import own_class
from small_studies import SMALL, study_file
from specvit.errors import RunError
from specvit.jobs import Quiet
from specvit.jobs.trial import Yardstick
from specvit.runs import Estimates, Posteriors, RunFolder, StarTable
from specvit.runs.study_result import read_study_result, result_path
from specvit.studies import Store, executors, make_plan, read_study, run_studies, scaled_studies
from specvit.studies.cost import LEAST_SECONDS, Costs, relative_effort
from specvit.studies.judge import evidence_of, judge
from specvit.studies.store import failure_of


class Heard(Quiet):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def plan_of(folder, store, **changes):
    path = study_file(folder, SMALL, **changes)
    return make_plan(scaled_studies([read_study(path)], "smoke"), store)


def copied(ran, folder):
    """A store of one's own with all runs done."""
    shutil.copytree(ran[1].root, folder / "runs")
    return Store(folder / "runs")


def test_runs_are_shared_and_done_once(ran, tmp_path):
    scaled, store, _, session = ran
    assert not session.failed
    plan = make_plan([scaled], store)
    # Three variants of two seeds, two of them the same; one set of test stars.
    assert plan.asked == 6
    assert sorted(type(task.run).__name__ for task in plan.tasks) == ["Trial"] * 4 + ["Yardstick"]
    assert plan.remaining == ()
    other = plan_of(tmp_path, store, id="other", title="Another study of the same trials")
    assert other.remaining == ()


def test_a_run_is_known_by_what_determines_it(ran, tmp_path):
    _, store, _, _ = ran
    done = {task.run.digest for task in make_plan([ran[0]], store).tasks}
    changed = plan_of(tmp_path, store, base={**SMALL["base"], "simulate": {"train": 60}})
    trials = {task.run.digest for task in changed.tasks if not isinstance(task.run, Yardstick)}
    assert not trials & done
    # The stars are the same ones.
    assert {task.run.digest for task in changed.tasks if isinstance(task.run, Yardstick)} <= done


def test_estimates_are_of_the_stars_that_the_study_judges_by(ran):
    scaled, store, _, _ = ran
    evidence = evidence_of(scaled, store, "log_g")
    yardstick = scaled.variants[0].yardstick
    run = RunFolder.open(store.folder_of(yardstick))
    posteriors, table = Posteriors.read(run), StarTable.read(run)
    assert yardstick.world.noise_level == 1.0
    trial = scaled.variant("twice").trials[1]
    folder = RunFolder.open(store.folder_of(trial))
    # Trained at twice the noise, tested at once: not on its own test set, whose stars are the same but noisier.
    own = Estimates.read(folder, trial.choice.key).of("log_g")
    judged = evidence.variants["twice"]
    assert not np.allclose(judged.estimates[0], own)
    assert np.array_equal(judged.truth, table.truth("log_g"))
    assert np.array_equal(judged.mean, posteriors.of("mean", "log_g"))
    model = trial.choice.spec.load(folder.path / "models" / trial.choice.key)
    stars = yardstick.source.draw(0, yardstick.stars)
    expected = model.predict(stars.flux, stars.sigma).mean[:, 0]
    np.testing.assert_allclose(judged.estimates[0], expected, rtol=1e-6)


def test_no_spectra_are_drawn_for_errors_that_nobody_judges(ran):
    scaled, _, _, _ = ran
    sources = scaled.variant("once").trials[1].sources()
    # Tens of thousands, which take longer than the training of a small network.
    assert sources.drawn.reserve(10_000) is None
    assert sources.validation.reserve(10_000) is None


def test_two_names_of_one_trial_are_never_told_apart(ran):
    scaled, store, _, _ = ran
    judged = evidence_of(scaled, store, "log_g").variants
    assert np.array_equal(judged["once"].estimates, judged["again"].estimates)


def test_stars_are_left_out_for_all_variants_alike_and_counted(ran, tmp_path):
    scaled, store = ran[0], copied(ran, tmp_path)
    run = RunFolder.open(store.folder_of(scaled.variants[0].yardstick))
    posteriors = Posteriors.read(run)
    converged = posteriors.converged.copy()
    converged[:3] = False
    Posteriors(**{**posteriors.arrays(), "converged": converged}).write(run)
    trial = scaled.variant("once").trials[2]
    folder = RunFolder.open(store.folder_of(trial))
    estimates = Estimates.read(folder, trial.choice.key)
    mean = estimates.mean.copy()
    mean[2:5] = np.nan
    Estimates(**{**estimates.arrays(), "mean": mean}).write(folder, trial.choice.key)
    result = judge(scaled, store)
    left = (~converged | np.isnan(mean[:, 0])).sum()
    assert result.stars.unconverged == (~converged).sum()
    assert result.stars.missing == 2
    assert result.stars.slices["all"] == result.claims[0].stars == result.stars.drawn - left


def test_shares_are_ratios_of_what_the_stars_say(ran):
    scaled, store, _, _ = ran
    result = judge(scaled, store)
    found = result.shares["twice"]
    evidence = evidence_of(scaled, store, "log_g")
    snr = StarTable.read(RunFolder.open(store.folder_of(scaled.variants[0].yardstick))).snr
    bright = evidence.usable & (snr >= np.quantile(snr, 0.5))
    errors = {
        name: np.square(judged.estimates - judged.mean).mean(axis=0)
        for name, judged in evidence.variants.items()
    }
    part = (errors["twice"] - errors["once"])[bright].mean()
    assert found.share.value == pytest.approx(part / (10 + errors["twice"][bright].mean()))
    assert found.share.low < found.share.value < found.share.high
    assert (found.published, found.slice) == (0.5, "bright")
    # A run less its copy is nothing, of which nothing is a share.
    assert result.shares["nothing"].share.value is None


def test_a_result_says_when_it_was_begun_and_how_networks_learnt(ran, tmp_path):
    scaled, _, _, _ = ran
    store = copied(ran, tmp_path)
    result = judge(scaled, store)
    begun = [json.loads(path.read_text())["created"] for path in store.root.glob("*/*/provenance.json")]
    assert result.began == min(begun)
    assert all(facts.learning == () for facts in result.variants.values())
    for trial, values in zip(scaled.variant("twice").trials.values(), ([0.2, 0.4], [0.4]), strict=True):
        log = store.folder_of(trial) / "metrics.jsonl"
        for step, value in enumerate(values):
            record = {"event": "validation", "step": 10 * step, "r2": {"log_g": value, "teff": 0.9}}
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
    # What one seed alone tells is not told: a mean over others would jump.
    assert judge(scaled, store).variants["twice"].learning == ((0, pytest.approx(0.3)),)


def test_the_result_can_be_read_without_the_runs(ran):
    scaled, _, results, session = ran
    found = read_study_result(result_path(results, "small", "smoke"))
    assert found == session.results[0]
    assert found.sentence == getattr(scaled.study.outcomes, found.verdict)
    assert found.exact
    assert found.seeds == (1, 2)
    assert set(found.variants) == {"once", "again", "twice"}
    assert found.stars.slices["bright"] == found.claims[1].stars < found.stars.drawn
    scores = found.variants["once"].scores["all"]
    assert scores["expected_r2"].value < scores["ceiling"].value
    assert found.variants["once"].runs == found.variants["again"].runs != found.variants["twice"].runs


def test_a_verdict_that_changes_is_remembered(ran):
    scaled, store, _, session = ran
    before = session.results[0]
    assert len(before.history) == 1
    assert judge(scaled, store, before).history == before.history
    changed = before.history[0].model_copy(
        update={"verdict": "refuted" if before.verdict != "refuted" else "supported"}
    )
    again = judge(scaled, store, before.model_copy(update={"history": (changed,)}))
    assert [entry.verdict for entry in again.history] == [changed.verdict, before.verdict]


def test_a_stopped_command_continues_and_ends_with_the_same_result(ran, tmp_path):
    class Killed(BaseException):
        pass

    scaled, _, _, session = ran
    store = Store(tmp_path / "runs")
    plan = make_plan([scaled], store)
    seen, carry_out = [], executors.carry_out

    def killed(handed):
        if len(seen) == 2:
            raise Killed
        seen.append(handed["folder"])
        return carry_out(handed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "carry_out", killed)
        with pytest.raises(Killed):
            run_studies(plan, store, tmp_path / "results", Quiet())
    assert len(make_plan([scaled], store).remaining) == len(plan.tasks) - 2
    dates = {path: path.stat().st_mtime_ns for path in store.root.glob("*/*/arrays/*.npz")}
    found = run_studies(make_plan([scaled], store), store, tmp_path / "results", Quiet())
    assert all(path.stat().st_mtime_ns == date for path, date in dates.items())
    (result,) = found.results
    assert result.claims == session.results[0].claims
    assert result.variants == session.results[0].variants


def test_a_failed_run_is_recorded_and_the_others_go_on(tmp_path, monkeypatch):
    store, heard = Store(tmp_path / "runs"), Heard()
    broken = own_class(
        tmp_path,
        monkeypatch,
        "        names = train",
        '        raise ValueError("no good")\n        names = train',
    )
    levels = {"good": {}, "bad": {"estimator": {"name": broken}}}
    plan = plan_of(
        tmp_path,
        store,
        shares={},
        factors={"kind": levels},
        rule="mae(good) <= mae(bad)",
        metric="mae",
    )
    session = run_studies(plan, store, tmp_path / "results", heard)
    assert len(session.failed) == 2
    assert session.incomplete == ("small",)
    assert len(heard.lines) == 2
    for task, reason in session.failed:
        folder = store.folder_of(task.run)
        assert broken in reason
        assert "no good" in reason
        assert "Traceback" in (folder / "failure.txt").read_text()
        assert (folder / "config.toml").is_file()
        assert "no good" in failure_of(folder)
        assert store.state_of(task.run) == "failed"
    states = [task.state for task in make_plan(plan.studies, store).tasks]
    assert states.count("done") == len(states) - 2


def test_two_commands_do_not_work_on_the_same_runs(ran, tmp_path):
    store = Store(tmp_path / "runs")
    plan = make_plan([ran[0]], store)
    with store.locked(), pytest.raises(RunError, match="another `specvit study run`"):
        run_studies(plan, store, tmp_path / "results", Quiet())


def test_after_the_time_is_up_nothing_is_begun(ran, tmp_path):
    store = Store(tmp_path / "runs")
    session = run_studies(make_plan([ran[0]], store), store, tmp_path / "results", Quiet(), hours=1e-12)
    assert session.incomplete == ("small",)
    assert not list(store.root.glob("*/*"))


def test_a_dask_cluster_gives_what_one_process_gives(ran, tmp_path):
    distributed = pytest.importorskip("distributed")
    scaled, _, _, session = ran
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        found = run_studies(
            make_plan([scaled], Store(tmp_path / "dask")),
            Store(tmp_path / "dask"),
            tmp_path / "results",
            Quiet(),
            dask=cluster.scheduler_address,
        )
    assert found.results[0].claims == session.results[0].claims


def test_no_scheduler_is_one_line(ran, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("specvit.runs.cluster.DASK_TIMEOUT", "0.2s")
    store = Store(tmp_path / "runs")
    plan = make_plan([ran[0]], store)
    with pytest.raises(RunError, match="no scheduler answers"):
        run_studies(plan, store, tmp_path / "results", Quiet(), dask="tcp://127.0.0.1:9")


@pytest.mark.slow
def test_worker_processes_give_what_one_process_gives(ran, tmp_path):
    scaled, _, _, session = ran
    store = Store(tmp_path / "runs")
    found = run_studies(make_plan([scaled], store), store, tmp_path / "results", Quiet(), workers=2)
    assert found.results[0].claims == session.results[0].claims


def test_what_is_handed_to_a_worker_is_plain(ran):
    scaled, store, _, _ = ran
    for task in make_plan([scaled], store).tasks:
        handed = executors.handed_over(task, store)
        assert json.loads(json.dumps(handed)) == handed


def test_a_result_that_cannot_be_read_is_kept_aside(ran, tmp_path):
    """The verdicts of before are in it: a conflict of versions must not end the history without a word."""
    scaled, store, _, _ = ran
    path = result_path(tmp_path, "small", "smoke")
    path.parent.mkdir(parents=True)
    for number in ("", "1"):
        path.write_text("<<<<<<< HEAD\n" + number, encoding="utf-8")
        heard = Heard()
        run_studies(make_plan([scaled], store), store, tmp_path, heard)
        assert (
            path.with_name(f"small.json.unread{number}").read_text(encoding="utf-8")
            == "<<<<<<< HEAD\n" + number
        )
        assert any("is kept as" in line and "begins anew" in line for line in heard.lines)
        assert len(read_study_result(path).history) == 1


def test_runs_of_seconds_say_nothing_of_what_long_ones_take(ran, tmp_path):
    """Most of what a run of 48 spectra takes is its start; a hundred times the spectra is not a hundred times that."""
    _, store, _, _ = ran
    alike = plan_of(tmp_path, store, base={**SMALL["base"], "simulate": {"train": 64}})
    long = {**SMALL["base"], "simulate": {"train": 100_000}}
    fresh = plan_of(tmp_path, Store(tmp_path / "none"), base=long)
    known = plan_of(tmp_path, store, base=long)
    assert [task.estimate.seconds for task in known.tasks if not isinstance(task.run, Yardstick)] == [
        task.estimate.seconds for task in fresh.tasks if not isinstance(task.run, Yardstick)
    ]
    rates = Costs.of(store).rates["ridge"]
    trial = next(task for task in alike.tasks if not isinstance(task.run, Yardstick))
    assert trial.estimate.seconds == pytest.approx(LEAST_SECONDS + 64 * median(rate for _, rate in rates))


@pytest.mark.parametrize(
    ("options", "times"),
    # Measured of the catalogue's runs at the laptop scale, over those of the network as it comes (2026-11-28).
    [
        ({}, 1), ({"lr": 0.1}, 1), ({"patch": 32}, 2.0), ({"patch": 16}, 5.2), ({"patch": 8}, 14.5),
        ({"patch": 32, "stride": 16}, 5.0), ({"depth": 6}, 1.7), ({"depth": 0}, 0.4), ({"width": 128}, 2.65),
    ],
)  # fmt: skip
def test_larger_networks_are_expected_to_take_longer(options, times):
    assert relative_effort("vit-nano", options) == pytest.approx(times, rel=0.25)
