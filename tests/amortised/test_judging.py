"""Answers of the fit are flagged where library and spectrograph make no such spectrum; domains are made once."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from made_setups import SETUP, KnowingFitter, spectra
from specvit.amortised import DomainStore, JudgedFitter, judging, networks
from specvit.errors import DataError
from specvit.library import Emulator
from specvit.models.prediction import REASONS
from specvit.stellar import Refusal, StarFitSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the domain of the setup."""
    folder = tmp_path_factory.mktemp("domains")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "COUNTED", 1000)
        patch.setattr(networks, "SHOWN", 512)
        store(folder).domain(SETUP)
    return folder


@pytest.fixture
def never_made(monkeypatch):
    monkeypatch.setattr(DomainStore, "_made", lambda *_: pytest.fail("made again"))


def store(folder, settings=None):
    return DomainStore(Emulator.builtin(), settings or StarFitSettings(), folder)


def judged(folder, stars, fit=None):
    return JudgedFitter(fit or KnowingFitter(), store(folder)).fit(stars)


def test_good_spectra_are_not_flagged_and_odd_ones_are(folder, never_made):
    good, odd = spectra(100), spectra(5, emission=3.0, first=9)
    outcomes = judged(folder, [*good, *odd])
    flagged = np.array(["OUT_OF_DOMAIN" in star.flags for star, _ in outcomes])
    assert flagged[:100].sum() < 6
    assert flagged[100:].all()
    said = outcomes[-1][0].assumptions[-1]
    assert said.startswith("unlike simulated spectra: ")
    assert "single pixels far off" in said
    # Nothing else is changed.
    plain = KnowingFitter().fit(good)
    for (star, _), (same, _) in zip(outcomes, plain, strict=False):
        assert star.labels == same.labels
        assert set(same.flags) <= set(star.flags)


def test_a_wrong_velocity_is_seen(folder, never_made):
    class Elsewhere(KnowingFitter):
        def _one(self, spectrum):
            star, pixels = super()._one(spectrum)
            return replace(star, velocity=star.velocity + 150.0), pixels

    outcomes = judged(folder, spectra(20), Elsewhere())
    assert sum("OUT_OF_DOMAIN" in star.flags for star, _ in outcomes) > 15


def test_missing_pixels_are_no_reason(folder, never_made):
    cut = []
    for one in spectra(20):
        sigma = np.where((one.wavelength > 8560) & (one.wavelength < 8730), np.inf, one.sigma)
        cut.append(replace(one, sigma=sigma))
    outcomes = judged(folder, cut)
    assert not any("dead pixels" in sentence for star, _ in outcomes for sentence in star.assumptions)
    assert sum("OUT_OF_DOMAIN" in star.flags for star, _ in outcomes) < 10


def test_refusals_stay_in_their_place(folder, never_made):
    class Refusing(KnowingFitter):
        def _one(self, spectrum):
            if spectrum.name == "no":
                return Refusal("no", "test", "no reason")
            return super()._one(spectrum)

    one, two = spectra(2)
    outcomes = judged(folder, [one, replace(two, name="no"), two], Refusing())
    assert [isinstance(outcome, Refusal) for outcome in outcomes] == [False, True, False]


def test_domains_are_kept_by_what_they_depend_on(folder, tmp_path, monkeypatch):
    made = []
    first = store(folder).domain(SETUP)[1]
    monkeypatch.setattr(DomainStore, "_made", lambda _, frame: made.append(frame) or first)
    store(folder).domain(SETUP)
    assert made == []
    shutil.copytree(folder, tmp_path / "kept")
    for settings in (StarFitSettings(model_error=0.01), StarFitSettings(core_error=0.1)):
        store(tmp_path / "kept", settings).domain(SETUP)
    assert len(made) == 2
    store(tmp_path / "kept", StarFitSettings(starts=2)).domain(SETUP)
    assert len(made) == 2


def test_a_damaged_domain_is_one_line(folder, tmp_path):
    (kept,) = folder.iterdir()
    (tmp_path / kept.name).write_bytes(kept.read_bytes()[:-10])
    with pytest.raises(DataError, match="delete it, it is made again"):
        store(tmp_path).domain(SETUP)


def test_all_reasons_but_missing_pixels_are_minded():
    assert int(judging.MINDED.sum()) == len(REASONS) - 1
