"""The tables of an audit of denoisers, on stars whose floor is made up so that every ratio is known."""

import pytest
import torch

from specvit.denoise import DenoisedSpectra
from specvit.denoise.scores import Floor
from specvit.jobs.denoiser_audit import Answer, _answer, _by_region, _controls, _coverage, _errors
from specvit.jobs.denoiser_downstream import downstream
from specvit.runs.denoisers_record import DenoisersRecord, ScoreRows, read_denoisers_record
from specvit.runs.summary import Score

STARS = 12


@pytest.fixture(scope="module")
def stars(simulator):
    return simulator.draw("test", 41, 0, STARS)


@pytest.fixture(scope="module")
def floor(stars):
    generator = torch.Generator().manual_seed(0)
    off = 0.03 * stars.truth.sigma * torch.randn(stars.flux.shape, generator=generator)
    inside = {"68 %": torch.full((STARS,), 0.68), "95 %": torch.full((STARS,), 0.95)}
    return Floor(stars, stars.truth.flux + off, 0.03 * stars.truth.sigma, inside, 0)


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
    # In every bin of S/N that holds stars, the same factor.
    assert cells(table, "twice", "MSE / floor", "S/N") == pytest.approx(
        [4] * len(cells(table, "noisy", "MSE / noisy", "S/N")), rel=1e-4
    )


def test_all_parts_of_the_spectrum_are_there_and_scored_apart(answers, floor):
    table = _by_region(answers, floor)
    parts = {str(row[1]).split(" (")[0] for row in table.rows}
    assert parts == {"sky lines", "lines", "continuum"}
    assert cells(table, "twice", "MSE / floor", "lines") == pytest.approx([4], rel=1e-4)


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


def test_downstream_of_one_that_changes_nothing_nothing_is_gained(simulator, stars):
    found = downstream({"unchanged": Unchanged()}, simulator, 1, stars, "log_g", ())
    assert {one.estimator for one in found} >= {"subspace", "vit"}
    for one in found:
        if one.denoiser:
            assert (one.gain.value, one.gain.low, one.gain.high) == (0, 0, 0)
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
