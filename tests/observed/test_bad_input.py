"""What is no spectrum, or a damaged one, is one line that names the file and what to do."""

import contextlib
import gzip

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

import observed_files as files
from specvit.errors import ConfigError, DataError, SpecvitError
from specvit.observed import ReadOptions, read_spectra
from specvit.observed import files as reading

STAR = files.Star()


def columns(path, wavelength=None, flux=None, third=None):
    wavelength = STAR.wavelength if wavelength is None else wavelength
    flux = STAR.flux if flux is None else flux
    parts = [wavelength, flux] + ([] if third is None else [third])
    np.savetxt(path, np.column_stack(parts))


def nan_flux(path):
    columns(path, flux=np.full(STAR.flux.size, np.nan))


def duplicate(path):
    wavelength = STAR.wavelength.copy()
    wavelength[7] = wavelength[6]
    columns(path, wavelength)


def back_and_forth(path):
    wavelength = STAR.wavelength.copy()
    wavelength[[6, 7]] = wavelength[[7, 6]]
    columns(path, wavelength)


def no_optical_unit(path):
    columns(path, STAR.wavelength * 1e6)


def zero_errors(path):
    columns(path, third=np.zeros(STAR.flux.size))


def nearly_all_dead(path):
    sigma = np.full(STAR.flux.size, np.nan)
    sigma[:5] = 1
    columns(path, third=sigma)


def negative_ivar(path):
    star = files.Star()
    star.sigma = star.sigma * 0 + 1
    hdu = files.table_hdu({"flux": star.flux, "loglam": np.log10(star.wavelength), "ivar": -star.sigma})
    files.write(path, hdu)


def contradiction(path):
    files.image(path, STAR, STAR.flux, CTYPE1="AWAV", CRVAL1=7000.0, CDELT1=1.0, CRPIX1=1.0, VACUUM=True)


def truncated(path):
    files.sdss(path, files.log_star())
    path.write_bytes(path.read_bytes()[:20_000])


def corrupt(path):
    files.sdss(path, files.log_star())
    content = bytearray(path.read_bytes())
    content[2880:5760] = bytes(np.random.default_rng(0).integers(0, 256, 2880, dtype=np.uint8))
    path.write_bytes(content)


def picture(path):
    files.write(path, fits.PrimaryHDU(np.ones((100, 100))), CRVAL1=7000.0, CDELT1=1.0)


def no_wavelengths(path):
    files.write(path, fits.PrimaryHDU(np.ones(100)))


def constant(path):
    columns(path, flux=np.ones(STAR.flux.size))


