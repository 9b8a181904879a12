"""Pages about one star and about all: sound HTML, offline, with what was found; and the residual of a survey."""

import re

import numpy as np
import pytest

import made_stars
import observed_files as files
from browser import needs_chromium, opened
from page_checks import page_problems
from specvit.cli import main
from specvit.observed import ReadOptions, read_spectra
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.starlist import residuals
from specvit.starlist.figure import corner_figure
from specvit.starlist.pages import star_page
from specvit.starlist.residuals import RestBins, SurveyResidual, packed, unpacked
from specvit.starlist.summary import StarListSummary
from specvit.stellar import FittedSpectrum, Minimum
from specvit.stellar.mask_cost import MaskCost
from specvit.stellar.systematic import SYSTEMATIC

PROVENANCE = {"specvit": "0.1.0", "library": "<b>own</b>"}
BINS = RestBins(7000.0, 8950.0)


@pytest.fixture(scope="module")
def spectrum(tmp_path_factory):
    path = files.ascii_three(tmp_path_factory.mktemp("a") / "star.txt", files.Star(step=2.0))
    return read_spectra(path, ReadOptions(medium="vacuum"))[0]


def fitted(spectrum, velocity=0.0, wrong=((8000.0, 0.05),)):
    """A star whose template lacks lines at rest wavelengths."""
    rest = spectrum.wavelength / (1 + velocity / SPEED_OF_LIGHT_KM_S)
    flux = np.ones(rest.size)
    for line, depth in wrong:
        flux -= depth * np.exp(-0.5 * ((rest - line) / 4.0) ** 2)
    sigma = np.where(np.arange(rest.size) % 10 == 0, np.inf, 0.01)
    return FittedSpectrum(spectrum, spectrum.wavelength, flux, sigma, np.ones(rest.size), np.ones(rest.size))


def kept(spectrum, name, velocity=0.0, flags=(), **changes):
    star = made_stars.made_parameters(spectrum, name=name, velocity=velocity, flags=flags)
    residual = packed(BINS.residual(fitted(spectrum, velocity, **changes), velocity))
    return {"star": star.record() | {"advice": []}, "residual": residual, "page": f"{name} #1.html"}


@pytest.fixture(scope="module")
def page_of_star(spectrum):
    values = dict(zip(made_stars.LABELS, (5300.0, 4.4, -0.2, 0.1, 0.0), strict=True))
    star = made_stars.made_parameters(
        spectrum, name="HD 1 <script>", flags=("CHI2", "ASSUMED_SIGMA"), assumptions=("air & vacuum",)
    )
    star = made_stars.made_parameters(
        spectrum, name=star.name, flags=star.flags, assumptions=star.assumptions,
        minima=(*star.minima, Minimum(values, -40.0, 105.0, 3.2)),
    )  # fmt: skip
    masks = {"air (O2, H2O)": (spectrum.wavelength > 7590) & (spectrum.wavelength < 7720)}
    costs = {"air (O2, H2O)": MaskCost(60, 130.0, {"teff": 1.0, "log_g": 1.27, "m_h": 1.1})}
    return star_page(star, fitted(spectrum), masks, costs, ["take BOSZ"], PROVENANCE)


@pytest.fixture(scope="module")
def page_of_all(spectrum):
    summary = StarListSummary(BINS, PROVENANCE, "pages of stars")
    for k in range(8):
        flags = ("CHI2",) if k == 3 else ("ASSUMED_RESOLUTION",)
        summary.add(kept(spectrum, f"star {k}", 50.0 * k - 200, flags))
    summary.add(
        {"star": {"name": "bad", "file": "bad.fits", "flags": ["REFUSED"], "reason": "bad.fits: is <empty>"}}
    )
    return summary.page()


def test_the_page_of_a_star_says_everything(page_of_star):
    assert page_problems(page_of_star) == []
    for words in (
        f"± {np.hypot(0.1, SYSTEMATIC['log_g']):.2f}",
        "CHI2: the best template does not fit",
        "air &amp; vacuum",
        "x 1.27",
        "HD 1 &lt;script&gt;",
        "3.2",
        "&lt;b&gt;own",
    ):
        assert words in page_of_star, words
    assert "(0.10 statistical)" in page_of_star
    assert "<p>take BOSZ</p>" in page_of_star
    assert page_of_star.count("data:image/svg+xml") == 2


def test_the_page_of_all_counts_and_finds_what_is_common(page_of_all):
    assert page_problems(page_of_all.replace("pages%20of%20stars/", "")) == []
    assert "7 stars without doubtful flags" in page_of_all
    assert "<td>ASSUMED_RESOLUTION</td><td>7</td><td>88 %</td>" in page_of_all
    assert "<td>CHI2</td><td>1</td>" in page_of_all
    assert "bad.fits: is &lt;empty&gt;" in page_of_all
    (size, place) = re.search(r"The largest common residual is −([0-9.]+) % at (\d+) Å", page_of_all).groups()
    assert float(size) == pytest.approx(5, abs=0.5)
    assert int(place) == pytest.approx(8000, abs=3)
    assert 'href="pages%20of%20stars/star%200%20%231.html"' in page_of_all


