"""Every form is known by its content and says the same of the same star: vacuum Å, flux, sigma, resolution, frame."""

import gzip

import numpy as np
import pytest

import observed_files as files
from specvit.observed import ReadOptions, form_names, from_specutils, read_spectra

#: Writer -> (form, medium of the file, frame, FWHM at the middle or None, which pixel-exact columns are checked).
#: "rvs" is on the pixels of Gaia's spectra.
STARS = {"linear": files.Star(), "log": files.log_star(), "rvs": files.Star(8460.0, 8700.05, 0.1)}
FORMS = {
    "sdss": ("log", "sdss", "vacuum", "barycentric"),
    "sdss_v": ("log", "sdss", "vacuum", "barycentric"),
    "gzipped": ("log", "sdss", "vacuum", "barycentric"),
    "lamost_image": ("log", "lamost", "vacuum", "barycentric"),
    "lamost_table": ("log", "lamost", "vacuum", "barycentric"),
    "desi_cframe": ("linear", "desi", "vacuum", "barycentric"),
    "pfs": ("linear", "pfs", "vacuum", "barycentric"),
    "pfs_image": ("linear", "pfs", "vacuum", "barycentric"),
    "gaia_csv": ("rvs", "gaia-rvs", "vacuum", "rest"),
    "gaia_votable": ("rvs", "gaia-rvs", "vacuum", "rest"),
    "gaia_fits": ("rvs", "gaia-rvs", "vacuum", "rest"),
    "phase3": ("linear", "eso-phase3", "vacuum", "barycentric"),
    "phase3_air": ("linear", "eso-phase3", "air", "observed"),
    "muse": ("linear", "wcs", "vacuum", "observed"),
    "wcs_variance": ("linear", "wcs", "vacuum", "observed"),
    "wcs_log": ("log", "wcs", "vacuum", "observed"),
    "wcs_natural_log": ("log", "wcs", "vacuum", "observed"),
    "ascii_three": ("linear", "text", "vacuum", "observed"),
    "csv_named": ("linear", "text", "vacuum", "observed"),
    "ecsv": ("linear", "text", "vacuum", "observed"),
}


def read(path, **options):
    return read_spectra(path, ReadOptions(**options))


@pytest.mark.parametrize("writer", FORMS)
def test_a_form_is_known_and_read(tmp_path, writer):
    which, form, medium, frame = FORMS[writer]
    star = STARS[which]
    # A name without a meaning: only the content may tell.
    path = getattr(files, writer)(tmp_path / "anything.dat", star)
    asked = {"medium": "vacuum"} if writer in ("ascii_three", "ecsv") else {}
    spectrum = read(path, **asked)[0]
    assert (spectrum.form, spectrum.medium, spectrum.frame) == (form, medium, frame)
    np.testing.assert_allclose(spectrum.wavelength, star.wavelength, atol=2e-3)
    usable = spectrum.usable
    ratio = spectrum.flux[usable] / star.flux[usable]
    np.testing.assert_allclose(ratio / np.median(ratio), 1, rtol=1e-5)
    np.testing.assert_allclose(
        spectrum.sigma[usable] / spectrum.flux[usable], (star.sigma / star.flux)[usable], rtol=1e-5
    )
    assert "sigma" not in spectrum.assumed
    assert spectrum.snr == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize(
    "writer", ["sdss", "lamost_image", "pfs", "pfs_image", "csv_named", "desi_cframe", "wcs_log"]
)
def test_what_the_file_masks_is_dead(tmp_path, writer):
    star = STARS[FORMS[writer][0]]
    spectrum = read(getattr(files, writer)(tmp_path / "a", star))[0]
    assert np.flatnonzero(~spectrum.usable).tolist() == [star.dead]
    assert np.isinf(spectrum.sigma[star.dead])
    assert spectrum.flux[star.dead] == 0