BAD = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "blank": (lambda path: path.write_text("\n \n"), "is empty"),
    "prose": (lambda path: path.write_text("It was a dark\nand stormy night; the rain\n"), "row|column"),
    "one column": (lambda path: np.savetxt(path, STAR.flux), "one column only"),
    "ragged": (lambda path: path.write_text("7000 1\n7001 2 3\n"), "row 2 has 3 columns where 2"),
    "short": (lambda path: path.write_text("7000 1\n7001 2\n"), "2 pixels are no spectrum"),
    "binary": (lambda path: path.write_bytes(bytes(range(256)) * 10), "neither FITS nor text"),
    "NaN everywhere": (nan_flux, "NaN in every pixel"),
    "duplicate": (duplicate, "stands twice"),
    "unordered": (back_and_forth, "wavelengths go back at pixel 7"),
    "units": (no_optical_unit, "optical in no unit"),
    "zero errors": (zero_errors, "no pixel has a positive error"),
    "nearly all dead": (nearly_all_dead, "only 5 of 1900 pixels"),
    "negative ivar": (negative_ivar, "no pixel has a positive inverse variance"),
    "air and vacuum": (contradiction, "says air .* and vacuum .*--medium"),
    "truncated": (truncated, "not a complete FITS file"),
    "corrupt": (corrupt, "not a complete FITS file|without pixels|no image"),
    "an image": (picture, "not one spectrum"),
    "no wavelengths": (no_wavelengths, "no CRVAL1"),
    "constant": (constant, "the same in every pixel"),
    "only a header": (lambda path: files.write(path, fits.PrimaryHDU()), "without pixels"),
    "gz of text": (lambda path: path.write_bytes(gzip.compress(b"7000 1\n")), "unpack it first"),
    "damaged gz": (lambda path: path.write_bytes(gzip.compress(b"SIMPLE" * 999)[:30]), "FITS|gzip"),
    "damaged VOTable": (
        lambda path: path.write_text("<?xml version='1.0'?><VOTABLE><RES"),
        "complete VOTable",
    ),
    "damaged ECSV": (lambda path: path.write_text("# %ECSV 1.0\n# ---\n# datatype: [\nx"), "complete ECSV"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_clear_line(tmp_path, kind):
    make, words = BAD[kind]
    path = tmp_path / "star.fits"
    make(path)
    with pytest.raises(DataError, match=words) as caught:
        read_spectra(path)
    assert "star.fits" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_a_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_spectra(tmp_path / "nothing.fits")
    with pytest.raises(DataError, match="is a folder"):
        read_spectra(tmp_path)
    with pytest.raises(ConfigError, match="download it first"):
        read_spectra("https://example.org/star.fits")


def test_what_is_too_large_is_not_opened(tmp_path):
    huge = tmp_path / "huge.fits"
    with huge.open("wb") as stream:
        stream.write(b"SIMPLE  =                    T")
        stream.truncate(10_000_000_000)  # sparse: takes no space
    with pytest.raises(DataError, match=r"10\.0 GB are more than the 8 GB"):
        read_spectra(huge)
    text = tmp_path / "huge.txt"
    with text.open("wb") as stream:
        stream.write(b"7000 1\n")
        stream.truncate(reading.LARGEST_FITS - 1)
    with pytest.raises(DataError, match=r"GB of text are no spectrum|neither FITS nor text"):
        read_spectra(text)


def test_a_contradiction_is_settled_by_the_user(tmp_path):
    contradiction(tmp_path / "a")
    assert read_spectra(tmp_path / "a", ReadOptions(medium="air"))[0].medium == "air"


def test_decreasing_wavelengths_are_turned_and_said(tmp_path):
    columns(tmp_path / "a", STAR.wavelength[::-1], STAR.flux[::-1], STAR.sigma)
    spectrum = read_spectra(tmp_path / "a", ReadOptions(medium="vacuum"))[0]
    np.testing.assert_allclose(spectrum.wavelength, STAR.wavelength)
    np.testing.assert_allclose(spectrum.flux, STAR.flux)
    assert any("reversed" in line for line in spectrum.assumptions)


def test_columns_and_hdus_that_are_not_there_are_listed(tmp_path):
    path = files.sdss(tmp_path / "a.fits", files.log_star())
    with pytest.raises(DataError, match="has no HDU 9; there are 0 PRIMARY, 1 COADD"):
        read_spectra(path, ReadOptions(hdu="9"))
    with pytest.raises(DataError, match="no column 'FLX'; there are flux, loglam"):
        read_spectra(path, ReadOptions(hdu="COADD", columns={"flux": "FLX"}))
    with pytest.raises(ConfigError, match="'flx' is no role"):
        ReadOptions(columns={"flx": "a"})
    with pytest.raises(ConfigError, match="no unit of wavelength"):
        read_spectra(path, ReadOptions(hdu="COADD", unit="furlong"))
    with pytest.raises(DataError, match="has not what a file of the form desi"):
        read_spectra(path, ReadOptions(form="desi"))
    with pytest.raises(ConfigError, match="a FITS file is one of"):
        read_spectra(path, ReadOptions(form="text"))
    with pytest.raises(ConfigError, match="between 100 and 1e6"):
        ReadOptions(resolution=3)
    with pytest.raises(DataError, match="holds no spectrum of 99"):
        read_spectra(files.desi(tmp_path / "b", STAR), ReadOptions(select=("99",)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_never_raises_anything_else(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    writer = data.draw(
        st.sampled_from(["sdss", "lamost_image", "pfs", "muse", "multispec", "ecsv", "desi_cframe"])
    )
    star = files.log_star() if writer in ("sdss", "lamost_image") else STAR
    path = getattr(files, writer)(folder / "a", star)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 40))):
        # Headers are in the first blocks; damage there is what changes meanings.
        at = data.draw(st.integers(0, min(len(content), 12_000) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(SpecvitError):
        read_spectra(path)
