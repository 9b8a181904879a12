"""The survey on a small spectrograph: right numbers, one result however often it is stopped."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from small_surveys import SMALL, settings
from specvit.errors import ConfigError, DataError
from specvit.estimators import TABLE, choose, make_estimator
from specvit.jobs import Quiet, run_survey
from specvit.jobs.stages import BoundStars
from specvit.jobs.worlds import differences
from specvit.report import write_report
from specvit.runs import Estimates, Explanation, Posteriors, StarBounds, StarTable, read_summary
from specvit.simulate import World, endless
from specvit.training import Recipe


class Heard(Quiet):
    """Keeps the lines it is told."""

    def __init__(self):
        self.lines, self.warnings = [], []

    def say(self, line):
        self.lines.append(line)

    def warn(self, line):
        self.warnings.append(line)


def test_the_summary_says_what_was_done(finished):
    summary = read_summary(finished)
    assert summary.job == "survey"
    assert list(summary.estimators) == ["ridge", "lightgbm", "template"]
    assert summary.counts == {"train": 400, "validation": 120, "test": 150}
    assert [summary.estimators[name].family for name in summary.estimators] == ["linear", "trees", "template"]
    assert summary.estimators["ridge"].title == TABLE["ridge"].title
    assert sum(summary.slices[name].spectra for name in summary.bins) + summary.outside == 150
    assert {"low noise", "metal-poor"} <= set(summary.slices)
    assert write_report(finished.path).stat().st_size > 50_000


def test_scores_are_those_of_the_stored_estimates_for_every_label(finished):
    stars, summary = StarTable.read(finished), read_summary(finished)
    for name in summary.estimators:
        estimates = Estimates.read(finished, name)
        for label in summary.scores[name]:
            truth, mean = stars.truth(label), estimates.of(label)
            score = summary.score(name, "r2", label)
            assert score.value == pytest.approx(r2_score(truth, mean), abs=1e-12)
            assert score.low < score.value < score.high
            error = mean_absolute_error(truth, mean)
            assert summary.score(name, "mae", label).value == pytest.approx(error)
    assert list(summary.scores["template"]) == list(stars.names)
    assert list(summary.scores["ridge"]) == ["log_g"]


def test_a_slice_is_scored_on_its_own_stars(finished):
    stars, summary = StarTable.read(finished), read_summary(finished)
    poor = stars.truth("m_h") <= -1
    truth, mean = stars.truth("log_g")[poor], Estimates.read(finished, "ridge").of("log_g")[poor]
    assert summary.slices["metal-poor"].spectra == poor.sum()
    score = summary.score("ridge", "rmse", part="metal-poor")
    assert score.value == pytest.approx(np.sqrt(np.mean((truth - mean) ** 2)))


def test_ceilings_are_ordered_for_every_label(finished):
    """More free labels cannot help, and the posterior is at least as narrow as its prior on average."""
    bounds, posteriors, summary = StarBounds.read(finished), Posteriors.read(finished), read_summary(finished)
    assert [bounds.free_labels(k, "log_g") for k in range(2)] == [
        ("teff", "log_g", "m_h", "alpha_m", "c_m"),
        ("teff", "log_g", "m_h"),
    ]
    for label in summary.labels:
        everything, fewer = (bounds.of("crlb", k, label) for k in range(2))
        assert (everything >= fewer * (1 - 1e-9)).all()
        variance = posteriors.of("variance", label)
        assert variance.shape == (40,)
        assert variance.mean() < summary.labels[label].prior_variance
        assert summary.ceilings[label].stars == 40
    assert ((bounds.schur > 0) & (bounds.schur <= 1 + 1e-9)).all()


def test_efficiency_is_the_ratio_on_the_same_stars(finished):
    truth = StarTable.read(finished).truth("log_g")[:40]
    mean = Estimates.read(finished, "ridge").of("log_g")[:40]
    top = 1 - Posteriors.read(finished).of("variance", "log_g").mean() / truth.var()
    value = read_summary(finished).score("ridge", "efficiency").value
    assert value == pytest.approx(r2_score(truth, mean) / top, rel=1e-6)


def test_a_stopped_survey_continues_and_ends_the_same(finished, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BoundStars, "make", stop)
        with pytest.raises(KeyboardInterrupt):
            run_survey(settings(tmp_path))
    heard = Heard()
    run = run_survey(settings(tmp_path), heard)
    assert "fit Ridge: done before" in heard.lines
    first, second = (json.loads(json.dumps(r.summary)) for r in (finished, run))
    for summary in (first, second):
        for facts in summary["estimators"].values():
            facts.pop("seconds")
    assert first == second
    assert run_survey(settings(tmp_path)).path == run.path


def test_every_name_a_configuration_can_hold_is_fitted_saved_and_scored(one_label, tmp_path):
    """Each row of the table, and a kind of network in a size, through the whole survey."""
    names = [name for name, spec in TABLE.items() if spec.architecture is None]
    networks = [f"{name}-nano" for name, spec in TABLE.items() if spec.architecture is not None]
    more = (
        f"models.names={json.dumps([*names, *networks])}",
        *("models.networks.steps=2", "models.options.lightgbm.rounds=3", "limits.bayes_stars=0"),
        # A network on the pixels of the small spectrograph.
        f"models.options.probe.network={one_label}",
        *("simulate.test=20", "simulate.train=300", "evaluate.explain_stars=2"),
    )
    run = run_survey(settings(tmp_path, *more))
    summary = read_summary(run)
    assert list(summary.estimators) == [*names, *networks]
    for name in summary.estimators:
        assert summary.score(name, "r2").value is not None
        assert (run.path / "models" / name / "manifest.json").is_file()
    assert summary.has("coverage_68")
    assert write_report(run.path).exists()


def test_a_saved_estimator_of_any_kind_is_used_as_it_is(finished, tmp_path):
    """A run takes its own saved Ridge and template fit as readily as a network."""
    folders = [finished.path / "models" / name for name in ("ridge", "template")]
    names = json.dumps([str(folder) for folder in folders])
    run = run_survey(settings(tmp_path, f"models.names={names}", "limits.bayes_stars=0"))
    for name in ("ridge", "template"):
        first, second = (Estimates.read(r, name).of("log_g") for r in (finished, run))
        np.testing.assert_array_equal(first, second)
    assert "Ridge" in read_summary(run).estimators["ridge"].title


def test_a_network_is_trained_in_the_run_and_explained(finished, tmp_path):
    more = ("models.networks.steps=20", "limits.bayes_stars=0", 'models.names=["subspace-nano"]')
    run = run_survey(settings(tmp_path / "one", *more))
    facts = read_summary(run).estimators["subspace-nano"]
    assert facts.title == "Subspace network (nano)"
    assert facts.facts["parameters"] == facts.cost["parameters"] > 1e5
    assert run.stages["test set"]["provenance"] == finished.stages["test set"]["provenance"]
    assert not (run.path / "checkpoints").exists()
    assert run.stages["explain"]["model"] == "subspace-nano"
    np.testing.assert_allclose(Explanation.read(run).share[..., 0].sum(axis=-1), 1.0, atol=1e-6)
    folder = run.path / "models" / "subspace-nano"
    again = run_survey(settings(tmp_path / "two", *more[:2], f'models.names=["{folder}"]'))
    first, second = (Estimates.read(r, "subspace-nano") for r in (run, again))
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.quantiles, second.quantiles)


def test_the_operations_of_a_training_are_three_forward_passes(tmp_path):
    """Counted here by hand for an MLP: the weights of all its layers, twice for multiply and add."""
    more = (
        *("models.networks.steps=2", "limits.bayes_stars=0", 'models.names=["mlp-nano"]', "simulate.test=20"),
        *("models.options.mlp.width=16", "models.options.mlp.depth=1", "models.options.mlp.head=point"),
    )
    run = run_survey(settings(tmp_path, *more))
    cost = read_summary(run).estimators["mlp-nano"].cost
    from specvit.estimators import load_estimator

    network = load_estimator(run.path / "models" / "mlp-nano").network
    weights = sum(p.numel() for p in network.body.parameters() if p.ndim == 2)
    assert cost["forward_flops"] == pytest.approx(2 * weights, rel=0.05)
    assert cost["train_spectra"] == 2 * 128
    assert cost["train_flops"] == pytest.approx(3 * 2 * weights * cost["train_spectra"], rel=0.05)


def test_a_library_of_three_labels_goes_through(tmp_path):
    """The documentation's own example of a box without chemistry."""
    from specvit import Emulator, FitSettings, SyntheticLibrary, fit_emulator, load_builtin

    whole = load_builtin()
    chosen = [whole.label_space.index(name) for name in ("teff", "log_g", "m_h")]
    rows = slice(0, None, 8)
    library = SyntheticLibrary(
        whole.labels[rows][:, chosen],
        whole.flux[rows],
        whole.grid,
        whole.resolution,
        whole.label_space.select(("teff", "log_g", "m_h")),
        whole.provenance,
    )
    path = tmp_path / "three.safetensors"
    fit_emulator(library, settings=FitSettings(components=16, steps=30)).save(path)
    assert Emulator.load(path).label_space.names == ("teff", "log_g", "m_h")
    more = (f"library.name={path}", "limits.bayes_stars=5", "simulate.test=40")
    run = run_survey(settings(tmp_path / "runs", *more))
    summary = read_summary(run)
    assert list(summary.labels) == ["teff", "log_g", "m_h"]
    assert len(summary.ceiling.sets) == 1
    assert write_report(run.path).exists()


