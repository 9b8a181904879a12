"""Libraries of other labels than the built-in one's go through survey, training and ceiling to the report."""

import json

import numpy as np
import pytest
import torch

from small_surveys import settings
from specvit.cli import main
from specvit.jobs import run_survey
from specvit.jobs.stages.examples import kinds_of_star
from specvit.library import CoveredCells, Emulator
from specvit.library.regressor import CoefficientNetwork
from specvit.spectra import LabelSpace
from specvit.spectra.resample import smooth

THREE = LabelSpace(("teff", "log_g", "m_h"), ("K", "dex", "dex"), (4000.0, 1.0, -2.0), (6000.0, 5.0, 0.0))
OWN = LabelSpace(("temperature", "g"), ("K", "dex"), (4000.0, 1.0), (6000.0, 5.0))
EIGHT = LabelSpace(
    tuple(f"own_{k}" for k in range(8)),
    ("dex",) * 8,
    tuple(map(float, range(8))),
    tuple(float(k + 2) for k in range(8)),
)
ONE = LabelSpace(("log_g",), ("dex",), (1.0,), (5.0,))


def made_emulator(space, folder, coverage=None):
    """An emulator that nobody fitted: the built-in basis with a smooth random map of these labels in front."""
    built = Emulator.builtin()
    torch.manual_seed(len(space))
    regressor = CoefficientNetwork(space, 10, 8, 1, "chemical" if "teff" in space.names else "labels")
    low, high = torch.tensor(space.low), torch.tensor(space.high)
    labels = torch.lerp(low, high, torch.rand(200, len(space)))
    regressor.standardise(labels, torch.randn(200, 10))
    path = folder / f"{len(space)}.safetensors"
    emulator = Emulator(
        regressor, built.mean, 3 * built.basis[:10], built.grid, built.resolution, space, coverage=coverage
    )
    emulator.save(path)
    return path


@pytest.mark.parametrize(
    ("space", "target"), [(THREE, "log_g"), (OWN, "g"), (EIGHT, "own_3"), (ONE, "log_g")]
)
def test_a_survey_of_any_labels_reaches_its_report(tmp_path, space, target):
    path = made_emulator(space, tmp_path)
    smaller = ("simulate.train=200", "simulate.validation=60", "simulate.test=60", "limits.bayes_stars=8")
    names = 'models.names=["ridge", "lightgbm", "template"]'
    run = run_survey(
        settings(tmp_path / "runs", f"library.name={path}", f'models.labels=["{target}"]', names, *smaller)
    )
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["target"] == target
    assert (run.path / "arrays" / "examples.npz").is_file()
    assert main(["report", str(run.path)]) == 0
    assert (run.path / "report.html").is_file()


def test_kinds_of_stars_by_the_labels_there_are():
    columns, kinds, tolerance = kinds_of_star(THREE)
    assert (columns, kinds.shape, tolerance.shape) == ([0, 1, 2], (4, 3), (3,))
    columns, kinds, _ = kinds_of_star(OWN)
    assert columns == [0, 1]
    torch.testing.assert_close(kinds[0], torch.tensor([4200.0, 1.4]))


CEILING = ["ceiling", "--instrument", "gaia_rvs", "--mag", "12", "--stars", "prior", "--count", "5", "--json"]


