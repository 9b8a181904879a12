"""What is no spectrum, or a damaged one, is one line that names the file and what to do."""

import bz2
import contextlib
import errno
import gzip
import os

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

import observed_files as files
from damage import refusal
from specvit.errors import AccessError, ConfigError, DataError, SpecvitError
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


def table(path, units=None, cards=None, **columns):
    there = {"wave": STAR.wavelength, "flux": STAR.flux, "err": STAR.sigma} | columns
    files.write(
        path, files.table_hdu({k: v for k, v in there.items() if v is not None}, "A", units), **(cards or {})
    )


def half_of_gz(path):
    content = gzip.compress(files.sdss(path.with_suffix(".plain"), files.log_star()).read_bytes())
    path.write_bytes(content[: len(content) // 2])


def velocities(path):
    files.image(path, STAR, STAR.flux, CTYPE1="VELO", CRVAL1=7000.0, CDELT1=1.0, CRPIX1=1.0)


def frequencies(path):
    table(path, {"wave": "Hz"}, wave=3e18 / STAR.wavelength)


BAD = {
    "a cube": (
        lambda path: files.write(path, fits.PrimaryHDU(np.ones((9, 9, 9)))),
        "shape .9, 9, 9., not one",
    ),
    "half of a gz": (half_of_gz, "damaged gzip file .*get it again"),
    "bzip2": (lambda path: path.write_bytes(bz2.compress(b"7000 1" * 99)), "bzip2; unpack it first"),
    "zip": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(99)), "zip archive"),
    "web page": (
        lambda path: path.write_text("\n<!DOCTYPE html>\n<html>404</html>"),
        "web page: .*get the file",
    ),
    "LFS": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "UTF-16": (lambda path: path.write_text("7000 1\n", encoding="utf-16"), "UTF-16; save it as UTF-8"),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5 file"),
    "another axis": (velocities, "the axis is VELO, not wavelength"),
    "frequencies": (frequencies, "'Hz' is no unit of wavelength; give --unit"),
    "a table without rows": (
        lambda path: table(path, wave=np.zeros(0), flux=np.zeros(0), err=None),
        "no wavelength",
    ),
    "name and header differ": (
        lambda path: table(path, cards={"AIRORVAC": "air"}, wave=None, wave_vac=STAR.wavelength),
        "the header says air, the name of the column of wavelengths vacuum; settle it with --medium",
    ),
    "sharper than its pixels": (
        lambda path: table(path, cards={"SPEC_RES": 200000.0}),
        "the file says R = .*, a FWHM of 0.04 pixels, .*--resolution",
    ),
    "infinite flux": (lambda path: table(path, flux=STAR.flux * np.inf), "NaN in every pixel"),
    "zero ivar": (
        lambda path: table(path, err=None, ivar=np.zeros(STAR.flux.size)),
        "no pixel has a positive inverse",
    ),
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
    "gz of little": (lambda path: path.write_bytes(gzip.compress(b"7000 1\n7001 2\n")), "2 pixels are no"),
    "gz of nothing": (lambda path: path.write_bytes(gzip.compress(b"")), "is empty"),
    "gz of a picture": (lambda path: path.write_bytes(gzip.compress(b"\x89PNG" + bytes(99))), "is a picture"),
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


def test_pipes_devices_and_odd_names_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(DataError, match="no regular file"):  # to open a pipe would wait for ever
            read_spectra(path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "loop", "a" * 5000, "a\0b"):
        with pytest.raises(DataError, match="cannot be"):
            read_spectra(path)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "no permission to read it; ask its owner"),
        (errno.EAGAIN, "in use by another process"),
        (errno.EIO, "does not answer"),
        (errno.ESTALE, "does not answer"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
@pytest.mark.parametrize("when", ["opened", "read"])
def test_what_the_system_does_not_give_is_not_called_damaged(tmp_path, monkeypatch, number, words, when):
    path = files.sdss(tmp_path / "a.fits", files.log_star())

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    if when == "opened":
        monkeypatch.setattr("pathlib.Path.open", refuse)
    else:
        monkeypatch.setattr("astropy.io.fits.open", refuse)
    with pytest.raises(AccessError, match=words) as caught:
        read_spectra(path)
    assert "a.fits" in str(caught.value)
    assert "get " not in str(caught.value)
    assert "truncated" not in str(caught.value)


def test_a_large_file_is_mapped_and_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    path = files.desi(tmp_path / "a.fits", STAR)
    plain = read_spectra(path)
    monkeypatch.setattr(reading, "MAPPED", 1000)
    for one, other in zip(plain, read_spectra(path), strict=True):
        np.testing.assert_array_equal(one.flux, other.flux)
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(DataError, match="not a complete FITS file"):
        read_spectra(path)
    monkeypatch.setattr(reading, "LARGEST_FITS", 3_000_000)
    (tmp_path / "bomb.fits.gz").write_bytes(gzip.compress(b"SIMPLE" + bytes(4_000_000)))
    with pytest.raises(DataError, match="when unpacked"):
        read_spectra(tmp_path / "bomb.fits.gz")


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
    with pytest.raises(DataError, match=r"MB of text are no spectrum|neither FITS nor text"):
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
        ReadOptions(unit="furlong")
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


NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -1.0, 1e30, -1e30, 7000.0, float("nan"), float("inf")]),
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_values_are_a_spectrum_or_one_line(tmp_path_factory, data):
    """Single bad values, whole bad columns, and shuffled rows: what comes back keeps the promises of a spectrum."""
    path = tmp_path_factory.mktemp("values") / "a.txt"
    rows = np.column_stack([STAR.wavelength, STAR.flux, STAR.sigma])[:200]
    for _ in range(data.draw(st.integers(0, 6))):
        rows[data.draw(st.integers(0, 199)), data.draw(st.integers(0, 2))] = data.draw(NUMBERS)
    if data.draw(st.booleans()):
        rows[:, data.draw(st.integers(0, 2))] = data.draw(NUMBERS)
    if data.draw(st.booleans()):
        rows = rows[:: data.draw(st.sampled_from([-1, 1, 2]))]
    np.savetxt(path, rows)
    found = []
    said = refusal(lambda: found.append(read_spectra(path)[0]), SpecvitError)
    if said:
        assert "a.txt" in said
        return
    (spectrum,) = found
    assert (np.diff(spectrum.wavelength) > 0).all()
    assert np.isfinite(spectrum.flux).all()
    assert (spectrum.sigma > 0).all()
    assert (spectrum.fwhm > 0).all()
    assert spectrum.usable.sum() >= 20


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=300),
    st.sampled_from(["", "# %ECSV 1.0\n", "wave,flux\n", "<?xml version='1.0'?>", "SIMPLE  ="]),
)
def test_any_text_is_one_line(tmp_path_factory, text, head):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_text(head + text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(SpecvitError) as caught:
        read_spectra(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_file_that_ends_early_is_never_half_a_spectrum(tmp_path_factory, data):
    """Cut anywhere but between two extensions, where what is left is a file of its own."""
    folder = tmp_path_factory.mktemp("cut")
    path = getattr(files, data.draw(st.sampled_from(["desi", "muse", "galah", "phase3"])))(folder / "a", STAR)
    with fits.open(path) as hdus:
        ends = [info["datLoc"] + info["datSpan"] for info in (hdu.fileinfo() for hdu in hdus)]
        # Of the last one, bytes that only fill its block may go.
        filled = int(hdus[-1].fileinfo()["datLoc"] + hdus[-1].size)
    cut = data.draw(st.integers(1, filled - 1).filter(lambda at: at not in ends))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"not a complete FITS|without pixels|neither FITS|row|column"):
        read_spectra(path)
