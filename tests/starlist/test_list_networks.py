"""A list whose stars networks answer: trained and checked before the first star, trusted alike by whoever works on it."""

import csv

import numpy as np
import pytest
import torch

from specvit.amortised import Agreement, AmortisedFitter, NetworkStore, Setup, TrainingPlan, draws, networks
from specvit.cli import main
from specvit.library import Emulator
from specvit.models import domain
from specvit.spectra.resample import smooth
from specvit.starlist import FitRecipe, StarInput, with_networks
from specvit.starlist.networks import ListNetworks

SETUP = Setup(8350.0, 8850.0, (1.0, 1.0), (3.0, 3.0), (), False)


@pytest.fixture
def cheap(monkeypatch, tmp_path):
    """Networks of little worth, in a cache of their own."""
    monkeypatch.setenv("SPECVIT_CACHE", str(tmp_path / "cache"))
    for module, name, count in (
        (networks, "VALIDATION", 64),
        (networks, "SHOWN", 256),
        (draws, "RESERVE", 256),
        (domain, "HELD_OUT", 600),
    ):
        monkeypatch.setattr(module, name, count)


@pytest.fixture
def stars(tmp_path):
    """Nine stars at S/N 60 on 1.6 Å pixels about the Ca II triplet."""
    folder, emulator = tmp_path / "stars", Emulator.builtin()
    folder.mkdir()
    wavelength, rng = np.arange(8420.0, 8760.0, 1.6), np.random.default_rng(2)
    labels = [[4200 + 180 * k, 1.6 + 0.35 * k, -0.9 + 0.1 * k, 0.1, 0.0] for k in range(9)]
    flux = emulator(torch.tensor(labels)).double().numpy()
    blurred = smooth(flux, emulator.grid, emulator.resolution, 8590 / 4.8)
    for number, one in enumerate(blurred):
        seen = np.interp(wavelength, emulator.grid.wavelength, one)
        sigma = np.full(seen.size, np.median(seen) / 60)
        table = np.stack([wavelength, seen + sigma * rng.standard_normal(seen.size), sigma], 1)
        np.savetxt(folder / f"star{number}.txt", table)
    return folder


def test_a_command_says_what_it_trains_and_checks_and_does_it_once(
    cheap, stars, tmp_path, capsys, monkeypatch
):
    table = tmp_path / "stars.csv"
    words = ["predict", str(stars), "--medium", "vacuum", "--method", "network", "--updates", "30"]
    assert main([*words, "--out", str(table)]) == 0
    told = capsys.readouterr().err
    assert "minutes on two cores" in told
    assert "network against fit on" in told
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 9
    assert {row["method"] for row in rows} <= {"subspace-nano", "template"}
    assert {row["network"] for row in rows} == {"subspace-nano, 30 updates"}
    monkeypatch.setattr(NetworkStore, "_train", lambda *_: pytest.fail("trained again"))
    assert main([*words, "--out", str(table)]) == 0
    assert "minutes" not in capsys.readouterr().err


def test_the_fit_is_the_method_unless_another_is_asked_for(stars, capsys):
    assert main(["predict", str(stars / "star0.txt"), "--method", "guess"]) == 2
    assert "expected template, network or amortised" in capsys.readouterr().err
    words = ["--method", "amortised", "--prior", "teff=5000+-50"]
    assert main(["predict", str(stars / "star0.txt"), *words]) == 2
    assert "--method template" in capsys.readouterr().err


def test_results_depend_on_whether_network_and_fit_agree_not_on_how_well(monkeypatch):
    found = {SETUP: Agreement(24, {"log_g": 0.6}, {"log_g": 0.0}, {"log_g": 0.1})}
    monkeypatch.setattr(AmortisedFitter, "check", lambda self, spectra: found)
    plan, said = TrainingPlan(), []

    def digest(plan=plan):
        return with_networks(FitRecipe(), plan, [StarInput("none.txt")], said.append).digest

    first = digest()
    assert first != FitRecipe().digest
    found[SETUP] = Agreement(23, {"log_g": 0.7}, {"log_g": 0.1}, {"log_g": 0.2})
    assert digest() == first
    assert digest(TrainingPlan(updates=10)) != first
    found[SETUP] = Agreement(24, {"log_g": 3.0}, {"log_g": 0.9}, {"log_g": 2.0})
    assert digest() != first
    recipe = FitRecipe(networks=ListNetworks(plan, tuple(found.items())))
    assert recipe.digest == digest()
    assert recipe.provenance["network_checked"] == 0