def test_ceilings_free_any_labels(tmp_path, capsys):
    eight = made_emulator(EIGHT, tmp_path)

    def free(*arguments):
        code = main([*CEILING, *arguments])
        shown = capsys.readouterr()
        return json.loads(shown.out)["free_labels"] if code == 0 else shown.err

    assert free("--free", "log_g,teff,m_h") == ["log_g", "teff", "m_h"]
    assert free("--free", "log_g") == ["log_g"]
    assert free() == ["teff", "log_g", "m_h", "alpha_m", "c_m"]
    assert free("--library", str(eight), "--label", "own_2") == list(EIGHT.names)
    assert free("--library", str(eight), "--label", "own_2", "--free", "own_2,own_7") == ["own_2", "own_7"]
    for arguments, message in (
        (("--free", "log_g,feh"), "--free feh: not a label of the library; choose from teff"),
        (("--free", "teff"), "'log_g' is not among the free labels teff; add it to --free"),
        (("--free", "log_g,log_g"), "names a label twice"),
        (("--free", "log_g", "--labels", "3"), "give one of them"),
        (("--label", "feh"), "--label feh: not a label"),
        (("--library", str(eight), "--label", "own_2", "--stars", "nodes"), "or give --stars prior"),
    ):
        assert message in free(*arguments)


def test_more_free_labels_never_lower_the_error(capsys):
    sigma = []
    for names in ("log_g", "log_g,teff", "log_g,teff,m_h"):
        assert main([*CEILING, "--free", names]) == 0
        sigma.append(json.loads(capsys.readouterr().out)["rows"][0]["sigma_median"])
    assert sigma[0] < sigma[1] < sigma[2]


def test_a_survey_over_a_library_with_a_hole_draws_no_star_from_it(tmp_path):
    filled = np.ones((2, 2, 2), dtype=bool)
    filled[0, 1] = False
    edges = tuple(np.linspace(a, b, 3) for a, b in zip(THREE.low, THREE.high, strict=True))
    path = made_emulator(THREE, tmp_path, CoveredCells(edges, filled))
    lines = []

    class Watch:
        def task(self, name):
            from contextlib import nullcontext

            return nullcontext(lambda done, total, text="": None)

        def say(self, line):
            lines.append(line)

        warn = say

    smaller = ("simulate.train=200", "simulate.validation=60", "simulate.test=60", "limits.bayes_stars=8")
    run = run_survey(
        settings(tmp_path / "runs", f"library.name={path}", 'models.names=["ridge"]', *smaller), watch=Watch()
    )
    assert any("no stars are drawn from 25.0% of the box" in line for line in lines)
    with np.load(next(run.path.glob("arrays/test*.npz"))) as table:
        labels = table["labels"]
    assert not ((labels[:, 0] < 5000) & (labels[:, 1] > 3)).any()


@pytest.mark.parametrize("space", [THREE, OWN, EIGHT, ONE], ids=lambda space: f"{len(space)} labels")
def test_predict_finds_a_star_by_any_labels(tmp_path, capsys, space):
    path = made_emulator(space, tmp_path)
    emulator = Emulator.load(path)
    labels = torch.tensor([[0.6 * low + 0.4 * high for low, high in zip(space.low, space.high, strict=True)]])
    seen = smooth(emulator(labels)[0].numpy(), emulator.grid, emulator.resolution, 8000.0)
    wavelength = np.arange(8400.0, 8800.0, 0.3)
    flux = np.interp(wavelength, emulator.grid.wavelength, seen)
    flux *= 1 + 0.003 * np.random.default_rng(0).standard_normal(flux.size)
    star = tmp_path / "star.csv"
    columns = np.column_stack([wavelength, flux, 0.003 * flux])
    np.savetxt(star, columns, delimiter=",", header="wavelength,flux,sigma", comments="")
    command = ["predict", str(star), "--library", str(path), "--resolution", "8000", "--medium", "vacuum"]
    assert main([*command, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["stars"]
    for name, truth, low, high in zip(space.names, labels[0].tolist(), space.low, space.high, strict=True):
        assert abs(found[name] - truth) < 4 * found[f"{name}_err"] + 0.02 * (high - low), name
    assert found["covariance"]["labels"] == list(space.names)
    assert main([*command, "--out", str(tmp_path / "stars.csv")]) == 0
    heading = (tmp_path / "stars.csv").read_text().splitlines()[0].split(",")
    assert {f"{name}{part}" for name in space.names for part in ("", "_err")} <= set(heading)