def test_a_narrow_box_gives_scores_and_a_dash_only_where_nothing_can_be_attained(tmp_path):
    names = 'models.names=["ridge", "lightgbm"]'
    run = run_survey(settings(tmp_path, "simulate.bounds.log_g=[2,3]", "simulate.test=80", names))
    summary = read_summary(run)
    assert summary.labels["log_g"].prior_variance == pytest.approx(1 / 12)
    assert "log_g 2 to 3" in summary.setting["World"]
    for name in summary.estimators:
        for part, facts in summary.slices.items():
            for metric in ("r2", "mae", "rmse", "bias", "residual_68"):
                known = summary.score(name, metric, part=part).value is not None
                assert known == (facts.spectra > 1), (name, part, metric)
            nothing = (summary.ceiling.bayes[part].value or 0) <= 0
            assert (summary.score(name, "efficiency", part=part).value is None) == nothing, (name, part)
    page = write_report(run.path).read_text()
    assert "the spectra say no more than the prior there" in page


def test_a_network_is_told_apart_by_its_world_and_not_by_how_a_bound_is_written(tmp_path):
    bounds = {"teff": (4000.0, 5000.0)}
    world = World(instrument="gaia_rvs", bounds=bounds).build()
    recipe = Recipe(steps=1, batch=64, validations=1)
    model = make_estimator("mlp", "nano", recipe=recipe, options={"width": 8, "depth": 1})
    model.fit(endless(world, 1), world.source("validation", 1, 64)).save(tmp_path / "m")
    saved = choose(str(tmp_path / "m"))
    assert differences(saved, world) == {}
    louder = World(instrument="gaia_rvs", bounds=bounds, noise_level=2.0).build()
    assert differences(saved, louder) == {"noise_level": "1.0, not 2.0"}