def test_a_list_without_a_fit_has_a_page(spectrum):
    summary = StarListSummary(BINS, PROVENANCE)
    assert page_problems(summary.page()) == []
    summary.add({"star": {"name": "bad", "file": "b", "flags": ["REFUSED"], "reason": "empty"}})
    assert "No spectrum could be fitted" in summary.page()


@needs_chromium
def test_a_browser_shows_them_without_a_word(page_of_star, page_of_all, tmp_path):
    pages = [tmp_path / "star.html", tmp_path / "all.html"]
    for path, text in zip(pages, (page_of_star, page_of_all), strict=True):
        path.write_text(text, encoding="utf-8")
    assert opened(pages) == []


def test_ellipses_hold_what_they_say(spectrum):
    """Against draws from the same normal distribution, in the frame of the axes."""
    star = made_stars.made_parameters(spectrum)
    sigma = np.array([80.0, 0.2, 0.1, 0.05, 0.1])
    correlation = np.eye(5)
    correlation[0, 1] = correlation[1, 0] = 0.9
    covariance = correlation * np.outer(sigma, sigma)
    star = made_stars.made_parameters(spectrum, covariance=covariance)
    figure = corner_figure(star)
    axes = figure.axes[5]  # log g against Teff
    draws = np.random.default_rng(0).multivariate_normal(list(star.labels.values()), covariance, 20_000)
    shown = axes.transData.transform(draws[:, :2])
    for patch, share in zip(axes.patches, (0.6827, 0.9545), strict=True):
        inside = patch.get_path().transformed(patch.get_transform()).contains_points(shown)
        assert inside.mean() == pytest.approx(share, abs=0.01)  # three times the scatter of 20,000 draws


def test_residuals_are_those_of_the_rest_frame(spectrum):
    for velocity in (-300.0, 0.0, 300.0):
        found = BINS.residual(fitted(spectrum, velocity, wrong=((8000.0, 0.05),)), velocity)
        there = found != residuals.EMPTY
        assert BINS.centres[there][np.argmin(found[there])] == pytest.approx(8000, abs=3)
        # The pixel at the centre may be one that is left out.
        assert found[there].min() == pytest.approx(-50, abs=8)
        np.testing.assert_array_equal(unpacked(packed(found)), found)


def test_quantiles_of_a_survey_are_those_of_its_stars():
    rng = np.random.default_rng(1)
    rows = np.clip(np.rint(rng.normal(5, 20, (301, BINS.count))), -127, 127).astype(np.int8)
    rows[:, 7] = residuals.EMPTY
    survey = SurveyResidual(BINS)
    for row in rows:
        survey.add(row)
    others = np.arange(BINS.count) != 7
    for share in (0.16, 0.5, 0.84):
        expected = np.quantile(rows[:, others], share, axis=0, method="inverted_cdf") * residuals.STEP
        np.testing.assert_allclose(survey.quantile(share)[others], expected, atol=1e-12)
    assert np.isnan(survey.quantile(0.5)[7])
    assert survey.counts[7] == 0


def test_the_command_writes_both(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("specvit.starlist.recipe.StarFitter", made_stars.QuickFitter)
    monkeypatch.setattr("specvit.starlist.recipe._FITTERS", {})
    monkeypatch.setattr("specvit.starlist.recipe.mask_costs", lambda *_: {})
    made_stars.write_list(tmp_path / "a", 2)
    words = ["predict", str(tmp_path / "a"), "--plot", str(tmp_path / "p"), "--plot-format", "html"]
    assert main([*words, "--summary", str(tmp_path / "all.html")]) == 0
    pages = sorted((tmp_path / "p").iterdir())
    assert len(pages) == 2
    text = (tmp_path / "all.html").read_text()
    assert all(f'href="p/{page.name}"' in text for page in pages)
    assert page_problems(text) == []
    assert page_problems(pages[0].read_text()) == []
    for wrong, line in (
        (["--plot-format", "pdf"], "expected png or html"),
        (["--summary", "a.txt"], "ends in .html"),
    ):
        assert main(["predict", "a.fits", *wrong]) == 2
        assert line in capsys.readouterr().err


def test_a_star_without_a_model_has_a_page_and_no_residual(spectrum):
    star = made_stars.made_parameters(spectrum)
    nothing = np.full(spectrum.wavelength.size, np.nan)
    bare = FittedSpectrum(spectrum, spectrum.wavelength, spectrum.flux, spectrum.sigma, nothing, nothing)
    assert (BINS.residual(bare, 0.0) == residuals.EMPTY).all()
    assert page_problems(star_page(star, bare, {}, {}, [], PROVENANCE)) == []
