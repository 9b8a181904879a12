"""Saved networks: the same answers, or a refusal in one line."""

import json

import numpy as np
import pytest
import torch

from damage import reseal
from specvit.errors import DataError, RunError, WavelengthRangeError
from specvit.estimators import network_config, network_estimator
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.models.manifest import MANIFEST, TENSORS
from specvit.models.network import build_network
from specvit.models.origin import Origin, TrainingRecord
from specvit.models.protocol import Estimator
from specvit.runs import TrueBin
from specvit.spectra import LOW_T_BOX, WavelengthGrid

GRID = WavelengthGrid.linear(8000, 1.0, 96)
SPACE = LOW_T_BOX.select(["log_g", "teff"])
OPTIONS = {
    "vit": {"patch": 8, "width": 16, "depth": 1, "heads": 2, "position": "learned+rope", "head": "gaussian"},
    "mlp": {"width": 8, "head": "ordinal"},
    "subspace": {"width": 8, "components": 5, "patterns": 2, "head": "point"},
}


def spectra(count=6):
    rng = np.random.default_rng(0)
    sigma = np.full((count, 96), 0.1)
    flux = 1 + sigma * rng.standard_normal((count, 96))
    return torch.from_numpy(flux.astype(np.float32)), torch.from_numpy(sigma.astype(np.float32))


def make(model="vit", seed=0):
    torch.manual_seed(seed)
    network = build_network(network_config(model).with_options(OPTIONS[model]), GRID, SPACE)
    flux, sigma = spectra(20)
    network.front.fit(flux, flux, sigma) if model == "subspace" else network.front.fit(flux, sigma)
    origin = Origin(GRID, LOW_T_BOX, TrainingRecord(train_spectra=20, validation_r2=0.5))
    return NetworkEstimator(f"{model}-tiny").adopt(network, origin)


@pytest.fixture
def saved(tmp_path):
    make().save(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.mark.parametrize("model", OPTIONS)
def test_a_saved_network_gives_the_same_answers(model, tmp_path):
    estimator = make(model)
    assert isinstance(estimator, Estimator)
    estimator.save(tmp_path / "b")
    again = NetworkEstimator.load(tmp_path / "b")
    before, after = estimator.predict(*spectra()), again.predict(*spectra())
    assert torch.equal(before.mean, after.mean)
    assert (before.std is None) == (model == "subspace")
    assert before.std is None or torch.equal(before.std, after.std)
    assert (after.quantiles is not None) == (model == "mlp")
    assert after.names == ("log_g", "teff")
    assert (again.name, again.origin.training.validation_r2) == (f"{model}-tiny", 0.5)
    assert again.grid.matches(GRID)


def test_predictions_do_not_depend_on_the_batch_size():
    estimator = make()
    whole = estimator.predict(*spectra(7)).mean
    estimator.batch_size = 2
    torch.testing.assert_close(estimator.predict(*spectra(7)).mean, whole, rtol=1e-5, atol=1e-5)


def half(low, bias, coverage):
    stated = {"bias_error": 0.02, "rms": 0.6, "coverage_68": coverage, "coverage_68_error": 0.03}
    return TrueBin(low=low, high=low + 2, spectra=50, bias=bias, **stated)


def test_scores_by_true_value_are_kept_and_stand_on_the_card(tmp_path):
    estimator = make()
    estimator.by_true_label = {"log_g": (half(1.0, 0.45, 0.54), half(3.0, -0.49, 0.52))}
    estimator.save(tmp_path / "b")
    assert NetworkEstimator.load(tmp_path / "b").by_true_label == estimator.by_true_label
    card = (tmp_path / "b" / "card.md").read_text()
    assert "| 1 to 3 | 50 | +0.45 ± 0.02 | 0.6 | 0.540 ± 0.030 |" in card
    assert "biased inwards near the ends" in card


def test_a_network_saved_before_them_is_read(saved):
    manifest = json.loads((saved / MANIFEST).read_text())
    del manifest["settings"]["by_true_label"]
    reseal(saved, manifest, {})
    assert NetworkEstimator.load(saved).by_true_label == {}


@pytest.mark.parametrize(
    ("label", "bins", "told"),
    [
        ("m_h", [half(1.0, 0.1, 0.6)], "by_true_label: m_h is none of its labels"),
        ("log_g", [half(1.0, 0.1, 0.6), half(3.5, 0.1, 0.6)], "one ends at 3, the next begins at 3.5"),
    ],
)
def test_scores_by_true_value_that_cannot_be_are_refused(saved, label, bins, told):
    manifest = json.loads((saved / MANIFEST).read_text())
    manifest["settings"]["by_true_label"] = {label: [one.model_dump() for one in bins]}
    reseal(saved, manifest, {})
    with pytest.raises(DataError, match=told):
        NetworkEstimator.load(saved)


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("model", OPTIONS)
def test_predictions_are_those_of_the_network(model, dead):
    """Whatever `predict` does to be fast."""
    estimator, (flux, sigma) = make(model), spectra(9)
    if dead:
        sigma[2, 5:9] = torch.inf
    found = estimator.predict(flux, sigma)
    with torch.inference_mode():
        expected = estimator.network.estimate(flux, sigma)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-3, atol=1e-4)
    quantiles = None if found.quantiles is None else found.quantiles.values
    for stated, value in ((found.std, expected.std), (quantiles, expected.quantiles)):
        assert (stated is None) == (value is None)
        if stated is not None:
            torch.testing.assert_close(stated, value, rtol=1e-3, atol=1e-4)
    share = (sigma < torch.inf).double().mean(dim=1)
    assert torch.equal(found.diagnostics.usable_share, share)