def test_an_estimator_made_for_other_pixels_is_left_out_and_said_so(tmp_path):
    heard = Heard()
    more = ("limits.bayes_stars=0", 'models.names=["ridge", "subspace"]')
    run = run_survey(settings(tmp_path, *more), heard)
    assert list(read_summary(run).estimators) == ["ridge"]
    (told,) = (line for line in heard.lines if "Subspace network is left out" in line)
    for part in (
        "other pixels",
        "in the rest frame",
        "7100.21-8849.79 Å (vacuum)",
        "prior uniform",
        "log_g 1 to 5 dex",
    ):
        assert part in told
    assert heard.warnings == []


def test_estimators_none_of_which_can_be_used_leave_no_folder(tmp_path):
    with pytest.raises(
        ConfigError, match=r"none of the estimators can be used.*subspace: it is for other pixels"
    ):
        run_survey(settings(tmp_path, 'models.names=["subspace"]'))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def one_label(tmp_path_factory):
    """A saved network that estimates Teff only, of the small spectrograph's default world."""
    world, folder = World(instrument="gaia_rvs").build(), tmp_path_factory.mktemp("one") / "network"
    recipe = Recipe(steps=1, batch=64, validations=1)
    made = make_estimator("mlp", "nano", labels=["teff"], recipe=recipe, options={"width": 8, "depth": 1})
    made.fit(endless(world, 1), world.source("validation", 1, 64)).save(folder)
    return folder


def test_an_estimator_that_does_not_know_the_target_is_left_out(one_label, tmp_path):
    heard = Heard()
    names = f'models.names=["ridge", "{one_label}"]'
    run = run_survey(settings(tmp_path, "limits.bayes_stars=0", names), heard)
    assert list(read_summary(run).estimators) == ["ridge"]
    assert any(
        "it estimates teff, not log_g; it is for spectra in the rest frame" in line for line in heard.lines
    )


