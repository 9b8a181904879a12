"""Probes: what a layer knows is read off, what it does not know is not; controls and the saved form."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from damage import copied, damaged_arrays, damaged_documents, refusal, reseal
from specvit.errors import ConfigError, WavelengthRangeError
from specvit.estimators import TABLE, load_estimator, network_config
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.probe import Probe
from specvit.models import Origin, build_network
from specvit.models.manifest import TENSORS
from specvit.models.readouts import Rows, fit_readout
from specvit.spectra import MemorySource, Truth, WavelengthGrid
from training_stars import GRID, SPACE, stars


def source(count, seed):
    return MemorySource(stars(count, seed), GRID, SPACE)


TRAIN, HELD, TEST = source(500, 1), source(200, 2), stars(300, 3)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A saved network whose first layer sees the first line alone: its layers know log g, and no temperature."""
    torch.manual_seed(0)
    config = network_config("vit").with_options(
        {"patch": 8, "width": 16, "depth": 1, "heads": 2, "readout": 0}
    )
    network = build_network(config, GRID, SPACE.select(["log_g"]))
    network.front.fit(TEST.flux, TEST.sigma)
    network.front.scale[32:] = 1e9
    place = tmp_path_factory.mktemp("saved") / "network"
    NetworkEstimator("half-blind").adopt(network, Origin(GRID, SPACE)).save(place)
    return str(place)


def r2(probe):
    found = probe.predict(TEST.flux, TEST.sigma).mean
    truth = TEST.labels[:, [SPACE.index(name) for name in probe.names]].double()
    return dict(zip(probe.names, (1 - (found - truth).square().mean(0) / truth.var(0)).tolist(), strict=True))


@pytest.mark.parametrize("readout", ["ridge", "lightgbm", "mlp"])
def test_what_a_layer_knows_is_read_off_and_nothing_else(network, readout):
    probe = Probe(network=network, layer="tokens", pool="segments:8", readout=readout).fit(TRAIN, HELD)
    found = r2(probe)
    assert found["log_g"] > 0.85
    # The level is the median of all pixels: a trace of the second line is in it.
    assert found["teff"] < 0.3
    assert set(probe.choice) == {"log_g", "teff"}


def test_pooling_decides_what_is_left(network):
    whole = r2(Probe(network=network, layer="tokens", pool="segments:8").fit(TRAIN, HELD))
    mean = r2(Probe(network=network, layer="level", pool="mean").fit(TRAIN, HELD))
    assert whole["log_g"] > mean["log_g"] + 0.5


def test_controls_know_what_they_should(network):
    options = {"network": network, "layer": "tokens", "pool": "segments:8"}
    labels = ["log_g"]
    shuffled = r2(Probe(labels, control="shuffled-labels", **options).fit(TRAIN, HELD))
    # Three standard errors of R² of nothing, of 300 stars.
    assert abs(shuffled["log_g"]) < 3 * 2 / np.sqrt(300)
    drawn = Probe(labels, control="random-weights", seed=5, **options).fit(TRAIN, HELD)
    saved = NetworkEstimator.load(Path(network)).network
    assert torch.equal(drawn.network.network.front.centre, saved.front.centre)
    assert not torch.equal(drawn.network.network.body.head.linear.weight, saved.body.head.linear.weight)
    # This one had not been trained either: its tokens know as much.
    assert r2(drawn)["log_g"] > 0.85


def test_the_start_of_a_training_is_no_random_network(network):
    """A network of local patches begins with matched filters, which takes spectra whose noise-free flux is known."""
    options = {"network": network, "layer": "tokens", "pool": "segments:8", "seed": 5}
    with pytest.raises(ConfigError, match="noise-free flux is known"):
        Probe(["log_g"], control="start", **options).fit(TRAIN, HELD)
    clean = Truth(stars(500, 1, noise=1e-6).flux, TRAIN.batch.sigma, torch.ones(500))
    known = MemorySource(replace(TRAIN.batch, truth=clean), GRID, SPACE)
    begun, drawn = (
        Probe(["log_g"], control=control, **options).fit(known, HELD).network.network
        for control in ("start", "random-weights")
    )
    same = {
        name: torch.equal(a, b)
        for (name, a), b in zip(begun.state_dict().items(), drawn.state_dict().values(), strict=True)
    }
    assert {name.split(".")[2] for name, equal in same.items() if not equal} == {"tokenisers"}