def test_float64_pixels_beyond_float32_are_dead():
    estimator, (flux, sigma) = make(), spectra()
    flux, sigma = flux.double(), sigma.double()
    flux[1, 7], sigma[2, 9] = 1e60, 1e-60
    found = estimator.predict(flux, sigma)
    assert torch.isfinite(found.mean).all()
    assert found.diagnostics.usable_share.tolist() == [1, 95 / 96, 95 / 96, 1, 1, 1]


def test_predictions_of_many_are_those_of_few(monkeypatch):
    """They are decoded in larger pieces than they are made in."""
    estimator, (flux, sigma) = make("mlp"), spectra(23)
    whole = estimator.predict(flux, sigma)
    monkeypatch.setattr(network_estimator, "DECODED_ROWS", 10)
    estimator.batch_size = 4
    pieces = estimator.predict(flux, sigma)
    torch.testing.assert_close(pieces.mean, whole.mean, rtol=1e-5, atol=1e-5)
    assert pieces.quantiles.values.shape == whole.quantiles.values.shape


def test_a_network_taken_over_replaces_the_one_made_ready():
    estimator, (flux, sigma) = make(), spectra()
    first = estimator.predict(flux, sigma).mean
    other = make(seed=3)
    estimator.adopt(other.network, other.origin)
    second = estimator.predict(flux, sigma).mean
    assert not torch.allclose(first, second)
    torch.testing.assert_close(second, other.predict(flux, sigma).mean)


@pytest.mark.parametrize("file", [TENSORS, MANIFEST])
def test_a_changed_file_is_refused(saved, file):
    content = bytearray((saved / file).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / file).write_bytes(bytes(content))
    with pytest.raises(DataError):
        NetworkEstimator.load(saved)


def test_a_missing_file_is_refused(saved):
    (saved / TENSORS).unlink()
    with pytest.raises(DataError, match=r"weights\.safetensors is missing"):
        NetworkEstimator.load(saved)


def test_another_answer_to_the_fixed_spectra_is_refused(saved, monkeypatch):
    original = network_estimator.fingerprint_spectra
    monkeypatch.setattr(
        network_estimator, "fingerprint_spectra", lambda grid: tuple(1.5 * x**2 for x in original(grid))
    )
    with pytest.raises(DataError, match="fixed spectra give other estimates"):
        NetworkEstimator.load(saved)


def test_the_manifest_says_what_the_network_is(saved):
    manifest = json.loads((saved / MANIFEST).read_text())
    settings = manifest["settings"]
    assert settings["network"]["backbone"]["patch"] == 8
    assert settings["labels"]["names"] == ["log_g", "teff"]
    assert settings["parameters"] == make().network.parameter_count
    assert np.shape(settings["fingerprint"]) == (4, 2)
    assert manifest["training"]["train_spectra"] == 20


def test_loading_leaves_the_global_generator_alone(saved):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    NetworkEstimator.load(saved)
    assert torch.equal(torch.get_rng_state(), state)


def test_spectra_on_another_grid_are_refused():
    flux, sigma = spectra()
    with pytest.raises(WavelengthRangeError, match="vit-tiny: expected 96 pixels, 8000"):
        make().predict(flux, sigma, WavelengthGrid.linear(8001, 1.0, 96))
    make().predict(flux, sigma, GRID)


def test_a_spectrum_without_usable_pixels_is_refused():
    flux, sigma = spectra()
    sigma[4, 5:] = torch.inf
    with pytest.raises(DataError, match="spectrum 4 has 5% usable pixels"):
        make().predict(flux, sigma)


def test_the_share_of_usable_pixels_is_reported():
    flux, sigma = spectra()
    flux[2, :48] = torch.nan
    np.testing.assert_allclose(make().predict(flux, sigma).diagnostics.usable_share, [1, 1, 0.5, 1, 1, 1])


def test_an_estimator_without_weights_or_recipe_says_so():
    with pytest.raises(RunError, match="call fit or load"):
        NetworkEstimator("x").predict(*spectra())
    with pytest.raises(RunError, match="no training recipe"):
        NetworkEstimator("x").fit(None, None)
