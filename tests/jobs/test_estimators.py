"""Every estimator a configuration can name goes through a run: fitted, saved, read back, its answers stored."""

import numpy as np
import pytest
import torch
from specvit.jobs.networks import CLASSICAL
from specvit.jobs.scorer import stated_intervals

from specvit.jobs import Quiet
from specvit.jobs import estimators as job
from specvit.jobs.config import resolve
from specvit.models import Prediction, Ridge
from specvit.runs import RunFolder
from specvit.simulate import Simulator

TINY = (
    "instrument.name=gaia_rvs",
    "simulate.train=300",
    "simulate.validation=60",
    "models.lightgbm.rounds=3",
    "models.networks.steps=3",
    "run.threads=1",
)
STATES_QUANTILES = {"posterior", "mlp-nano"}


@pytest.fixture(scope="module")
def world():
    return Simulator.build(instrument="gaia_rvs")


@pytest.fixture(scope="module")
def stars(world):
    return world.draw("test", 5, 0, 7)


@pytest.mark.parametrize("name", [*CLASSICAL, "mlp-nano"])
def test_every_estimator_runs_and_its_answers_are_stored(name, world, stars, tmp_path, monkeypatch):
    # Several pieces, the last one shorter.
    monkeypatch.setattr(job, "PIECE", 3)
    config = resolve("smoke", None, TINY)
    run = RunFolder.create(tmp_path, name, config.to_dict())
    job.fit_and_predict(name, config, world, stars, run, Quiet())
    arrays = run.read_arrays(f"predictions_{name}")
    found = Prediction.from_arrays(arrays, name)
    assert len(found) == 7
    assert "log_g" in found.names
    assert torch.isfinite(found.mean).all()
    assert (found.std > 0).all()
    assert (found.quantiles is not None) == (name in STATES_QUANTILES)
    low, high = stated_intervals(arrays, found.names.index("log_g"))[68]
    assert (low < high).all()


def test_pieces_are_joined_in_order_with_all_they_hold(world, stars, monkeypatch):
    source = world.source("train", 1, 300)
    model, told = Ridge(["log_g"]).fit(source, world.source("validation", 1, 60)), []
    whole = model.predict(stars.flux, stars.sigma)
    monkeypatch.setattr(job, "PIECE", 3)
    found = job.predict(model, stars, lambda done, total: told.append((done, total)))
    assert told == [(3, 7), (6, 7), (7, 7)]
    np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-9)
    assert found.to_arrays().keys() == whole.to_arrays().keys()