def test_resolutions_come_from_the_file(tmp_path):
    log, linear = STARS["log"], STARS["linear"]
    step = 1e-4 * np.log(10) * 8000
    at = int(np.argmin(np.abs(log.wavelength - 8000)))
    assert read(files.sdss(tmp_path / "a", log))[0].fwhm[at] == pytest.approx(2.3548 * 1.1 * step, rel=1e-3)
    assert read(files.sdss_v(tmp_path / "b", log))[0].fwhm[at] == pytest.approx(1.5)
    # 11 diagonals hold a Gaussian of 1.2 pixels of 1 Å, cut at 4 σ.
    assert read(files.desi_cframe(tmp_path / "c", linear))[0].fwhm[900] == pytest.approx(
        2.3548 * 1.2, rel=2e-3
    )
    assert read(files.phase3(tmp_path / "d", linear))[0].resolution == pytest.approx(9861)
    assert read(files.muse(tmp_path / "e", linear))[0].fwhm[3] == 2.6
    assert read(files.galah(tmp_path / "f", linear))[0].fwhm[3] == 2.2
    assert read(files.gaia_csv(tmp_path / "g", STARS["rvs"]))[0].resolution == pytest.approx(11500)
    text = read(files.ascii_three(tmp_path / "h", linear))[0]
    assert "resolution" in text.assumed
    assert text.fwhm[5] == pytest.approx(3.0, rel=1e-3)
    own = read(tmp_path / "h", resolution=4000)[0]
    assert "resolution" not in own.assumed
    assert own.resolution == pytest.approx(4000)


def test_galah_is_air_and_its_errors_are_relative(tmp_path):
    star = STARS["linear"]
    spectrum = read(files.galah(tmp_path / "a", star))[0]
    assert (spectrum.form, spectrum.medium) == ("galah", "air")
    line = spectrum.wavelength[np.argmin(spectrum.flux)]
    assert line == pytest.approx(star.wavelength[np.argmin(star.flux)], abs=1.0)
    assert spectrum.snr == pytest.approx(100, rel=0.1)


def test_velocity_corrections_lead_back_to_the_telescope(tmp_path):
    assert read(files.sdss(tmp_path / "a", STARS["log"]))[0].to_observed == -12.5
    assert read(files.lamost_image(tmp_path / "b", STARS["log"]))[0].to_observed == 20.0
    assert not read(files.gaia_csv(tmp_path / "c", STARS["rvs"]))[0].ground


def test_orders_are_joined_without_their_blaze(tmp_path):
    star = STARS["linear"]
    spectrum = read(files.multispec(tmp_path / "a", star))[0]
    assert spectrum.form == "iraf-multispec"
    expected = np.interp(spectrum.wavelength, star.wavelength, star.flux)
    shape = spectrum.flux / expected
    # What is left of the blaze is smooth and small; both wavelength solutions are right, or lines would not fit.
    assert np.abs(np.diff(shape)[np.diff(spectrum.wavelength) < 1.5]).max() < 0.02
    assert spectrum.wavelength.min() == pytest.approx(7000, abs=2)
    assert spectrum.wavelength.max() > 8800


def test_a_file_of_many_gives_all_or_those_selected(tmp_path):
    path = files.desi(tmp_path / "a", STARS["linear"])
    assert [spectrum.name for spectrum in read(path)] == ["100", "101", "102"]
    assert [spectrum.name for spectrum in read(path, select=("101",))] == ["101"]
    assert [spectrum.name for spectrum in read(path, select=("2",))] == ["102"]
    two = files.gaia_csv(tmp_path / "b.csv", STARS["rvs"], sources=(4268620287278693120, 2052747119115620352))
    assert [s.facts["source_id"] for s in read(two)] == ["4268620287278693120", "2052747119115620352"]


def test_arms_meet_in_the_middle_of_their_overlap(tmp_path):
    spectrum = read(files.desi(tmp_path / "a", STARS["linear"]))[0]
    np.testing.assert_array_equal(np.diff(spectrum.wavelength), 1.0)


