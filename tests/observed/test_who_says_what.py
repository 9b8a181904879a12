"""What a file does not say is not taken for something else: units, media, masks, resolutions, errors, and whose they are."""

import re

import numpy as np
import pytest

import observed_files as files
from specvit.errors import DataError
from specvit.observed import ReadOptions, read_spectra
from specvit.spectra import vacuum_to_air

STAR = files.Star()
WCS = {"CRVAL1": 7000.0, "CDELT1": 1.0, "CRPIX1": 1.0, "CTYPE1": "WAVE", "CUNIT1": "Angstrom"}


def read(path, **options):
    return read_spectra(path, ReadOptions(**options))


def said(spectrum, words):
    return any(words in line for line in spectrum.assumptions)


def phase3(path, ucd=None, **cards):
    columns = {"WAVE": STAR.wavelength[None], "FLUX": STAR.flux[None], "ERR": STAR.sigma[None]}
    hdu = files.table_hdu(columns, "SPECTRUM", {"WAVE": "angstrom"})
    if ucd:
        hdu.header["TUCD1"] = ucd
    return files.write(path, hdu, **cards)


@pytest.mark.parametrize(
    ("ucd", "cards", "medium", "guessed"),
    [
        ("em.wl;obs.atmos", {}, "air", False),
        ("em.wl", {}, "vacuum", False),
        (None, {"AIRORVAC": "air"}, "air", False),
        (None, {"AIRORVAC": "vacuum"}, "vacuum", False),
        (None, {}, "air", True),
        ("meta.main", {}, "air", True),
    ],
)
def test_phase_3_is_in_vacuum_only_if_something_says_so(tmp_path, ucd, cards, medium, guessed):
    spectrum = read(phase3(tmp_path / "a", ucd, **cards))[0]
    assert (spectrum.form, spectrum.medium) == ("eso-phase3", medium)
    assert ("medium" in spectrum.assumed) == guessed == said(spectrum, "--medium")


def test_a_ucd_against_the_header_is_settled_by_the_user(tmp_path):
    path = phase3(tmp_path / "a", "em.wl", AIRORVAC="air")
    with pytest.raises(DataError, match=r"the header says air, the UCD of the wavelengths vacuum.*--medium"):
        read(path)
    assert read(path, medium="air")[0].medium == "air"


def test_a_ucd_counts_in_any_table(tmp_path):
    hdu = files.table_hdu({"wave": STAR.wavelength, "flux": STAR.flux, "err": STAR.sigma})
    hdu.header["TUCD1"] = "em.wl;obs.atmos"
    spectrum = read(files.write(tmp_path / "a", hdu))[0]
    assert (spectrum.medium, spectrum.assumed & {"medium"}) == ("air", set())


@pytest.mark.parametrize("unit", ["10**-10 m", "1e-10 m", "10-10m", "10^-10 m", "0.1 nm", "Angstroem"])
def test_spellings_of_angstrom(tmp_path, unit):
    columns = {"wave_vac": STAR.wavelength, "flux": STAR.flux, "err": STAR.sigma}
    spectrum = read(files.write(tmp_path / "a", files.table_hdu(columns, "", {"wave_vac": unit})))[0]
    np.testing.assert_allclose(spectrum.wavelength, STAR.wavelength)


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        *(("wavelength_nm", 0.1), ("wave_nm", 0.1), ("lambda_nm", 0.1), ("wavelength_um", 1e-4)),
        *(("wavelength_angstrom", 1.0), ("wave_a", 1.0), ("wave_a", 0.1), ("Wave [nm]", 0.1)),
    ],
)
def test_a_unit_in_the_name_of_a_column(tmp_path, name, scale):
    columns = {name: STAR.wavelength * scale, "flux": STAR.flux, "err": STAR.sigma}
    spectrum = read(files.write(tmp_path / "a", files.table_hdu(columns)), medium="vacuum")[0]
    np.testing.assert_allclose(spectrum.wavelength, STAR.wavelength)
    assert ("unit" in spectrum.assumed) == (name == "wave_a" and scale != 1)


def test_the_medium_of_a_column_with_its_unit_in_the_name(tmp_path):
    columns = {"wave_air_nm": vacuum_to_air(STAR.wavelength) / 10, "flux": STAR.flux}
    spectrum = read(files.write(tmp_path / "a", files.table_hdu(columns)))[0]
    assert (spectrum.medium, spectrum.assumed & {"medium"}) == ("air", set())


