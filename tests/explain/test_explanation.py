"""What the job stores of a network: complete, normalised, and Fisher information that is the ceiling's."""

import copy

import numpy as np
import pytest
import torch

from explained_network import small_estimator
from specvit.errors import DataError, LabelError, WavelengthRangeError
from specvit.explain import WINDOWS
from specvit.jobs.stages import explain_network
from specvit.limits import Forecaster, FreeParameters
from specvit.limits.density import star_densities
from specvit.runs import Explanation, RunFolder
from specvit.simulate import Simulator

STARS = 20


@pytest.fixture(scope="module")
def test_stars(simulator):
    return simulator.draw("test", 42, 0, STARS)


def unwatched(done, total, text=""):
    pass


@pytest.fixture(scope="module")
def found(simulator, test_stars):
    seen = []

    def update(done, total, text=""):
        seen.append((done, total))

    made = explain_network(small_estimator(simulator), simulator, test_stars, "log_g", update)
    assert seen == [(16, STARS), (20, STARS)]
    return made


def test_what_is_found_can_be_kept_and_read(found, tmp_path):
    run = RunFolder.create(tmp_path, "demo", {"config_version": 1})
    found.write(run)
    assert Explanation.read(run).arrays().keys() == found.arrays().keys()
    assert list(found.quantities) == ["fisher", "response", "ig", "attention", "rollout"]
    assert (str(found.model), str(found.target)) == ("vit-tiny", "log_g")
    assert found.density.shape == (5, 3, 4096)
    assert found.share.shape == (5, 3, len(WINDOWS), 3)
    assert found.blocks.shape == (2, 4096)
    assert found.stars[0] == found.stars[1:].sum() == STARS
    assert float(found.gap) < 0.05


def test_densities_integrate_to_one_and_shares_add_up(found, simulator):
    width = simulator.grid.width
    np.testing.assert_allclose((found.density * width).sum(axis=-1), 1)
    np.testing.assert_allclose(found.share[..., 0].sum(axis=-1), 1)
    np.testing.assert_allclose(found.likeness[0], 1)


def test_fisher_information_per_pixel_sums_to_that_of_the_ceiling(simulator, test_stars):
    observed = copy.deepcopy(simulator.observed).double()
    density = star_densities(observed, test_stars, "log_g")
    free = FreeParameters("log_g", simulator.prior.label_space.names)
    forecaster = Forecaster(simulator.world.emulator(), simulator.instrument, free)
    conditions = {name: value.double() for name, value in test_stars.conditions.items()}
    crlb = forecaster.forecast(test_stars.labels, [conditions])[0].crlb
    torch.testing.assert_close(density.sum(dim=1), 1 / crlb, rtol=1e-3, atol=0)


def test_a_network_without_attention_is_explained_without_it(simulator, test_stars):
    made = explain_network(
        small_estimator(simulator, "subspace"), simulator, test_stars[:4], "teff", unwatched
    )
    assert list(made.quantities) == ["fisher", "response", "ig"]
    assert made.blocks is None


def test_what_cannot_be_explained_is_refused_before_any_work(simulator, test_stars):
    def refuse(*_):
        raise AssertionError("work was done")

    estimator = small_estimator(simulator)
    with pytest.raises(LabelError, match="unknown label 'm_h'; known labels are log_g, teff"):
        explain_network(estimator, simulator, test_stars, "m_h", refuse)
    with pytest.raises(DataError, match="truth"):
        explain_network(estimator, simulator, test_stars.without_truth(), "log_g", refuse)
    other = Simulator.build("gaia_rvs")
    with pytest.raises(WavelengthRangeError, match="spectra for vit-tiny: expected 4096 pixels"):
        explain_network(estimator, other, test_stars, "log_g", refuse)