def test_a_dead_target_leaves_the_others(tmp_path):
    path, told = files.desi(tmp_path / "a", STARS["linear"], dead=(1,)), []
    found = read_spectra(path, refused=lambda name, error: told.append((name, str(error))))
    assert [spectrum.name for spectrum in found] == ["100", "102"]
    assert [name for name, _ in told] == ["101"]
    assert "no pixel has a positive inverse variance" in told[0][1]


def test_without_errors_sigma_is_that_of_the_noise(tmp_path):
    star = STARS["linear"]
    spectrum = read(files.ascii_two(tmp_path / "a", star), medium="vacuum")[0]
    assert "sigma" in spectrum.assumed
    # 1900 pixels: the scatter of a windowed median estimate is some 8 %.
    assert np.median(spectrum.sigma / star.sigma) == pytest.approx(1, abs=0.1)


def test_a_medium_nobody_states_is_assumed_and_said(tmp_path):
    star = STARS["linear"]
    spectrum = read(files.ascii_three(tmp_path / "a", star))[0]
    assert spectrum.medium == "air"
    assert "medium" in spectrum.assumed
    assert any("--medium" in line for line in spectrum.assumptions)
    # Air wavelengths are 1.0003 times shorter than the vacuum's.
    assert spectrum.wavelength[1000] - star.wavelength[1000] == pytest.approx(2.2, abs=0.1)


def test_the_users_word_is_the_last(tmp_path):
    star = STARS["log"]
    spectrum = read(files.sdss(tmp_path / "a", star), medium="air")[0]
    assert spectrum.medium == "air"
    assert any("as asked" in line for line in spectrum.assumptions)
    path = files.phase3(tmp_path / "b", STARS["linear"])
    forced = read(path, columns={"flux": "ERR", "sigma": "FLUX"})[0]
    assert forced.snr == pytest.approx(0.01, rel=0.1)
    assert read(path, hdu="SPECTRUM", unit="nm")[0].form == "table"


def test_specutils_spectra_are_taken_by_what_they_have():
    from types import SimpleNamespace

    from astropy import units
    from astropy.nddata import InverseVariance

    star = STARS["linear"]
    shape = SimpleNamespace(
        spectral_axis=(star.wavelength / 1e10) * units.m,
        flux=star.flux * units.Jy,
        uncertainty=InverseVariance(star.ivar),
        mask=None,
    )
    spectrum = from_specutils(shape, "mine", medium="vacuum", resolution=3000)
    np.testing.assert_allclose(spectrum.wavelength, star.wavelength)
    assert np.flatnonzero(~spectrum.usable).tolist() == [star.dead]
    np.testing.assert_allclose(spectrum.sigma[100:], star.sigma[100:])


def test_every_form_has_a_name():
    assert {FORMS[writer][1] for writer in FORMS} | {"galah", "iraf-multispec"} <= set(form_names()) | {
        "gaia-rvs"
    }


def test_a_table_of_many_rows_of_pixels_is_many_stars(tmp_path):
    star = STARS["linear"]
    columns = {"wave": np.tile(star.wavelength, (3, 1)), "flux": np.outer([1, 2, 3], star.flux)}
    columns["ivar"] = np.tile(star.ivar, (3, 1))
    path = files.write(
        tmp_path / "a.fits", files.table_hdu(columns, "STARS"), OBJECT="field", AIRORVAC="vacuum"
    )
    found = read(path)
    assert [one.name for one in found] == [f"field row {k}" for k in range(3)]
    assert found[2].flux[5] == pytest.approx(3 * star.flux[5])
    assert [one.name for one in read(path, select=("1",))] == ["field row 1"]
    named = files.table_hdu(columns | {"targetid": np.arange(7, 10)}, "STARS")
    path = files.write(tmp_path / "b.fits", named, AIRORVAC="vacuum")
    assert [one.name for one in read(path, select=("8",))] == ["8"]


