"""The networks that come with specvit: complete, small, described, as good as stated, and honest about errors."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

import specvit
from specvit.errors import DataError, WavelengthRangeError
from specvit.estimators import load_estimator
from specvit.estimators.pretrained import FOLDER, find_bundle, load_pretrained, pretrained_names
from specvit.evaluate import snr_bins
from specvit.simulate import Widening, World
from specvit.spectra import WavelengthGrid

SEED = 20261126
STARS = 12_000


@pytest.fixture(scope="module")
def stars():
    simulator = World().build()
    return simulator, simulator.draw("test", SEED, 0, STARS, truth=False)


@pytest.fixture(scope="module", params=["subspace", "vit"])
def estimate(request, stars):
    simulator, test = stars
    model = load_pretrained(request.param)
    return model, model.predict(test.flux, test.sigma, simulator.grid)


def test_they_are_all_there_and_take_less_than_40_mb():
    assert pretrained_names() == ["subspace", "vit"]
    assert sum(file.stat().st_size for file in FOLDER.rglob("*")) < 40e6


def test_nothing_that_is_shipped_holds_a_path_of_the_machine_it_was_made_on():
    package = Path(specvit.__file__).parent
    texts = [path for path in package.rglob("*") if path.suffix in (".json", ".md", ".toml")]
    assert len(texts) > 100
    absolute = re.compile(r"(?<![\w.:/*])/(?:[\w.-]+/){2,}|[A-Z]:\\\\")
    found = {path.name: absolute.findall(path.read_text(encoding="utf-8")) for path in texts}
    assert {name: paths for name, paths in found.items() if paths} == {}
    assert absolute.search('"start": "/home/me/specvit/bundles/vit"')


@pytest.mark.parametrize("name", ["subspace", "vit"])
def test_manifest_and_card_say_what_they_are_for(name):
    manifest = json.loads((FOLDER / name / "manifest.json").read_text())
    assert manifest["lsf"]["fwhm"][0] == pytest.approx(1.31, abs=0.02)
    assert manifest["training"]["train"]["world"]["instrument"] == "pfs_mr_reference"
    assert manifest["training"]["train"]["split"] == "train"
    assert set(manifest["settings"]["metrics"]) == {"teff", "log_g", "m_h", "alpha_m", "c_m"}
    assert manifest["settings"]["normalisation"]
    card = (FOLDER / name / "card.md").read_text()
    for text in ("7100.21-8849.79 Å (vacuum)", "log_g", "training spectra", "recipe", "seconds", "date"):
        assert text in card


def test_they_are_as_good_on_new_stars_as_their_cards_say(estimate, stars):
    model, found = estimate
    truth = stars[1].labels
    for name, largest in {"teff": 80, "log_g": 0.65, "m_h": 0.25}.items():
        stated = model.metrics[name]
        at = list(found.names).index(name)
        r2 = r2_score(truth[:, at], found.mean[:, at])
        # Bootstrap standard errors of R² on this many stars are about 0.004.
        assert r2 > stated["r2"] - 0.03, name
        assert stated["rmse"] < largest, name
    at = list(found.names).index("log_g")
    assert r2_score(truth[:, at], found.mean[:, at]) > 0.70


def test_stated_intervals_hold_at_every_snr(estimate, stars):
    """Within 2 points, and 3 binomial standard errors of this test set, in every bin of S/N for every label."""
    _, found = estimate
    truth, bins = stars[1].labels.double(), snr_bins().assign(stars[1].snr)
    offsets = []
    for k in range(len(snr_bins())):
        rows = np.flatnonzero(bins == k)
        for nominal in (0.68, 0.95):
            low, high = found[rows].quantiles.interval(nominal)
            inside = (low <= truth[rows]) & (truth[rows] <= high)
            error = np.sqrt(nominal * (1 - nominal) / len(rows))
            offset = inside.double().mean(dim=0).numpy() - nominal
            np.testing.assert_array_less(np.abs(offset), 0.02 + 3 * error)
            offsets.append(offset / error)
    # Nor are they all at the edge of that: 1.2 is expected, 0.3 its standard deviation; without correction, 4.
    assert np.square(offsets).mean() < 2.4


def test_a_bundle_is_found_by_name_or_folder(tmp_path):
    assert find_bundle("vit") == FOLDER / "vit"
    assert find_bundle(FOLDER / "subspace") == FOLDER / "subspace"
    assert load_estimator(find_bundle("subspace")).name == "subspace"
    for call in (find_bundle, load_pretrained):
        with pytest.raises(DataError, match="subspace, vit"):
            call("resnet")


def test_other_pixels_are_refused():
    model = load_pretrained("subspace")
    flux = torch.ones(1, 4096)
    with pytest.raises(WavelengthRangeError):
        model.predict(flux, 0.1 * flux, WavelengthGrid.linear(6000.0, 0.4, 4096))


#: S/N at the middle of a bin of a factor of two.
BRIGHT = (2.5, 5.0, 12.0, 30.0, 75.0, 150.0, 280.0)


@pytest.fixture(scope="module")
def bright():
    """At each S/N of `BRIGHT`, stars as bright or as little noisy as that."""
    found = {}
    for snr in BRIGHT:
        wide = Widening(share=1.0, snr=(0.93 * snr, 1.07 * snr))
        found[snr] = World(widening=wide).build().draw("test", SEED, 0, 800, truth=False)
    return found


@pytest.mark.parametrize("name", ["subspace", "vit"])
def test_errors_fall_with_brightness_and_hold(bright, name):
    """S/N 2 to 300: coverage within 3 points and three binomial errors, errors that fall, and no more flags than due."""
    model, rms = load_pretrained(name), []
    for snr, stars in bright.items():
        found, truth = model.predict(stars.flux, stars.sigma), stars.labels.double()
        low, high = found.quantiles.interval(0.68)
        held = ((low <= truth) & (truth <= high)).double().mean(dim=0)
        error = np.sqrt(0.68 * 0.32 / len(truth))
        assert float((held - 0.68).abs().max()) < 0.03 + 3 * error, snr
        assert float((~found.in_domain).double().mean()) < 0.035, snr
        rms.append((found.mean - truth).square().mean(dim=0).sqrt())
    falls = torch.stack(rms).diff(dim=0)
    # alpha and carbon of the brightest are all but the same, within a few percent of luck.
    assert bool((falls < 0.03 * rms[0]).all())
    at = list(found.names).index("log_g")
    assert rms[-1][at] < 0.1 < 0.8 < rms[0][at]


@pytest.mark.parametrize("name", ["subspace", "vit"])
def test_what_is_no_star_of_theirs_is_flagged(bright, name):
    stars, model = bright[30.0], load_pretrained(name)
    noise = stars.flux - stars.flux.mean(dim=0)
    for flux in (1 + noise, stars.flux.flip(1), stars.flux.roll(6, dims=1)):
        inside = model.predict(flux, stars.sigma).in_domain
        assert float(inside.double().mean()) < 0.05
