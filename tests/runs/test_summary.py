import numpy as np
import pytest
from pydantic import ValidationError

from specvit.errors import DataError
from specvit.runs import ModelResults, Score, SnrBins, Summary, check_arrays


def summary(scores):
    return Summary(
        target="log_g",
        counts={"test": 10},
        bootstrap=100,
        seed=1,
        prior_variance=1.3,
        snr_bins=SnrBins(edges=[1, 2, 3], counts=[4, 6], median=[1.5, 2.5]),
        models={"ridge": ModelResults(title="Ridge", overall={"r2": Score(value=0.5)}, bins={"r2": scores})},
    )


def test_every_metric_has_one_score_per_bin():
    assert summary([Score(value=0.1), Score(value=None)]).models["ridge"].bins["r2"][1].value is None
    with pytest.raises(ValidationError, match=r"models\.ridge\.bins\.r2: expected one entry for each of 2"):
        summary([Score(value=0.1)])


def test_a_summary_survives_json():
    whole = summary([Score(value=0.1, low=0.0, high=0.2), Score(value=0.2)])
    assert Summary.model_validate_json(whole.model_dump_json()) == whole


def test_the_first_missing_array_is_named():
    with pytest.raises(DataError, match=r"run/test\.npz: no array 'snr'; it holds label_names, labels"):
        check_arrays("test", {"labels": np.zeros(1), "label_names": np.zeros(1)}, "run/test.npz")