def test_another_world_is_told_before_the_work_beside_the_scores_and_on_top_of_the_report(
    one_label, tmp_path
):
    """Through the command: on standard error twice, whatever standard output is used for."""
    more = ("simulate.noise_level=0.5", f'models.names=["{one_label}", "ridge"]', 'models.labels=["teff"]')
    overrides = [
        part
        for value in (*SMALL, *more, "limits.bayes_stars=0", f"run.folder={tmp_path}")
        for part in ("--set", value)
    ]
    command = [sys.executable, "-m", "specvit", "run", "--scale", "smoke", *overrides]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    warning = "was trained in another world (noise level 1.0, not 0.5)"
    begun, ended = (result.stderr.index(text) for text in ("draw the test spectra", "teff: 150 test spectra"))
    first, last = result.stderr.index(warning), result.stderr.rindex(warning)
    assert result.stderr.count(f"warning: MLP (network) {warning}") == 2
    assert first < begun < ended < last
    page = (tmp_path / "smoke" / "report.html").read_text()
    assert page.index('role="alert"') < page.index(warning) < page.index('<ul class="numbers">')
    # Ridge is fitted in this world, and a finished run still says it.
    assert result.stderr.count("another world") == 2
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stderr.count(warning) == 1


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ('["rigde"]', "did you mean 'ridge'"),
        ('["vit-huge"]', "vit-"),
        ('["a/ridge", "ridge"]', "neither an estimator"),
        ('["nowhere.at_all:Mine"]', "cannot be imported"),
        ('["pathlib:Path"]', "no 'fit'"),
    ],
)
def test_an_unknown_estimator_is_named_before_any_work(tmp_path, names, said):
    with pytest.raises(ConfigError, match=said):
        run_survey(settings(tmp_path, f"models.names={names}"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ('models.labels=["logg"]', r"models\.labels: 'logg' is not a label"),
        ("simulate.bounds.tef=[1.0, 2.0]", r"simulate\.bounds: .*tef"),
        ("models.options.lightgbm.roundz=5", "did you mean 'rounds'"),
        ("models.options.lightgbm.rounds=0", r"models\.options\.lightgbm\.rounds"),
        ("models.options.rigde.alphas=[1.0]", r"models\.options\.rigde: no such estimator"),
        ("evaluate.slices.giants.logg=[1, 2]", "logg"),
        ("library.name=nothere", r"^library\.name: nothere: no such file, expected a file of an emulator"),
        ("instrument.name=nothere", r"^instrument\.name: instrument 'nothere' is not known"),
        (
            f'models.names=["{Path(__file__).parent}"]',
            r"^models\.names: .*neither the folder of a saved estimator",
        ),
    ],
)
def test_what_cannot_be_meant_is_named_before_any_work(tmp_path, override, said):
    with pytest.raises((ConfigError, DataError), match=said):
        run_survey(settings(tmp_path, override))
    assert not list(tmp_path.iterdir())


OWN = '''
import json
import torch
from specvit import Prediction

class Middle:
    """Answers with the mean of the training labels."""

    name = "middle"
    title = "The {middle} <b>of all</b>"
    choice = {}

    def __init__(self, labels):
        self.labels = labels

    def fit(self, train, validation, progress=None):
        self.mean = train.draw(0, len(train)).labels.double().mean(dim=0)[1]
        return self

    def predict(self, flux, sigma):
        return Prediction(self.mean.expand(len(flux), 1).clone(), None, ("log_g",))

    def save(self, folder):
        folder.mkdir()
        (folder / "middle.json").write_text(json.dumps(float(self.mean)))

    @classmethod
    def load(cls, folder):
        model = cls(None)
        model.mean = torch.tensor(json.loads((folder / "middle.json").read_text()))
        return model
'''


def test_an_estimator_of_ones_own_needs_no_more_than_the_protocol(tmp_path, monkeypatch):
    (tmp_path / "my_estimators.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    names = 'models.names=["ridge", "my_estimators:Middle"]'
    run = run_survey(settings(tmp_path / "runs", names, "limits.bayes_stars=0"))
    summary = read_summary(run)
    assert summary.estimators["Middle"].family == "own"
    # Answering with the mean of another set leaves R² a little below zero.
    assert -0.2 < summary.score("Middle", "r2").value <= 0
    page = write_report(run.path).read_text()
    assert "The {middle} &lt;b&gt;of all&lt;/b&gt;" in page


def test_the_command_prints_scores_and_where_the_report_is(tmp_path):
    overrides = [
        part
        for value in (*SMALL, 'models.names=["ridge"]', "limits.bayes_stars=8", f"run.folder={tmp_path}")
        for part in ("--set", value)
    ]
    command = [sys.executable, "-m", "specvit", "run", "--scale", "smoke", *overrides]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"report: {tmp_path / 'smoke' / 'report.html'}" in result.stdout
    assert "Bayes ceiling" in result.stderr
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["summary"]["target"] == "log_g"