@pytest.mark.parametrize(
    ("wave", "fwhm", "units"),
    [
        (0.1, 0.2, {"wave": "nm", "fwhm": "nm"}),
        (0.1, 0.2, {"wave": "nm"}),
        (0.1, 2.0, {"wave": "nm", "fwhm": "Angstrom"}),
        (1e-4, 2e-4, {"wave": "um"}),
        (1.0, 2e-4, {"wave": "Angstrom", "fwhm": "um"}),
        (0.1, 0.2, {}),
        (1.0, 2.0, {}),
    ],
)
def test_the_fwhm_has_its_own_unit_or_that_of_the_wavelengths(tmp_path, wave, fwhm, units):
    columns = {"wave": STAR.wavelength * wave, "flux": STAR.flux, "fwhm": np.full(STAR.flux.size, fwhm)}
    spectrum = read(files.write(tmp_path / "a", files.table_hdu(columns, "", units)), medium="vacuum")[0]
    np.testing.assert_allclose(spectrum.fwhm, 2.0)


def test_the_fwhm_beside_a_logarithm_is_in_angstrom_and_one_in_km_s_is_left_aside(tmp_path):
    columns = {"loglam": np.log10(STAR.wavelength), "flux": STAR.flux, "fwhm": np.full(STAR.flux.size, 2.5)}
    spectrum = read(files.write(tmp_path / "a", files.table_hdu(columns)))[0]
    np.testing.assert_allclose(spectrum.fwhm, 2.5)
    path = files.write(tmp_path / "b", files.table_hdu(columns, "", {"fwhm": "km/s"}))
    assert "resolution" in read(path)[0].assumed
    assert said(read(path)[0], "in km/s")
    assert not said(read(path, resolution=2000)[0], "km/s")


def test_natural_logarithms_called_loglam_are_refused(tmp_path):
    columns = {"loglam": np.log(STAR.wavelength), "flux": STAR.flux}
    with pytest.raises(DataError, match=r"no optical spectrum.*--unit"):
        read(files.write(tmp_path / "a", files.table_hdu(columns)))


def masked(path, share):
    mask = (np.arange(STAR.flux.size) < share * STAR.flux.size).astype(int)
    columns = {"wave": STAR.wavelength, "flux": STAR.flux, "err": STAR.sigma, "mask": mask}
    return files.write(path, files.table_hdu(columns))


@pytest.mark.parametrize(
    ("share", "words", "doubt"), [(0.1, False, False), (0.3, True, False), (0.8, True, True)]
)
def test_a_mask_of_many_pixels_is_said(tmp_path, share, words, doubt):
    spectrum = read(masked(tmp_path / "a", share), medium="vacuum")[0]
    assert said(spectrum, f"the mask leaves out {100 * share:.0f} % of the pixels") == words
    assert ("mask" in spectrum.assumed) == doubt


def test_a_mask_of_an_extension_and_of_a_survey_is_said_too(tmp_path):
    mask = files.fits.ImageHDU((np.arange(STAR.flux.size) % 5 > 0).astype("i2"), name="DQ")
    path = files.write(tmp_path / "a", files.fits.PrimaryHDU(STAR.flux), mask, **WCS)
    assert said(read(path)[0], "the mask leaves out 80 %")
    star = files.log_star()
    columns = {"flux": star.flux, "loglam": np.log10(star.wavelength), "ivar": star.sigma**-2.0}
    columns["and_mask"] = np.where(np.arange(star.flux.size) % 2, 1 << 24, 0)
    assert said(read(files.write(tmp_path / "b", files.table_hdu(columns)))[0], "the mask leaves out 50 %")


def test_padding_with_zeros_is_no_mask(tmp_path):
    flux = np.where(STAR.wavelength < 8000, 0.0, STAR.flux)
    spectrum = read(files.write(tmp_path / "a", files.fits.PrimaryHDU(flux), **WCS))[0]
    assert spectrum.usable.mean() == pytest.approx(900 / 1900)
    assert not said(spectrum, "the mask")


@pytest.mark.parametrize("writer", ["pfs", "muse", "lamost_image", "gaia_csv"])
def test_what_the_user_says_is_not_called_assumed(tmp_path, writer):
    star = {"lamost_image": files.log_star(), "gaia_csv": files.Star(8460.0, 8700.05, 0.1)}.get(writer, STAR)
    path = getattr(files, writer)(tmp_path / "a", star)
    assert said(read(path)[0], "FWHM") or said(read(path)[0], "resolution")
    own = read(path, resolution=3000, medium="vacuum")[0]
    assert not any(
        word in line for line in own.assumptions for word in ("FWHM", "resolution", "taken to be in")
    )
    assert not own.assumed & {"resolution", "medium", "unit"}


