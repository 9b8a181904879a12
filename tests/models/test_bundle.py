"""Saved estimators: complete or absent, unchanged or refused."""

import json

import pytest
import torch

from specvit.errors import DataError, RunError
from specvit.estimators import load_estimator
from specvit.models import PLS, Bundle, Origin, PCARidge, Ridge, load_bundle, save_bundle
from specvit.spectra import LabelSpace, MemorySource, SpectraBatch, WavelengthGrid

SPACE = LabelSpace(("log_g",), ("dex",), (1.0,), (5.0,))
GRID = WavelengthGrid.linear(8000.0, 0.5, 12)


def make_source(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = 1 + 4 * torch.rand(count, 1, generator=generator)
    flux = 1 + labels * torch.linspace(-0.1, 0.1, 12) + 0.1 * torch.randn(count, 12, generator=generator)
    snr = torch.full((count,), 10.0)
    return MemorySource(SpectraBatch(flux, torch.full_like(flux, 0.1), labels, {}, snr), GRID, SPACE)


@pytest.fixture
def saved(tmp_path):
    model = Ridge().fit(make_source(60, 0), make_source(40, 1))
    model.save(tmp_path / "ridge")
    return tmp_path / "ridge"


@pytest.mark.parametrize("model", [Ridge(), PCARidge(components=[2, 4]), PLS(components=3)])
def test_a_saved_estimator_predicts_the_same_bits(tmp_path, model):
    test = make_source(7, 2).batch
    model.fit(make_source(60, 0), make_source(40, 1)).save(tmp_path / "m")
    again = load_estimator(tmp_path / "m")
    before, after = model.predict(test.flux, test.sigma), again.predict(test.flux, test.sigma)
    assert type(again) is type(model)
    assert torch.equal(before.mean, after.mean)
    assert torch.equal(before.std, after.std)
    assert before.names == after.names
    assert again.choice == model.choice
    assert again.origin.grid.fingerprint == GRID.fingerprint
    assert again.origin.label_space == SPACE


def test_the_manifest_tells_what_the_estimator_is_for(saved):
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["grid"]["fingerprint"] == GRID.fingerprint
    assert manifest["label_space"]["names"] == ["log_g"]
    training = manifest["training"]
    assert (training["train_spectra"], training["validation_spectra"]) == (60, 40)
    assert training["train"] != training["validation"]


def test_an_origin_is_what_its_sources_say_of_themselves():
    lsf = {"wavelength": [8000.0], "fwhm": [1.6]}
    train, validation = MemorySource(make_source(60, 0).batch, GRID, SPACE, lsf), make_source(40, 1)
    origin = Origin.of(train, validation)
    assert (origin.training.train, origin.training.validation) == (
        train.provenance,
        validation.provenance,
    )
    assert origin.lsf == lsf
    assert Origin.of(validation, train).lsf is None


def test_saving_leaves_only_the_folder_and_may_replace_it(saved):
    Ridge(alphas=[3.0]).fit(make_source(60, 0), make_source(40, 1)).save(saved)
    assert Ridge.load(saved).choice["log_g"]["alpha"] == 3.0
    assert [p.name for p in saved.parent.iterdir()] == ["ridge"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="not a saved estimator"):
        save_bundle(Bundle("ridge", Origin(GRID, SPACE), {}), tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(RunError, match="disk is full"):
        save_bundle(Bundle("ridge", Origin(GRID, SPACE), {}), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json"])
def test_a_changed_byte_is_refused(saved, name):
    path = saved / name
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle] = ord("7") if data[middle] != ord("7") else ord("8")
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=name):
        Ridge.load(saved)


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json"])
def test_a_missing_or_shortened_file_is_refused(saved, name):
    path = saved / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=name):
        Ridge.load(saved)
    path.unlink()
    with pytest.raises(DataError, match=name):
        Ridge.load(saved)


def test_an_edited_choice_in_the_manifest_is_refused(saved):
    path = saved / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["training"]["train_spectra"] = 10**6
    path.write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="changed after saving"):
        load_bundle(saved)


@pytest.mark.parametrize(
    ("version", "mend"),
    [(99, "upgrade specvit"), (2, r"older specvit: fit \(a network: train\) and save the estimator again")],
)
def test_another_format_is_refused_with_its_mend(saved, version, mend):
    path = saved / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["format_version"] = version
    path.write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=mend):
        load_bundle(saved)


def test_the_wrong_class_refuses_the_folder(saved):
    with pytest.raises(DataError, match="holds a 'ridge' estimator, expected 'pls'"):
        PLS.load(saved)


def test_an_unknown_estimator_is_named(tmp_path):
    save_bundle(Bundle("oracle", Origin(GRID, SPACE), {}), tmp_path / "m")
    with pytest.raises(DataError, match="unknown estimator 'oracle'"):
        load_estimator(tmp_path / "m")
