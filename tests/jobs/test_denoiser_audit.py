"""The tables of an audit of denoisers, on stars whose floor is made up so that every ratio is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from specvit.cli.audit import own_keys, print_plain
from specvit.denoise import BayesDenoiser, DenoisedSpectra, WienerDenoiser
from specvit.denoise.learned import LearnedDenoiser
from specvit.denoise.learned.config import split_options
from specvit.denoise.scores import Floor, make_floor
from specvit.errors import ConfigError
from specvit.estimators.pretrained import load_pretrained
from specvit.evaluate.metrics import r2
from specvit.jobs import denoiser_downstream
from specvit.jobs.denoiser_audit import (
    Answer,
    _answer,
    _by_region,
    _controls,
    _coverage,
    _errors,
    _made_up,
    _tenths,
    audit_denoisers,
    foreign_world,
)
from specvit.jobs.denoiser_downstream import downstream
from specvit.jobs.denoiser_labels import label_posteriors
from specvit.jobs.denoiser_shapes import WRONG, by_strength, distributions
from specvit.models.origin import Origin
from specvit.report.tables import Table
from specvit.runs.denoisers_record import TAKEN_OUT, DenoisersRecord, ScoreRows, read_denoisers_record
from specvit.runs.summary import Score
from specvit.simulate import Simulator, World
from specvit.spectra import MemorySource

STARS = 12


@pytest.fixture(scope="module")
def stars(simulator):
    return simulator.draw("test", 41, 0, STARS)


@pytest.fixture(scope="module")
def floor(stars):
    generator = torch.Generator().manual_seed(0)
    off = 0.03 * stars.truth.sigma * torch.randn(stars.flux.shape, generator=generator)
    inside = {"68 %": torch.full((STARS,), 0.68), "95 %": torch.full((STARS,), 0.95)}
    tenths, labels = torch.full((STARS, 10), 0.1), stars.known_labels().double()
    std = 0.03 * stars.truth.sigma
    return Floor(
        stars, stars.truth.flux + off, std, inside, tenths, labels + 0.1, torch.full_like(labels, 0.04), 0
    )


@pytest.fixture(scope="module")
def answers(stars, floor):
    twice = stars.truth.flux + 2 * (floor.mean - stars.truth.flux)
    return {
        "noisy": Answer(stars.flux, None, {}),
        "Bayes floor": Answer(floor.mean, floor.std, floor.inside),
        "twice": Answer(twice, floor.std, {}),
    }


class Unchanged:
    """A denoiser that gives back what it is given."""

    def denoise(self, flux, sigma, strength=1.0, draws=0, seed=0):
        return DenoisedSpectra(flux)


def cells(table, denoiser, column, part="all"):
    at = table.head.index(column)
    return [row[at].value for row in table.rows if row[0] == denoiser and str(row[1]).startswith(part)]


def test_errors_are_over_those_of_the_noisy_spectra_and_of_the_floor(answers, floor):
    table = _errors(answers, floor)
    assert cells(table, "noisy", "MSE / noisy") == [1]
    assert cells(table, "Bayes floor", "MSE / floor") == [1]
    assert cells(table, "twice", "MSE / floor") == pytest.approx([4], rel=1e-4)
    assert cells(table, "twice", "(error/σ)² / floor") == pytest.approx([4], rel=1e-4)
    assert cells(table, "Bayes floor", "Σ (error/σ)²") == pytest.approx([4096 * 0.03**2], rel=0.05)
    assert cells(table, "twice", "wMAE / noisy") == pytest.approx([0.06], rel=0.05)
    assert cells(table, "Bayes floor", "wMAE / floor") == [1]
    assert cells(table, "twice", "wMAE / floor") == pytest.approx([2], rel=1e-4)
    # In every bin of S/N that holds stars, the same factor.
    assert cells(table, "twice", "MSE / floor", "S/N") == pytest.approx(
        [4] * len(cells(table, "noisy", "MSE / noisy", "S/N")), rel=1e-4
    )


def test_all_parts_of_the_spectrum_are_there_and_scored_apart(answers, floor):
    table = _by_region(answers, floor)
    parts = {str(row[1]).split(" (")[0] for row in table.rows}
    assert parts == {"sky lines", "lines", "continuum"}
    assert cells(table, "twice", "MSE / floor", "lines") == pytest.approx([4], rel=1e-4)
    assert cells(table, "twice", "wMAE / floor", "lines") == pytest.approx([2], rel=1e-4)


def test_coverage_is_stated_where_errors_are_and_counts_them(answers, floor):
    table = _coverage(answers, floor)
    assert {row[0] for row in table.rows} == {"Bayes floor", "twice"}
    assert cells(table, "Bayes floor", "within 68 % by std") == pytest.approx([68], abs=1)
    # Errors twice as large as stated: within ± 1 σ of 2 σ are 38 %.
    assert cells(table, "twice", "within 68 % by std") == pytest.approx([38], abs=1)
    assert cells(table, "Bayes floor", "in 95 % of samples") == pytest.approx([95])
    assert next(row[4] for row in table.rows if row[0] == "twice") is None


def test_one_that_does_not_look_at_sigma_is_the_same_with_any(stars):
    table = _controls({"unchanged": Unchanged()}, stars)
    assert len(table.rows) == 4
    assert cells(table, "unchanged", table.head[2], "") == [1] * 4


def test_downstream_of_one_that_changes_nothing_nothing_is_gained(simulator, stars, floor):
    found = downstream({"unchanged": Unchanged()}, simulator, 1, floor, ("log_g", "teff"), ())
    assert {one.estimator for one in found} >= {"subspace", "vit"}
    assert [one.label for one in found] == sorted((one.label for one in found), key=["log_g", "teff"].index)
    network = load_pretrained("subspace").predict(stars.flux, stars.sigma)
    for label in ("log_g", "teff"):
        row = next(
            one for one in found if (one.label, one.estimator, one.denoiser) == (label, "subspace", "")
        )
        truth = stars.known_labels()[:, simulator.prior.label_space.index(label)].double().numpy()
        assert row.r2.value == pytest.approx(r2(truth, network.mean[:, network.names.index(label)].numpy()))
    for one in found:
        if one.denoiser:
            assert (one.gain.value, one.gain.low, one.gain.high) == (0, 0, 0)
            assert (one.expected_gain.value, one.expected_gain.high) == (0, 0)
        assert not one.fitted
        assert any(part.startswith("teff") for part in one.bias)


def test_a_record_is_read_back_as_it_was_written(tmp_path):
    rows = (("wiener-denoiser", Score(value=2.5, low=2.0, high=3.0)), ("subspace-denoiser", None))
    table = ScoreRows(name="errors", caption="Errors", head=("denoiser", "MSE / floor"), rows=rows)
    record = DenoisersRecord(
        stars=2, left_out=0, seed=42, date="2026-11-28", digests={"wiener-denoiser": "a"}, tables=(table,)
    )
    (tmp_path / "denoisers.json").write_text(record.model_dump_json())
    assert read_denoisers_record(tmp_path / "denoisers.json") == record


class SamplesAlone:
    """A denoiser that states what it knows by samples, if it is asked for them."""

    def denoise(self, flux, sigma, strength=1.0, draws=0, seed=0):
        generator = torch.Generator().manual_seed(1)
        shape = (len(flux), draws, flux.shape[1])
        samples = flux[:, None] + sigma[:, None] * torch.randn(shape, generator=generator) if draws else None
        return DenoisedSpectra(flux, None, samples)


def test_samples_are_counted_where_no_error_is_stated(stars, floor):
    answer = _answer(SamplesAlone(), stars)
    assert answer.std is None
    table = _coverage({"samples": answer}, floor)
    # The noisy flux is off by as much as its samples scatter.
    assert cells(table, "samples", "in 68 % of samples") == pytest.approx([68], abs=3)
    assert cells(table, "samples", "in 95 % of samples") == pytest.approx([95], abs=2)
    row = next(row for row in table.rows if row[1].startswith("all"))
    assert row[table.head.index("within 68 % by std")] is None


class Faint:
    """A denoiser that leaves next to nothing of the star."""

    def denoise(self, flux, sigma, strength=1.0, draws=0, seed=0):
        return DenoisedSpectra(1 + 0.01 * (flux - 1))


# As many stars as a subspace has directions, at least.
@pytest.mark.parametrize(("name", "count"), [("mlp-nano", 60), ("subspace-nano", 80)])
def test_networks_are_fitted_anew_on_what_they_are_shown(name, count, simulator, floor, monkeypatch):
    monkeypatch.setattr(denoiser_downstream, "TRAINING", {"steps": 3, "batch": 8, "validations": 1})
    found = downstream({"faint": Faint()}, simulator, 1, floor, ("log_g",), (name,), (count, 20))
    plain, faint = (next(one for one in found if one.fitted and one.denoiser == k) for k in ("", "faint"))
    assert plain.expected_gain is None
    assert faint.expected_gain.value == pytest.approx(faint.expected.value - plain.expected.value)
    assert faint.r2.value != plain.r2.value


def test_expected_scores_downstream_are_those_of_their_formula(simulator, stars, floor):
    at = simulator.prior.label_space.index("log_g")
    log_g = stars.known_labels()[:, at].double().numpy()
    spread = np.square(log_g - log_g.mean()).mean()
    estimates = {"": log_g, "worse": log_g + 0.4}
    plain, worse = denoiser_downstream._rows_of_label("x", True, estimates, floor, "log_g", simulator)
    assert plain.r2.value == 1
    # The posterior's mean is 0.1 above the truth here, and its variance 0.04.
    assert plain.expected.value == pytest.approx(1 - (0.04 + 0.01) / spread)
    assert worse.expected.value == pytest.approx(1 - (0.04 + 0.09) / spread)
    assert worse.expected_gain.value == pytest.approx(-0.08 / spread)


def test_samples_of_the_exact_posterior_give_its_labels_back(simulator):
    """The whole way from spectra to posteriors of log g, and too wide samples are seen as such."""
    floor = make_floor(simulator, 7, 12)
    world = simulator.source("train", 1, 2), simulator.source("validation", 1, 2)
    exact = BayesDenoiser(simulator.observed, bank_size=1 << 12).fit(*world)
    first = floor.stars[slice(0, 8)]
    samples = exact.denoise(first.flux, first.sigma, draws=20, seed=3).samples
    middle = samples.mean(dim=1, keepdim=True)
    denoisers = {"exact": Given(samples), "wide": Given(middle + 2 * (samples - middle)), "none": Unchanged()}
    table = label_posteriors(denoisers, floor, simulator, "log_g", 3, most=(8, 20))
    rows = {row[0]: row for row in table.rows if str(row[1]).startswith("all")}
    assert set(rows) == {"exact", "wide"}
    off, spread, inside, _ = (score.value for score in rows["exact"][2:])
    # Twenty draws scatter by a fifth of a width; the floor knows each star's own photon noise besides.
    assert off < 0.5
    # Of eight stars; those on a face of the box cannot be wider.
    assert spread == pytest.approx(1, abs=0.35)
    assert inside > 30
    assert rows["wide"][3].value > 1.3 * spread


class Given:
    """Samples that are there already."""

    def __init__(self, samples):
        self.samples = samples

    def denoise(self, flux, sigma, strength=1.0, draws=0, seed=0):
        return DenoisedSpectra(self.samples.mean(dim=1), None, self.samples)


def test_tenths_tell_what_coverage_alone_does_not(stars, floor):
    """A distribution that is shifted and one that is too narrow fill other tenths."""
    std = floor.std
    shifted = Answer(floor.mean + std, std, {})
    narrow = Answer(floor.mean, 0.5 * std, {})
    table = _tenths({"right": Answer(floor.mean, std, {}), "shifted": shifted, "narrow": narrow}, floor)
    shares = {row[0]: np.array([cell.value for cell in row[2:]]) for row in table.rows}
    assert shares["right"] == pytest.approx(np.full(10, 10.0), abs=1)
    assert shares["shifted"][0] > 30 > 5 > shares["shifted"][-1]
    assert min(shares["narrow"][0], shares["narrow"][-1]) > 20
    assert all(values.sum() == pytest.approx(100) for values in shares.values())


def test_bins_of_a_handful_of_stars_have_a_value_and_no_interval(answers, floor):
    table = _errors(answers, floor)
    at = table.head.index("MSE / noisy")
    for row in table.rows:
        stars_in_bin = int(row[1].rsplit("(", 1)[1].rstrip(")"))
        assert (row[at].low is None) == (stars_in_bin < 8)
        assert row[at].value is not None


def test_one_that_changes_nothing_leaves_a_star_beyond_the_box_as_it_is(stars, simulator):
    table = _made_up({"unchanged": Unchanged()}, stars, simulator)
    assert cells(table, "unchanged", "star beyond the box: MSE / noisy", "") == pytest.approx([1], rel=1e-3)


def test_denoisers_of_one_name_have_keys_of_their_own():
    named = [
        (name, Path(path)) for name, path in (("w", "a/one"), ("w", "b/one"), ("w", "c/two"), ("s", "d"))
    ]
    assert own_keys(named) == ["w (a/one)", "w (b/one)", "w (c/two)", "s"]
    assert own_keys(named[:1]) == ["w"]
    assert own_keys(named[1:]) == ["w (one)", "w (two)", "s"]


def test_a_denoiser_of_another_world_or_of_none_is_said(simulator, stars):
    def trained(world, **options):
        source = (
            Simulator.build(**options).source("train", 1, 12)
            if world
            else MemorySource(stars, simulator.grid, simulator.prior.label_space)
        )
        return WienerDenoiser(2).fit(source, source)

    assert foreign_world(trained(True), simulator) == ""
    assert "noise_level 0.5, not 1.0" in foreign_world(trained(True, noise_level=0.5), simulator)
    assert "does not say" in foreign_world(trained(False), simulator)


def test_one_that_was_trained_with_less_noise_is_not_asked_for_more(simulator):
    config, _ = split_options({"objective": "residual", "high": 0.2})
    weak = LearnedDenoiser(config)
    weak.origin = Origin(simulator.grid, simulator.prior.label_space)
    with pytest.raises(ConfigError, match=r"at most 0\.2 of the noise"):
        audit_denoisers({"weak": weak}, World(), 2, 1)


def test_small_scores_are_printed_with_digits_that_say_something(capsys):
    rows = (("w", Score(value=1.68e-4, low=1.48e-4, high=1.93e-4), Score(value=2.3e-4)),)
    print_plain(Table("errors", "Errors", ("denoiser", "MSE", "few"), rows, digits=None))
    printed = capsys.readouterr().out
    assert "0.000168" in printed
    assert "0.00023" in printed


@pytest.mark.parametrize(("labels", "words"), [(("logg",), "'logg' is no label"), ((), "at least one label")])
def test_labels_that_are_none_are_refused_before_anything_is_computed(labels, words):
    with pytest.raises(ConfigError, match=words):
        audit_denoisers({}, World(), 10, 1, labels)


def test_error_by_strength_ends_at_the_noisy_spectrum_and_at_the_denoised_one(stars):
    class Halfway:
        def denoise(self, flux, sigma, strength=1.0, draws=0, seed=0):
            return DenoisedSpectra(flux + strength * 0.5 * (stars.known_truth().flux[: len(flux)] - flux))

    table = by_strength({"halfway": Halfway()}, stars)
    found = {row[1]: row[2].value for row in table.rows}
    assert found["0"] == 1
    assert found["0.5"] == pytest.approx(0.75)
    assert found["1"] == pytest.approx(0.5)


def test_distributions_of_noise_are_normal_and_of_a_bias_are_shifted(stars):
    truth, std = stars.known_truth().flux, stars.known_truth().sigma
    table = distributions([("right", truth, None), ("off", truth + 2 * std, std)], stars)
    of = {(row[0], row[1]): [cell.value for cell in row[2:]] for row in table.rows}
    # The tails of some hundred thousand pixels.
    assert of["right", TAKEN_OUT] == pytest.approx([-3, -2, -1, 0, 1, 2, 3], abs=0.15)
    assert of["off", TAKEN_OUT] == pytest.approx([-5, -4, -3, -2, -1, 0, 1], abs=0.15)
    assert of["off", WRONG] == pytest.approx([2] * 7, abs=1e-4)
    assert ("right", WRONG) not in of