def test_a_velocity_of_the_star_is_no_correction(tmp_path):
    cards = WCS | {"SPECSYS": "HELIOCEN", "VHELIO": 123.0}
    spectrum = read(files.write(tmp_path / "a", files.fits.PrimaryHDU(STAR.flux), **cards))[0]
    assert (spectrum.frame, spectrum.to_observed) == ("barycentric", 0.0)
    assert spectrum.facts["VHELIO"] == 123.0


@pytest.mark.parametrize(
    ("name", "power"),
    [
        *((name, 1.0) for name in ("ERRORS", "SPEC_ERR", "FLUX_ERR", "FLUX_ERROR", "SIG")),
        *(("SCI_VAR", 2.0), ("flux ivar", -2.0)),
    ],
)
def test_extensions_of_errors_are_known_by_many_names(tmp_path, name, power):
    values = STAR.sigma**power
    path = files.write(
        tmp_path / "a", files.fits.PrimaryHDU(STAR.flux), files.fits.ImageHDU(values, name=name), **WCS
    )
    spectrum = read(path)[0]
    np.testing.assert_allclose(spectrum.sigma, STAR.sigma)
    assert "sigma" not in spectrum.assumed


def test_what_was_not_used_is_named_and_not_called_missing(tmp_path):
    odd = files.fits.ImageHDU(STAR.sigma, name="DELTA")
    spectrum = read(files.write(tmp_path / "a", files.fits.PrimaryHDU(STAR.flux), odd, **WCS))[0]
    assert said(spectrum, "no extension is called like errors (of the spectrum's size is HDU 1 DELTA)")
    assert not said(spectrum, "the file has no errors")
    columns = {"wave": STAR.wavelength, "flux": STAR.flux, "delta": STAR.sigma}
    spectrum = read(files.write(tmp_path / "b", files.table_hdu(columns)))[0]
    assert said(spectrum, "no column is called like errors (not used: delta")
    del columns["delta"]
    assert said(read(files.write(tmp_path / "c", files.table_hdu(columns)))[0], "the file has no errors")


def rows(*columns):
    return "".join(" ".join(f"{value:.5f}" for value in row) + "\n" for row in zip(*columns, strict=True))


def test_a_third_column_without_heading_is_said_to_be_sigma(tmp_path):
    three = rows(STAR.wavelength, STAR.flux, STAR.sigma)
    (tmp_path / "a").write_text(three)
    assert said(read(tmp_path / "a")[0], "no headings: columns are taken to be wavelength, flux, sigma")
    assert not said(read(tmp_path / "a", columns={"sigma": "2"})[0], "no headings")
    (tmp_path / "b").write_text(rows(STAR.wavelength, STAR.flux))
    assert not said(read(tmp_path / "b")[0], "no headings")
    (tmp_path / "c").write_text("wave flux err\n" + three)
    assert not said(read(tmp_path / "c")[0], "no headings")


def test_a_comment_is_a_heading_only_if_its_words_are(tmp_path):
    two = rows(STAR.wavelength, STAR.flux)
    for name, line in {"a": "# Arcturus spectrum", "b": "# spectrum Arcturus", "c": "# x y"}.items():
        (tmp_path / name).write_text(f"{line}\n{two}")
        np.testing.assert_allclose(read(tmp_path / name, medium="vacuum")[0].wavelength, STAR.wavelength)
    (tmp_path / "d").write_text("# flux lambda\n" + rows(STAR.flux, STAR.wavelength))
    np.testing.assert_allclose(read(tmp_path / "d", medium="vacuum")[0].wavelength, STAR.wavelength)
    (tmp_path / "e").write_text("# x y\n" + rows(STAR.flux, STAR.wavelength))
    own = read(tmp_path / "e", medium="vacuum", columns={"flux": "x", "wavelength": "y"})[0]
    np.testing.assert_allclose(own.wavelength, STAR.wavelength)


@pytest.mark.parametrize("writer", ["sdss", "phase3", "muse", "ascii_two", "lamost_table", "pfs"])
def test_one_target_is_selected_by_its_name_or_0(tmp_path, writer):
    path = getattr(files, writer)(tmp_path / "a", files.log_star() if writer == "sdss" else STAR)
    name = read(path)[0].name
    for wanted in ((), ("0",), (name,), ("7", name)):
        assert [one.name for one in read(path, select=wanted)] == [name]
    for wanted in ("1", "HD 77", name + "x"):
        with pytest.raises(DataError, match=f"holds no spectrum of {re.escape(wanted)}"):
            read(path, select=(wanted,))