def test_errors_that_are_all_nan_are_none(tmp_path):
    star = STARS["linear"]
    hdu = files.table_hdu({"wave": star.wavelength, "flux": star.flux, "err": star.flux * np.nan})
    spectrum = read(files.write(tmp_path / "a.fits", hdu), medium="air")[0]
    assert "sigma" in spectrum.assumed
    assert any("NaN for every sigma" in line for line in spectrum.assumptions)
    assert np.median(spectrum.sigma / star.sigma) == pytest.approx(1, abs=0.1)


def test_gaias_spectra_are_known_by_their_pixels(tmp_path):
    nm = np.linspace(846.0, 870.0, 2401)
    rows = "".join(f"{w:.2f},{1 + 0.01 * np.sin(k):.5f},0.01\n" for k, w in enumerate(nm))
    (tmp_path / "rvs.csv").write_text("wavelength,flux,flux_error\n" + rows)
    spectrum = read(tmp_path / "rvs.csv")[0]
    assert (spectrum.form, spectrum.medium, spectrum.frame, spectrum.ground) == (
        "gaia-rvs",
        "vacuum",
        "rest",
        False,
    )
    assert spectrum.wavelength[0] == pytest.approx(8460)


def test_units_in_headings_exponents_and_decimal_commas(tmp_path):
    star = STARS["linear"]
    rows = list(zip(star.wavelength, star.flux, star.sigma, strict=True))
    (tmp_path / "a").write_text(
        "Wavelength[nm]\tFlux (erg)\tError\r\n"
        + "".join(f"{w / 10:.4f}\t{f:.6g}\t{s:.4g}\r\n" for w, f, s in rows)
    )
    (tmp_path / "b").write_text("".join(f"{w:.3f} {f:.6E} {s:.4E}\n".replace("E", "D") for w, f, s in rows))
    (tmp_path / "c").write_text("".join(f"{w:.3f};{f:.6g};{s:.4g}\n".replace(".", ",") for w, f, s in rows))
    for name in "abc":
        spectrum = read(tmp_path / name, medium="vacuum")[0]
        np.testing.assert_allclose(spectrum.wavelength, star.wavelength, atol=2e-3)
        np.testing.assert_allclose(spectrum.flux, star.flux, rtol=1e-4)
        np.testing.assert_allclose(spectrum.sigma, star.sigma, rtol=1e-2)
        assert "unit" not in spectrum.assumed


def test_a_stated_resolution_that_is_none_is_said(tmp_path):
    star = STARS["linear"]
    hdu = files.table_hdu({"wave": star.wavelength, "flux": star.flux, "err": star.sigma})
    spectrum = read(files.write(tmp_path / "a.fits", hdu, SPEC_RES=20.0))[0]
    assert "resolution" in spectrum.assumed
    assert any("SPEC_RES = 20 is no resolution" in line for line in spectrum.assumptions)


def test_a_column_of_logarithms_is_taken_for_sdsss_vacuum(tmp_path):
    star = STARS["log"]
    hdu = files.table_hdu({"LogLam": np.log10(star.wavelength), "Flux": star.flux, "PropErr": star.sigma})
    spectrum = read(files.write(tmp_path / "a.fits", hdu))[0]
    assert (spectrum.form, spectrum.medium) == ("table", "vacuum")
    assert "medium" in spectrum.assumed
    np.testing.assert_allclose(spectrum.wavelength, star.wavelength, rtol=1e-12)


SPACE = {"TELESCOP": "HST"}