def test_noise_that_tells_the_star_is_found_out(network):
    """The sigma of these stars is one number, which over the median flux is a function of the lines."""
    options = {"network": network, "layer": "level", "control": "noise-only"}
    assert r2(Probe(["log_g"], **options).fit(TRAIN, HELD))["log_g"] > 0.1
    honest = []
    for one in (TRAIN.batch, HELD.batch, TEST):
        level = one.flux.median(dim=1, keepdim=True).values
        honest.append(replace(one, sigma=0.02 * level.expand_as(one.flux)))
    train, held = (MemorySource(one, GRID, SPACE) for one in honest[:2])
    probe = Probe(["log_g"], **options).fit(train, held)
    found = probe.predict(honest[2].flux, honest[2].sigma).mean
    assert float(found.std()) < 0.05


def test_a_probe_knows_labels_that_its_network_does_not_estimate(network):
    assert r2(Probe(["teff"], network=network, layer="features").fit(TRAIN, HELD)).keys() == {"teff"}


@pytest.mark.parametrize("readout", ["ridge", "lightgbm", "mlp"])
def test_a_saved_probe_says_the_same(network, tmp_path, readout):
    probe = Probe(network=network, layer="block1", pool="mean+max", readout=readout).fit(TRAIN, HELD)
    probe.save(tmp_path / "p")
    other = load_estimator(tmp_path / "p")
    said, again = (one.predict(TEST.flux, TEST.sigma) for one in (probe, other))
    torch.testing.assert_close(said.mean, again.mean)
    torch.testing.assert_close(said.std, again.std)
    assert other.choice == probe.choice


@pytest.mark.slow
def test_damage_is_refused(network, tmp_path):
    Probe(["log_g"], network=network, layer="block1").fit(TRAIN, HELD).save(tmp_path / "p")
    manifest = copied(tmp_path / "p", tmp_path / "m")
    for done, arrays in damaged_arrays(load_file(tmp_path / "p" / TENSORS), texts=False):
        save_file({key: np.ascontiguousarray(values) for key, values in arrays.items()}, tmp_path / "t")
        reseal(tmp_path / "m", manifest, {TENSORS: (tmp_path / "t").read_bytes()})
        assert refusal(lambda: load_estimator(tmp_path / "m")), done
    manifest.pop("sha256")
    untold = []
    for done, changed in damaged_documents(manifest):
        if "settings.options" in done or "settings.inputs" in done or "settings.readout" in done:
            reseal(tmp_path / "m", changed, {})
            if not refusal(lambda: load_estimator(tmp_path / "m")) and "network" not in done:
                untold.append(done)
    # Other poolings of a layer have other numbers of inputs; which control it was changes no estimate of these.
    assert [done for done in untold if "readout.alpha" not in done and "control" not in done] == []


def test_what_cannot_be_is_refused_before_a_fit(network):
    check = TABLE["probe"].check
    with pytest.raises(ConfigError, match="pool"):
        check({"pool": "median"})
    with pytest.raises(ConfigError, match="did you mean 'layer'"):
        check({"layr": "tokens"})
    with pytest.raises(ConfigError, match="tokens"):
        check({"pool": "tokens"})
    with pytest.raises(ConfigError, match=r"block9.*choose .*block1"):
        Probe(network=network, layer="block9").fit(TRAIN, HELD)
    elsewhere = MemorySource(stars(50), WavelengthGrid.linear(8001, 1.0, 64), SPACE)
    with pytest.raises(WavelengthRangeError):
        Probe(network=network).fit(elsewhere, elsewhere)


def test_held_out_rows_choose_the_penalty_and_the_depth():
    generator = torch.Generator().manual_seed(0)

    def rows(count, noise):
        x = torch.randn(count, 30, generator=generator)
        y = x[:, :1] + noise * torch.randn(count, 1, generator=generator)
        return Rows(x, y.double())

    loud = fit_readout("ridge", rows(60, 3.0), rows(1000, 3.0)).choice["alpha"][0]
    quiet = fit_readout("ridge", rows(60, 0.01), rows(1000, 0.01)).choice["alpha"][0]
    assert loud > 100 * quiet
    bent = rows(200, 0.0)
    bent = Rows(bent.values[:, :2], (bent.values[:, :1] * bent.values[:, 1:2]).double())
    assert fit_readout("mlp", bent, bent).choice["depth"] in (1, 2, 3)
