"""A run folder is read whole, or the file and the entry that are wrong are named."""

import numpy as np
import pytest

from specvit.errors import DataError
from specvit.jobs.config import resolve
from specvit.report import load_contents
from specvit.runs import RunFolder


def test_the_target_is_found_by_name(run_folder):
    run = load_contents(run_folder.path)
    np.testing.assert_array_equal(run.truth, run.test.labels[:, 1])
    assert run.predicted("ridge").shape == run.truth.shape


def test_a_run_without_results_says_what_is_done(tmp_path):
    run = RunFolder.create(tmp_path, "demo", resolve("smoke").to_dict())
    with run.stage("simulate"):
        pass
    with pytest.raises(DataError, match=r"no results yet \(finished stages: simulate\)"):
        load_contents(run.path)


def test_a_missing_file_is_named(make_run):
    run = make_run()
    (run.path / "arrays" / "predictions_lightgbm.npz").unlink()
    with pytest.raises(DataError, match=r"predictions_lightgbm\.npz is missing"):
        load_contents(run.path)


def test_a_missing_array_is_named(make_run):
    run = make_run(examples=False)
    run.write_arrays("test", labels=np.zeros((3, 5)), snr=np.ones(3), mag=np.ones(3))
    with pytest.raises(DataError, match=r"test\.npz: no array 'label_names'"):
        load_contents(run.path)


def test_predictions_of_another_test_set_are_refused(make_run):
    run = make_run()
    run.write_arrays("predictions_ridge", names=["log_g"], mean=np.zeros((3, 1)))
    with pytest.raises(DataError, match=r"3 spectra, test\.npz has 300"):
        load_contents(run.path)


def test_a_model_that_does_not_estimate_the_target_is_named(make_run):
    run = make_run()
    run.write_arrays("predictions_ridge", names=["teff"], mean=np.zeros((300, 1)))
    with pytest.raises(DataError, match=r"predictions_ridge\.npz: no label 'log_g'; it holds teff"):
        load_contents(run.path)


def test_a_summary_of_another_shape_names_the_entry(make_run):
    run = make_run()
    summary = run.summary
    del summary["estimators"]["ridge"]["title"]
    run.write_summary(summary)
    with pytest.raises(DataError, match=r"summary\.json: estimators\.ridge\.title"):
        load_contents(run.path)


def test_test_spectra_without_the_target_are_refused(make_run):
    run = make_run(examples=False)
    arrays = run.read_arrays("test")
    run.write_arrays("test", **{**arrays, "label_names": ["teff", "logg", "m_h", "alpha_m", "c_m"]})
    with pytest.raises(DataError, match=r"test\.npz: no label 'log_g'; it holds teff, logg"):
        load_contents(run.path)


def test_a_run_knows_all_its_parts(run_folder, training_run):
    run, training = load_contents(run_folder.path), load_contents(training_run.path)
    assert None not in (run.bounds, run.posteriors, run.cells, run.examples)
    assert (training.bounds, training.posteriors, training.cells, training.examples) == (None,) * 4
    assert run.title("lightgbm") == "LightGBM"
    assert run.names == ["ridge", "lightgbm"]