@pytest.mark.parametrize(
    ("which", "columns", "cards", "medium"),
    [
        # MaStar, mwmStar: Å, but on SDSS's pixels.
        ("log", lambda s: {"WAVE": s.wavelength, "FLUX": s.flux, "IVAR": s.ivar}, {}, "vacuum"),
        ("linear", lambda s: {"WAVE": s.wavelength, "FLUX": s.flux, "IVAR": s.ivar}, {}, "air"),
        # ESPRESSO's S1D: the other medium has a column of its own.
        ("linear", lambda s: {"wavelength": s.wavelength, "wavelength_air": s.wavelength - 2, "flux": s.flux}, {}, "vacuum"),
        ("linear", lambda s: {"wavelength": s.wavelength, "wave_vac": s.wavelength + 2, "flux": s.flux}, {}, "air"),
        ("linear", lambda s: {"WAVELENGTH": s.wavelength, "FLUX": s.flux, "STATERROR": s.sigma}, SPACE, "vacuum"),
        ("linear", lambda s: {"WAVELENGTH": s.wavelength, "FLUX": s.flux}, SPACE | {"AIRORVAC": "air"}, "air"),
        ("linear", lambda s: {"OPT_WAVE": s.wavelength, "OPT_COUNTS": s.flux, "OPT_COUNTS_IVAR": s.ivar}, {}, "vacuum"),
        ("linear", lambda s: {"wave": s.wavelength, "wave_grid_mid": s.wavelength, "flux": s.flux, "ivar": s.ivar}, {}, "vacuum"),
    ],
)  # fmt: skip
def test_the_medium_follows_from_what_else_a_file_has(tmp_path, which, columns, cards, medium):
    star = STARS[which]
    spectrum = read(files.write(tmp_path / "a.fits", files.table_hdu(columns(star)), **cards))[0]
    assert spectrum.medium == medium
    assert spectrum.ground == ("TELESCOP" not in cards)
    moved = np.interp(spectrum.wavelength, star.wavelength, np.arange(star.wavelength.size))
    assert (np.abs(moved - np.arange(star.wavelength.size)).max() < 0.01) == (medium == "vacuum")


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_masks_of_good_pixels_are_known_by_the_dead_ones(tmp_path, good, share):
    star = files.Star()
    dead = np.random.default_rng(0).random(star.flux.size) < share
    ivar = np.where(dead, 0.0, star.sigma**-2.0)
    mask = (~dead if good else dead).astype(int)
    hdu = files.table_hdu({"wave": star.wavelength, "flux": star.flux, "ivar": ivar, "mask": mask})
    spectrum = read(files.write(tmp_path / "a.fits", hdu), medium="vacuum")[0]
    np.testing.assert_array_equal(spectrum.usable, ~dead)
    assert any("mark good ones" in line for line in spectrum.assumptions) == good


def test_an_extension_of_flags_is_used(tmp_path):
    star = STARS["linear"]
    flags = np.zeros(star.flux.size, np.int32)
    flags[[40, 41]] = 4
    hdus = [files.fits.PrimaryHDU(star.flux), files.fits.ImageHDU(star.sigma, name="ERRS")]
    hdus.append(files.fits.ImageHDU(flags, name="QUAL"))
    cards = {"CRVAL1": star.wavelength[0] / 10, "CDELT1": 0.1, "CRPIX1": 1.0, "CUNIT1": "nm"}
    spectrum = read(files.write(tmp_path / "a.fits", *hdus, **cards), medium="vacuum")[0]
    assert np.flatnonzero(~spectrum.usable).tolist() == [40, 41]
    assert "sigma" not in spectrum.assumed


@pytest.mark.parametrize("writer", ["ascii_three", "csv_named", "ecsv", "gaia_csv", "gaia_votable"])
def test_a_compressed_table_is_the_same_spectrum(tmp_path, writer):
    plain = getattr(files, writer)(tmp_path / "a", STARS["rvs" if "gaia" in writer else "linear"])
    (tmp_path / "b").write_bytes(gzip.compress(plain.read_bytes()))
    one, other = (read(path, medium="vacuum")[0] for path in (plain, tmp_path / "b"))
    assert one.form == other.form
    np.testing.assert_array_equal(one.wavelength, other.wavelength)
    np.testing.assert_array_equal(one.flux, other.flux)
