"""Saved networks whose checksums are right and whose content is not: one line, whatever was changed."""

import re

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from damage import copied, damaged_arrays, damaged_documents, refusal, reseal
from specvit.errors import DataError
from specvit.estimators import network_config
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.models.manifest import TENSORS
from specvit.models.network import build_network
from specvit.models.origin import Origin, TrainingRecord
from specvit.models.refinement import Refinement, RefinementConfig
from specvit.spectra import LOW_T_BOX, WavelengthGrid

GRID = WavelengthGrid.linear(8470, 1.0, 64)
SPACE = LOW_T_BOX.select(["log_g", "teff"])
OPTIONS = {
    "vit": {"patch": 16, "width": 8, "depth": 1, "heads": 2, "position": "learned+rope", "windows": True},
    "swin": {"patch": 8, "window": 4, "width": 8, "stages": 2, "blocks": 1},
    "cnn": {"width": 4, "stages": 2, "segments": 4},
    "subspace": {"width": 8, "depth": 1, "components": 3, "patterns": 2, "head": "gaussian"},
}
REFINEMENT = RefinementConfig(snr=5.0, components=3, patterns=2, width=8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    rng = np.random.default_rng(0)
    sigma = torch.full((20, 64), 0.1)
    flux = 1 + sigma * torch.from_numpy(rng.standard_normal((20, 64)).astype(np.float32))
    for model, options in OPTIONS.items():
        torch.manual_seed(0)
        network = build_network(network_config(model).with_options(options), GRID, SPACE)
        network.front.fit(*((flux,) if model == "subspace" else ()), flux, sigma)
        if model == "vit":
            network.refinement = Refinement(REFINEMENT, GRID.size, len(SPACE))
            network.refinement.front.fit(flux, flux, sigma)
        training = TrainingRecord(
            train_spectra=20, recipe={"lr": 0.1}, train={"world": {"library": "builtin"}}
        )
        NetworkEstimator(model).adopt(network, Origin(GRID, LOW_T_BOX, training)).save(root / model)
    return root


def refused(folder):
    """Return whether a saved network is refused in one line that names its folder."""
    message = refusal(lambda: NetworkEstimator.load(folder))
    assert str(folder) in message or not message
    return bool(message)


#: Facts for people, and what changes no estimate or has a default that is what was stored.
MEANT = re.compile(
    r"training\.|specvit_version|grid\.description|label_space\.units|settings\.(name|normalisation|metrics)|settings\.by_true_label deleted|"
    r"settings\.network\.((backbone|front)\.\w+|experts|peak) deleted|label_space\.(names|high)\.4 =|files\.card\.md deleted"
)
OTHERS = (None, -1, 10**12, float("nan"), "seven", {"a": 1})
WRONG = re.compile(r"deleted|= (nan|seven|\{'a': 1\}|\[1\]|1000000000000)$")


@pytest.mark.parametrize("model", ["vit", "cnn"])
def test_every_entry_of_a_manifest_is_checked(saved, tmp_path, model):
    manifest = copied(saved / model, tmp_path / "m")
    manifest.pop("sha256")
    parts = list(manifest) if model == "vit" else ["settings"]
    taken = []
    for done, changed in damaged_documents({name: manifest[name] for name in parts}, OTHERS):
        reseal(tmp_path / "m", {**{k: v for k, v in manifest.items() if k not in parts}, **changed}, {})
        if not refused(tmp_path / "m"):
            taken.append(done)
    assert [done for done in taken if WRONG.search(done) and not MEANT.match(done)] == []


@pytest.mark.parametrize("model", ["vit", "subspace"])
def test_every_kind_of_tensor_is_checked(saved, tmp_path, model):
    manifest, whole = copied(saved / model, tmp_path / "m"), load_file(saved / model / TENSORS)
    # One of every five: all go through the same lines, and the wavelengths through others.
    chosen = {"wavelength", *sorted(whole)[::5]}
    for done, arrays in damaged_arrays(whole, texts=False, names=chosen):
        save_file({key: np.ascontiguousarray(values) for key, values in arrays.items()}, tmp_path / "t")
        reseal(tmp_path / "m", manifest, {TENSORS: (tmp_path / "t").read_bytes()})
        assert refused(tmp_path / "m"), done


@pytest.mark.parametrize("low", [0.5, 1.5])
def test_a_label_space_that_contradicts_the_weights_is_refused(saved, tmp_path, low):
    manifest = copied(saved / "vit", tmp_path / "m")
    manifest["label_space"]["low"][1] = low
    manifest["settings"]["labels"]["low"][0] = low
    reseal(tmp_path / "m", manifest, {})
    with pytest.raises(DataError, match="labels are not those"):
        NetworkEstimator.load(tmp_path / "m")


@pytest.mark.parametrize("huge", [{"width": 60_000}, {"depth": 400}, {"readout": 2, "readout_width": 59_999}])
def test_no_memory_is_asked_for_what_the_file_does_not_hold(saved, tmp_path, huge):
    manifest = copied(saved / "vit", tmp_path / "m")
    manifest["settings"]["network"]["backbone"] |= huge
    reseal(tmp_path / "m", manifest, {})
    with pytest.raises(DataError, match=r"no tensor|has shape|expected 0 to"):
        NetworkEstimator.load(tmp_path / "m")


def test_a_network_moved_elsewhere_gives_the_same_estimates(saved, tmp_path):
    copied(saved / "cnn", tmp_path / "elsewhere")
    flux, sigma = torch.ones(2, 64), torch.full((2, 64), 0.1)
    before = NetworkEstimator.load(saved / "cnn").predict(flux, sigma).mean
    assert torch.equal(NetworkEstimator.load(tmp_path / "elsewhere").predict(flux, sigma).mean, before)
