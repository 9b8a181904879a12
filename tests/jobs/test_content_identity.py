"""A run is what its inputs are, not what they are called: edited files make new runs, moved ones do not."""

import shutil

import pytest

from small_surveys import settings
from specvit.instrument import Instrument
from specvit.jobs import run_survey
from specvit.jobs.config.training import training_config
from specvit.jobs.training import open_sources, training_identity
from specvit.runs import folder as folder_module
from specvit.simulate import StoredSpectra, World, WriteJob

FEW = ("simulate.train=60", "simulate.validation=30", "simulate.test=30", 'models.names=["ridge"]')
QUICK = (*FEW, "limits.bayes_stars=0", "limits.ceiling_stars=4", "evaluate.bootstrap=20")


@pytest.fixture
def instrument(tmp_path):
    """An instrument file of one's own, with a noise that can be edited."""
    path = tmp_path / "my.toml"
    path.write_text('extends = "gaia_rvs"\nname = "mine"\n')
    return path


def survey(tmp_path, instrument, *more):
    return run_survey(settings(tmp_path / "runs", *QUICK, f"instrument.name={instrument}", *more))


def test_the_same_inputs_are_the_same_run(tmp_path, instrument):
    first = survey(tmp_path, instrument)
    assert survey(tmp_path, instrument).path == first.path
    # Threads and the name of the file change nothing of the results.
    elsewhere = shutil.copy(instrument, tmp_path / "copy.toml")
    assert survey(tmp_path, elsewhere, "run.threads=2").path == first.path


def test_an_edited_instrument_makes_another_run(tmp_path, instrument):
    first = survey(tmp_path, instrument)
    instrument.write_text(instrument.read_text() + "\n[detector]\nread_noise = 40.0\n")
    assert Instrument.load(instrument) is not None
    second = survey(tmp_path, instrument)
    assert second.path != first.path
    assert second.provenance["inputs"]["world"] != first.provenance["inputs"]["world"]


def test_a_saved_estimator_fitted_anew_under_its_name_makes_another_run(tmp_path, instrument):
    model = survey(tmp_path, instrument).path / "models" / "ridge"
    mine = shutil.copytree(model, tmp_path / "mine")
    first = survey(tmp_path, instrument, f'models.names=["{mine}"]')
    moved = shutil.move(mine, tmp_path / "deep" / "mine") if (tmp_path / "deep").mkdir() is None else None
    assert survey(tmp_path, instrument, f'models.names=["{moved}"]').path == first.path
    other = survey(tmp_path, instrument, "simulate.seed=7").path / "models" / "ridge"
    shutil.rmtree(moved)
    shutil.copytree(other, moved)
    assert survey(tmp_path, instrument, f'models.names=["{moved}"]').path != first.path


def test_results_of_another_kind_are_not_continued(tmp_path, instrument, monkeypatch):
    first = survey(tmp_path, instrument)
    monkeypatch.setattr(folder_module, "RESULTS", folder_module.RESULTS + 1)
    assert survey(tmp_path, instrument).path != first.path


def test_a_new_version_of_specvit_continues_what_it_can(tmp_path, instrument, monkeypatch):
    first = survey(tmp_path, instrument)
    monkeypatch.setattr("specvit.__version__", "99.0")
    assert survey(tmp_path, instrument).path == first.path


def identity_of(**tables):
    config = training_config({"instrument": {"name": "gaia_rvs"}, **tables})
    return training_identity(config, open_sources(config))


def test_a_training_is_what_its_spectra_are(tmp_path, instrument):
    stars = {"validation": 20, "test": 20}
    alone = identity_of(simulate=stars)
    assert identity_of(simulate=stars) == alone
    assert identity_of(simulate={**stars, "seed": 1}) != alone
    assert identity_of(simulate=stars, instrument={"name": str(instrument)})["spectra"] == alone["spectra"]
    instrument.write_text(instrument.read_text() + "\n[detector]\nread_noise = 40.0\n")
    assert identity_of(simulate=stars, instrument={"name": str(instrument)})["spectra"] != alone["spectra"]


def test_stored_spectra_are_themselves_wherever_they_lie(tmp_path, instrument):
    folder = tmp_path / "set"
    WriteJob(folder, World(instrument=str(instrument)), "train", 1, 40, 2).run()
    first = StoredSpectra(folder).provenance["identity"]
    shutil.move(folder, tmp_path / "moved")
    instrument.unlink()
    assert StoredSpectra(tmp_path / "moved").provenance["identity"] == first
