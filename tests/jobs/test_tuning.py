"""`specvit finetune`: ways to train further beside anew, other pixels, and what a label is worth."""

import json

import numpy as np
import pytest
import torch

from specvit.cli import main
from specvit.errors import ConfigError, WavelengthRangeError
from specvit.estimators import NetworkEstimator, network_config
from specvit.jobs.regridded import Regridded
from specvit.jobs.tuning import TunePlan, fine_tune, labels_saved
from specvit.library import Emulator
from specvit.models import Origin, build_network
from specvit.runs import Score
from specvit.runs.learning_record import LearningRow
from specvit.simulate import World
from specvit.spectra import LOW_T_BOX, MemorySource, SpectraBatch, SpectraSource, WavelengthGrid
from training_stars import SPACE, stars

SMALL = World(instrument="gaia_rvs")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    simulator = SMALL.build()
    sample = simulator.source("train", 3, 100, truth=True).draw(0, 100)
    torch.manual_seed(0)
    config = network_config("mlp").with_options({"width": 16, "depth": 1, "head": "gaussian"})
    built = build_network(config, simulator.grid, LOW_T_BOX)
    built.front.fit(sample.flux, sample.sigma)
    folder = tmp_path_factory.mktemp("network") / "tiny"
    NetworkEstimator("tiny").adopt(built, Origin(simulator.grid, LOW_T_BOX)).save(folder)
    return folder


def test_every_way_is_trained_as_it_says(network, tmp_path):
    plan = TunePlan(
        (20, 40), labels=("teff",), updates=4, batch=16, seeds=1, test=40, posteriors=0, validation=40
    )
    model = NetworkEstimator.load(network)
    record = fine_tune(model, str(network), SMALL, plan, tmp_path)
    assert [(row.how, row.spectra) for row in record.rows] == [
        ("as it was", 0),
        *((how, count) for count in (20, 40) for how in ("scratch", "frozen", "last", "all")),
    ]
    trained = [NetworkEstimator.load(path) for path in (tmp_path / "models").iterdir()]
    recipes = [one.origin.training.recipe for one in trained]
    first = model.network.body.backbone.layers[0].weight[
        :, :-1
    ]  # the last column reads the noise level, anew
    for one, recipe in zip(trained, recipes, strict=True):
        same = torch.equal(one.network.body.backbone.layers[0].weight[:, :-1], first)
        assert same == (recipe.get("frozen", "none") != "none")
        begun = recipe["start"] == str(network)
        assert begun == (one.origin.training.start == model.described)
    assert sorted(r.get("layer_decay", 1.0) for r in recipes) == [0.7, 0.7] + [1.0] * 6
    assert record.saved.keys() == {"frozen", "last", "all"}


def test_other_pixels_are_interpolated_and_what_is_not_there_is_dead():
    have = WavelengthGrid.linear(8000, 1.0, 64)
    batch = stars(3)
    ramp = torch.linspace(1, 2, 64).expand(3, -1).contiguous()
    dead = batch.sigma.clone()
    dead[1, 10] = torch.inf
    source = MemorySource(SpectraBatch(ramp, dead, batch.labels, {}, batch.snr), have, SPACE)
    want = WavelengthGrid.linear(8000.25, 0.5, 160)
    moved = Regridded(source, want)
    assert isinstance(moved, SpectraSource)
    found = moved.draw(0, 3)
    inside = want.wavelength <= 8063
    expected = 1 + (want.wavelength[inside] - 8000) / 63
    np.testing.assert_allclose(found.flux[0, inside], expected, rtol=1e-5)
    assert bool(torch.isinf(found.sigma[:, ~torch.from_numpy(inside)]).all())
    near = np.abs(want.wavelength - 8010) < 1
    assert torch.isinf(found.sigma[1]).numpy()[near].all()
    assert not torch.isinf(found.sigma[0]).numpy()[near].any()
    assert bool(found.flux.isfinite().all())
    assert moved.provenance["identity"] != source.provenance["identity"]
    with pytest.raises(WavelengthRangeError, match="overlaps"):
        Regridded(source, WavelengthGrid.linear(8060, 1.0, 64))


