"""What the job stores of a network: complete, normalised, and Fisher information that is the ceiling's."""

import copy

import numpy as np
import pytest
import torch
from specvit.jobs.explanation import explanation

from explained_network import small_estimator
from specvit.errors import DataError, LabelError, WavelengthRangeError
from specvit.explain import WINDOWS
from specvit.jobs import explanation as module
from specvit.limits import Forecaster, FreeParameters
from specvit.runs import check_arrays
from specvit.simulate import Simulator

STARS = 20


@pytest.fixture(scope="module")
def test_stars(simulator):
    return simulator.draw("test", 42, 0, STARS)


@pytest.fixture(scope="module")
def arrays(simulator, test_stars):
    seen = []
    made = explanation(
        small_estimator(simulator),
        simulator,
        test_stars,
        "log_g",
        lambda done, total: seen.append((done, total)),
    )
    assert seen == [(16, STARS), (20, STARS)]
    return made


def test_the_arrays_are_those_of_the_contract(arrays):
    check_arrays("explain", arrays, "explain.npz")
    assert list(arrays["quantities"]) == ["fisher", "response", "ig", "attention", "rollout"]
    assert (str(arrays["model"]), str(arrays["target"])) == ("vit-tiny", "log_g")
    assert arrays["density"].shape == (5, 3, 4096)
    assert arrays["share"].shape == (5, 3, len(WINDOWS), 3)
    assert arrays["blocks"].shape == (2, 4096)
    assert arrays["stars"][0] == arrays["stars"][1:].sum() == STARS
    assert float(arrays["gap"]) < 0.05


def test_densities_integrate_to_one_and_shares_add_up(arrays, simulator):
    width = np.diff(simulator.grid.edges)
    np.testing.assert_allclose((arrays["density"] * width).sum(axis=-1), 1)
    np.testing.assert_allclose(arrays["share"][..., 0].sum(axis=-1), 1)
    np.testing.assert_allclose(arrays["likeness"][0], 1)


def test_fisher_information_per_pixel_sums_to_that_of_the_ceiling(simulator, test_stars):
    observed = copy.deepcopy(simulator.observed).double()
    density = module._information(observed, test_stars, "log_g")["fisher"]
    free = FreeParameters("log_g", simulator.prior.label_space.names)
    forecaster = Forecaster(simulator.world.emulator(), simulator.instrument, free)
    conditions = {name: value.double() for name, value in test_stars.conditions.items()}
    crlb = forecaster.forecast(test_stars.labels, [conditions])[0].crlb
    torch.testing.assert_close(density.sum(dim=1), 1 / crlb, rtol=1e-3, atol=0)


def test_a_network_without_attention_is_explained_without_it(simulator, test_stars):
    made = explanation(
        small_estimator(simulator, "subspace"), simulator, test_stars[:4], "teff", lambda done, total: None
    )
    assert list(made["quantities"]) == ["fisher", "response", "ig"]
    assert "blocks" not in made


def test_what_cannot_be_explained_is_refused_before_any_work(simulator, test_stars):
    def refuse(*_):
        raise AssertionError("work was done")

    estimator = small_estimator(simulator)
    with pytest.raises(LabelError, match="unknown label 'm_h'; known labels are log_g, teff"):
        explanation(estimator, simulator, test_stars, "m_h", refuse)
    with pytest.raises(DataError, match="truth"):
        explanation(estimator, simulator, test_stars.without_truth(), "log_g", refuse)
    other = Simulator.build("gaia_rvs")
    with pytest.raises(WavelengthRangeError, match="spectra for vit-tiny: expected 4096 pixels"):
        explanation(estimator, other, test_stars, "log_g", refuse)
