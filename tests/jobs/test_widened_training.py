"""Which spectra of a training are widened: those it learns from, those that correct its errors, those a loss chooses on."""

from pathlib import Path

import pytest
import torch

from specvit.errors import ConfigError
from specvit.estimators import NetworkEstimator, network_fitter
from specvit.jobs import run_training
from specvit.jobs.config.training import training_config
from specvit.jobs.training import open_sources, training_identity
from specvit.runs import read_summary
from specvit.simulate import NOISE_FACTOR, Widening


def training(folder: Path, options=None, **stars):
    return training_config(
        {
            "instrument": {"name": "gaia_rvs"},
            "simulate": {"train": 0, "validation": 64, "test": 90, "seed": 3, **stars},
            "network": {
                "model": "mlp",
                "device": "cpu",
                "options": {
                    "steps": 4,
                    "width": 16,
                    "depth": 1,
                    "batch": 32,
                    "validations": 2,
                    **(options or {}),
                },
            },
            "evaluate": {"bootstrap": 20},
            "run": {"name": "training", "folder": str(folder), "threads": 1},
        }
    )


@pytest.mark.parametrize("count", [0, 100])
def test_only_training_spectra_are_widened(tmp_path, count):
    sources = open_sources(training(tmp_path, train=count, snr=(2.0, 50.0)))
    assert sources.drawn.simulator.widening == Widening(snr=(2.0, 50.0))
    assert float((sources.drawn.draw(0, 64).conditions[NOISE_FACTOR] != 1).float().mean()) > 0.1
    for held_out in (sources.validation, sources.test):
        assert NOISE_FACTOR not in held_out.draw(0, 8).conditions


def test_what_the_loss_chooses_it_chooses_on_spectra_like_those_of_the_training(tmp_path):
    config = training(tmp_path, options={"monitor": "loss"}, snr=(2.0, 50.0))
    sources = open_sources(config)
    assert sources.validation.simulator.widening == Widening(snr=(2.0, 50.0))
    assert sources.validation.split == "validation"
    assert NOISE_FACTOR not in sources.test.draw(0, 8).conditions
    entry = NetworkEstimator.load(run_training(config).path / "models" / "mlp-nano").origin.training
    assert entry.validation["widening"] == {
        "share": 0.5,
        "snr": [2.0, 50.0],
        "noise_factor": [0.1, 2.0],
        "mag": None,
    }
    assert entry.validation_r2 is None


def test_nothing_is_widened_where_nothing_is_asked_for(tmp_path):
    plain, wide = (open_sources(training(tmp_path, widened=share)) for share in (0.0, 0.5))
    assert plain.drawn.simulator.widening is None
    ours, theirs = (sources.validation.draw(0, 8) for sources in (plain, wide))
    assert torch.equal(ours.flux, theirs.flux)
    identities = [
        training_identity(training(tmp_path, widened=share), sources)["spectra"]["train"]
        for share, sources in ((0.0, plain), (0.5, wide))
    ]
    assert identities[0] != identities[1]


def test_errors_are_corrected_where_the_training_was(tmp_path, monkeypatch):
    corrected = []
    whole = network_fitter.calibrate

    def calibrate(network, held_out, *more, **options):
        corrected.append(held_out)
        return whole(network, held_out, 200)

    monkeypatch.setattr(network_fitter, "calibrate", calibrate)
    run = run_training(training(tmp_path))
    assert [source.simulator.widening for source in corrected] == [Widening()]
    assert "mlp-nano" in str(read_summary(run).model)


@pytest.mark.parametrize(
    "wrong",
    [
        {"snr": (10.0, 2.0)},
        {"snr": (0.0, 2.0)},
        {"noise_factor": (2.0, 1.0)},
        {"widened": 1.5},
        {"mag": (20.0, 18.0)},
    ],
)
def test_ranges_that_cannot_be_meant_are_refused(tmp_path, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        training(tmp_path, **wrong)
