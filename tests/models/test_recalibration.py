"""`tools/build_pretrained.py --recalibrate`: errors anew, everything else of a shipped network as it was."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from specvit.errors import DataError
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.pretrained import FOLDER, load_pretrained

TOOL = Path(__file__).resolve().parents[2] / "tools" / "build_pretrained.py"


@pytest.fixture
def tool(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TOOL.parent)
    spec = importlib.util.spec_from_file_location("build_pretrained", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in {"FOLDER": tmp_path, "CALIBRATION": 500, "TEST": 200}.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_only_errors_and_scores_are_made_anew(tool):
    folder = tool.recalibrate("subspace")
    before, after = load_pretrained("subspace"), NetworkEstimator.load(folder)
    for name, value in before.network.state_dict().items():
        same = torch.equal(value, after.network.state_dict()[name])
        assert same != (".calibration." in name), name
    then, now = (json.loads((path / "manifest.json").read_text()) for path in (FOLDER / "subspace", folder))
    # Another processor rounds differently.
    found, expected = (each["settings"]["fingerprint"] for each in (now, then))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert now["training"] == {**then["training"], "calibration_spectra": 500}
    assert now["settings"]["metrics"] != then["settings"]["metrics"]
    assert "spectra that corrected its errors: 500" in (folder / "card.md").read_text()


def test_a_network_of_another_world_is_refused(tool, monkeypatch):
    estimator = load_pretrained("subspace")
    estimator.origin.training.train["emulator"] = "0"
    monkeypatch.setattr(tool, "load_pretrained", lambda name: estimator)
    with pytest.raises(DataError, match=r"trained with emulator 0.*train it again"):
        tool.recalibrate("subspace")