def row(how, spectra, r2):
    score = Score(value=r2)
    return LearningRow(
        name="n", how=how, spectra=spectra, seeds=1, updates=1, parameters=1, flops=1, speed=1, label="log_g",
        r2=score, share=None, ratio=None,
    )  # fmt: skip


def test_labels_saved_are_read_off_the_curve_from_scratch():
    curve = [row("scratch", 100, 0.2), row("scratch", 1000, 0.4), row("scratch", 10000, 0.5)]
    rows = [
        *curve,
        row("all", 100, 0.4),
        row("all", 1000, 0.45),
        row("last", 100, 0.6),
        row("last", 1000, 0.1),
    ]
    found = labels_saved(rows, ["log_g"])
    assert found["all"]["log_g"][100] == pytest.approx(10)
    # Half way between 1000 and 10000 in the logarithm.
    assert found["all"]["log_g"][1000] == pytest.approx(10**0.5)
    assert found["last"]["log_g"] == {100: None, 1000: None}


def test_the_command_refuses_in_a_line_and_writes_its_files(network, tmp_path, capsys):
    command = [
        "finetune",
        str(network),
        "--set",
        "widening=none",
        "--instrument",
        "gaia_rvs",
        "--spectra",
        "20",
    ]
    sizes = [
        "--updates",
        "2",
        "--batch",
        "8",
        "--seeds",
        "1",
        "--test",
        "40",
        "--posteriors",
        "0",
        "--labels",
        "teff",
        "--modes",
        "all",
    ]
    assert main([*command, *sizes, "--out", str(tmp_path / "f"), "--json"]) == 0
    assert [r["how"] for r in json.loads(capsys.readouterr().out)["rows"]] == ["as it was", "all"]
    assert {p.name for p in (tmp_path / "f").iterdir()} >= {
        "finetune.json",
        "finetune.csv",
        "labels-teff.png",
    }
    for wrong, told in {
        "--spectra 5": "rising",
        "--modes al": "scratch, frozen",
        "--labels tef": "teff",
    }.items():
        assert main([*command, *sizes, *wrong.split()]) == 2
        assert told in capsys.readouterr().err


def test_other_bounds_are_refused_with_what_differs(network, tmp_path):
    other = World(instrument="gaia_rvs", bounds={"log_g": (4.0, 5.0)})
    plan = TunePlan((20,), ("all",), ("teff",), 2, 8, seeds=1, test=40, posteriors=0, validation=40)
    with pytest.raises(ConfigError, match="same labels and bounds"):
        fine_tune(NetworkEstimator.load(network), str(network), other, plan, tmp_path)


def test_stars_may_be_of_another_library_prior_and_spectrograph(network, tmp_path):
    """What a network says of them as it was shows that they are others; training goes on with them."""
    other = Emulator.builtin()
    with torch.no_grad():
        # Deeper lines, as of another line list.
        other.mean.copy_(1 - 1.5 * (1 - other.mean))
    other.save(tmp_path / "other.h5")
    plan = TunePlan((24,), ("all",), ("teff",), 3, 8, seeds=1, test=40, posteriors=0, validation=40)
    model, scores = NetworkEstimator.load(network), {}
    for name, changes in {
        "as it was trained": {},
        "library": {"library": str(tmp_path / "other.h5")},
        "prior": {"prior": "lattice"},
        "spectrograph": {"instrument": "desi_z"},
    }.items():
        world = World(**{"instrument": "gaia_rvs", **changes})
        record = fine_tune(model, str(network), world, plan, tmp_path / name)
        assert [row.how for row in record.rows] == ["as it was", "all"]
        scores[name] = record.rows[0].r2.value
        tuned = NetworkEstimator.load(next((tmp_path / name / "models").iterdir()))
        assert tuned.grid.fingerprint == model.grid.fingerprint
    assert len(set(scores.values())) == 4
