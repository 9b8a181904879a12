"""`specvit explain`: files, table, JSON, and one line for what cannot be meant."""

import csv
import io
import json

import numpy as np
import pytest

from explained_network import small_estimator
from specvit.cli import main
from specvit.explain import gradients
from specvit.models import Bundle, Origin, save_bundle
from specvit.report import style

FEW = ["--stars", "6"]


@pytest.fixture(scope="module")
def model(simulator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "vit-tiny"
    small_estimator(simulator).save(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def _few_points(monkeypatch):
    monkeypatch.setattr(gradients, "STEPS", 8)


@pytest.fixture
def no_figure(monkeypatch):
    monkeypatch.setattr(style, "save_figure", lambda figure, folder, name: [])


def test_explain_writes_arrays_table_and_figure_and_prints_the_table(model, tmp_path, capsys):
    out = tmp_path / "explained"
    assert main(["explain", model, "--out", str(out), *FEW]) == 0
    shown = capsys.readouterr().out
    assert "Ca II" in shown
    assert "likeness" in shown
    assert "What vit-tiny looks at for log g, 6 test spectra" in shown
    names = sorted(path.name for path in out.iterdir())
    assert names == [f"explain.{kind}" for kind in ("csv", "npz", "pdf", "png", "tex")]
    with np.load(out / "explain.npz") as arrays:
        assert arrays["density"].shape[0] == 5
    rows = list(csv.DictReader(io.StringIO((out / "explain.csv").read_text())))
    calcium = next(row for row in rows if (row["stars"], row["lines"]) == ("all stars", "Ca II"))
    value, low, high = (float(calcium[f"Fisher [%]{end}"]) for end in ("", " low", " high"))
    assert low < value < high
    assert 3 < value < 60


def test_json_carries_the_table_and_another_label_can_be_asked_for(model, tmp_path, capsys, no_figure):
    assert main(["explain", model, "--label", "teff", "--out", str(tmp_path), "--json", *FEW]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["model"], facts["label"], facts["stars"]) == ("vit-tiny", "teff", 6)
    assert len(facts["rows"]) % 9 == 0
    assert {"value", "low", "high"} == set(facts["rows"][0][3])
    assert len(facts["files"]) == 3


def test_a_model_without_attention_says_so_and_is_explained_without(simulator, tmp_path, capsys, no_figure):
    small_estimator(simulator, "subspace").save(tmp_path / "subspace")
    assert main(["explain", str(tmp_path / "subspace"), "--out", str(tmp_path / "o"), *FEW]) == 0
    captured = capsys.readouterr()
    assert "subspace-tiny: no attention over the whole spectrum" in " ".join(captured.err.split())
    assert "rollout" not in captured.out


def fails(capsys, *arguments):
    code = main(["explain", *arguments])
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return code, error


def test_wrong_requests_fail_in_one_line_and_write_nothing(model, simulator, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, error = fails(capsys, model, "--label", "m_h")
    assert (code, "known labels are log_g, teff" in error) == (2, True)
    assert fails(capsys, model, "--stars", "1")[0] == 2
    assert fails(capsys, str(tmp_path / "nothing"))[0] == 1
    code, error = fails(capsys, model, "--instrument", "gaia_rvs", *FEW)
    assert (code, "expected 4096 pixels" in error) == (1, True)
    origin = Origin(simulator.grid, simulator.prior.label_space)
    save_bundle(Bundle("ridge", origin, {}), tmp_path / "ridge")
    assert "holds a 'ridge' estimator, expected 'network'" in fails(capsys, str(tmp_path / "ridge"))[1]
    assert [path.name for path in tmp_path.iterdir()] == ["ridge"]
