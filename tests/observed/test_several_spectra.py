"""Which of a file's spectra are one star's: fibres and orders, rows and bands, tables and their neighbours."""

import numpy as np
import pytest
from astropy.table import Table

import observed_files as files
from specvit.errors import DataError
from specvit.observed import ReadOptions, read_spectra
from specvit.observed import columns as columns_of_tables
from specvit.observed import spectrum as checking

STAR, OTHER = files.Star(), files.Star(seed=1)
RVS = files.Star(8460.0, 8700.05, 0.1)
WCS = {
    "CRVAL1": 7000.0,
    "CDELT1": 1.0,
    "CRPIX1": 1.0,
    "CTYPE1": "WAVE",
    "CUNIT1": "Angstrom",
    "OBJECT": "field",
}


def read(path, **options):
    return read_spectra(path, ReadOptions(**options))


def said(spectrum, words):
    return any(words in line for line in spectrum.assumptions)


def multispec(path, data, starts, beams=None, **cards):
    """Linear apertures of 1 Å per pixel."""
    size = data.shape[-1]
    words = ["wtype=multispec"]
    for k, start in enumerate(starts):
        beam = k + 1 if beams is None else beams[k]
        words.append(f'spec{k + 1} = "{k + 11} {beam} 0 {start} 1. {size} 0. 1. 2."')
    text = " ".join(words)
    wat = {f"WAT2_{k + 1:03d}": text[68 * k : 68 * (k + 1)] for k in range(len(text) // 68 + 1)}
    cards = (
        {"CTYPE1": "MULTISPE", "WAT0_001": "system=multispec", "VACUUM": True, "OBJECT": "field"}
        | wat
        | cards
    )
    return files.write(path, files.fits.PrimaryHDU(data), **cards)


def test_fibres_are_stars_of_their_own(tmp_path):
    data = np.stack([STAR.flux, OTHER.flux, 2 * STAR.flux])
    path = multispec(tmp_path / "a", data, [7000.0, 7003.0, 7000.0], APID1="HD 1", APID2="", APID3="HD 3")
    found = read(path)
    assert [one.name for one in found] == ["HD 1", "field aperture 12", "HD 3"]
    for one, flux, start in zip(found, data, [7000.0, 7003.0, 7000.0], strict=True):
        np.testing.assert_allclose(one.flux, flux)
        assert one.wavelength[0] == pytest.approx(start)
        assert said(one, "3 apertures on the same wavelengths")
    assert [one.name for one in read(path, select=("HD 3",))] == ["HD 3"]
    assert [one.name for one in read(path, select=("1",))] == ["field aperture 12"]


def test_orders_with_much_in_common_are_joined_by_their_numbers(tmp_path):
    data = np.stack([STAR.flux[:1000], STAR.flux[400:1400]])
    beams = (90, 85)  # 7500 Å · 90 and 7900 Å · 85 are the same to one per cent
    assert len(read(multispec(tmp_path / "a", data, [7000.0, 7400.0], beams))) == 1
    assert len(read(multispec(tmp_path / "b", data, [7000.0, 7400.0]))) == 2


@pytest.mark.parametrize(
    "cards", [{}, {"BANDID1": "spectrum - background fit", "BANDID4": "sigma - weights variance"}]
)
def test_the_fourth_band_of_an_extraction_is_sigma(tmp_path, cards):
    bands = np.stack([STAR.flux, STAR.flux, 0 * STAR.flux + 3, STAR.sigma])[:, None, :]
    image = files.write(tmp_path / "a", files.fits.PrimaryHDU(bands), **(WCS | cards))
    spec = multispec(tmp_path / "b", bands, [7000.0], **cards)
    orders = multispec(tmp_path / "c", bands.repeat(2, 1), [7000.0, 8850.0], **cards)
    for path in (image, spec):
        (spectrum,) = read(path)
        np.testing.assert_allclose(spectrum.sigma, STAR.sigma)
        assert "sigma" not in spectrum.assumed
    assert "sigma" not in read(orders)[0].assumed


def test_a_fourth_band_of_another_name_is_no_sigma(tmp_path):
    bands = np.stack([STAR.flux] * 4)[:, None, :]
    cards = {"BANDID1": "spectrum - none", "BANDID4": "continuum"}
    assert (
        "sigma" in read(files.write(tmp_path / "a", files.fits.PrimaryHDU(bands), **(WCS | cards)))[0].assumed
    )


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_rows_that_nobody_names_are_spectra(tmp_path, count):
    data = np.stack([STAR.flux, OTHER.flux, STAR.flux, OTHER.flux, STAR.flux])[:count]
    path = files.write(tmp_path / "a", files.fits.PrimaryHDU(data), **WCS)
    found = read(path)
    assert [one.name for one in found] == [f"field row {k}" for k in range(count)]
    np.testing.assert_allclose(found[1].flux, OTHER.flux)
    assert all(said(one, f"the image has {count} rows and does not say") for one in found)
    assert all("sigma" in one.assumed for one in found)
    for wanted in ("1", "row 1", "field row 1"):
        assert [one.name for one in read(path, select=(wanted,))] == ["field row 1"]


def test_rows_of_apertures_may_be_many_and_have_titles(tmp_path):
    cards = {f"APNUM{k + 1}": f"{k + 1} {k + 1}" for k in range(8)} | {"APID2": "HD 2"}
    path = files.write(tmp_path / "a", files.fits.PrimaryHDU(np.tile(STAR.flux, (8, 1))), **(WCS | cards))
    assert [one.name for one in read(path)][:3] == ["field row 0", "HD 2", "field row 2"]
    assert not said(read(path)[0], "does not say what they are")


@pytest.mark.parametrize("key", ["ARRAY", "ROW", "BANDID"])
def test_rows_with_names_are_one_spectrum(tmp_path, key):
    mask = np.zeros(STAR.flux.size)
    mask[7] = 1
    data = np.stack([mask, 0 * STAR.flux, STAR.sigma, STAR.flux])
    names = ("mask", "continuum", "error", "flux")
    cards = {f"{key}{k + 1}": name for k, name in enumerate(names)}
    (spectrum,) = read(files.write(tmp_path / "a", files.fits.PrimaryHDU(data), **(WCS | cards)))
    usable = spectrum.usable
    assert np.flatnonzero(~usable).tolist() == [7]
    np.testing.assert_allclose(spectrum.flux[usable], STAR.flux[usable])
    np.testing.assert_allclose(spectrum.sigma[usable], STAR.sigma[usable])
    assert said(spectrum, "rows of the image by its keywords")


def test_spspec_has_its_rows(tmp_path):
    star = files.log_star()
    mask = np.zeros(star.flux.size)
    mask[[3, 4]], mask[9] = 1 << 24, 1 << 16
    data = np.stack([star.flux, star.flux - 100, star.sigma, mask, star.flux])
    first = np.log10(7000.0)
    cards = {"TELESCOP": "SDSS 2.5-M", "PLATEID": 266, "MJD": 51602, "FIBERID": 31, "HELIO_RV": 12.5}
    cards |= {"COEFF0": first, "COEFF1": 1e-4, "CRVAL1": first, "CD1_1": 1e-4, "CRPIX1": 1.0}
    (spectrum,) = read(files.write(tmp_path / "a", files.fits.PrimaryHDU(data), **cards))
    assert (spectrum.name, spectrum.medium, spectrum.frame) == ("SDSS 266-51602-31", "vacuum", "barycentric")
    assert spectrum.to_observed == -12.5
    np.testing.assert_allclose(spectrum.wavelength, star.wavelength)
    assert np.flatnonzero(~spectrum.usable).tolist() == [3, 4]
    np.testing.assert_allclose(spectrum.sigma[5:], star.sigma[5:])
    plate = files.fits.PrimaryHDU(np.tile(star.flux, (640, 1)))
    with pytest.raises(DataError, match="not one spectrum"):
        read(files.write(tmp_path / "b", plate, **cards))


OWN = {"source_id": np.array([11, 12]), "wavelength": np.tile(STAR.wavelength / 10, (2, 1))}
OWN |= {"flux": np.stack([STAR.flux, OTHER.flux]), "ivar": np.tile(STAR.ivar, (2, 1))}


def long_table(columns, error):
    """Rows of pixels of two stars, those of the second first."""
    order = [1, 0]
    size = columns["flux"].shape[1]
    names = {"source_id": np.repeat(columns["source_id"][order], size)}
    for key in ("wavelength", "flux"):
        names[key] = columns[key][order].ravel()
    return names | {error: np.full(2 * size, 2.0)}


def test_rows_of_arrays_with_gaias_numbers_are_not_gaias_spectra(tmp_path):
    path = files.write(tmp_path / "a", files.table_hdu(OWN, "", {"wavelength": "nm"}), AIRORVAC="vacuum")
    found = read(path)
    assert [(one.name, one.form, one.frame, one.ground) for one in found] == [
        ("11", "table", "observed", True),
        ("12", "table", "observed", True),
    ]
    np.testing.assert_allclose(found[1].wavelength, STAR.wavelength)
    assert np.flatnonzero(~found[0].usable).tolist() == [STAR.dead]
    assert "resolution" in found[0].assumed
    assert [one.facts["source_id"] for one in read(path, select=("12",))] == ["12"]


@pytest.mark.parametrize("writer", ["csv", "ecsv", "votable", "fits"])
def test_rows_of_pixels_are_grouped_by_gaias_number(tmp_path, writer):
    table = Table(long_table(OWN, "flux_error"))
    path = tmp_path / "a"
    table.write(path, format={"csv": "ascii.csv", "ecsv": "ascii.ecsv"}.get(writer, writer))
    found = read(path, medium="vacuum")
    assert [one.name for one in found] == ["12", "11"]
    assert not [one for one in found if one.form == "gaia-rvs"]
    np.testing.assert_allclose(found[0].wavelength, STAR.wavelength, rtol=1e-9)
    np.testing.assert_allclose(found[0].flux, OTHER.flux, rtol=1e-9)
    assert [one.name for one in read(path, select=("1",))] == ["11"]


def test_arrays_of_different_lengths_are_rows_too(tmp_path):
    fits, parts = files.fits, [slice(0, 1900), slice(100, 1500)]
    columns = [fits.Column("id", "4A", array=["one", "two"])]
    for name, values in {"wave_vac": STAR.wavelength, "flux": STAR.flux, "err": STAR.sigma}.items():
        arrays = np.empty(2, dtype=object)
        arrays[:] = [values[part] for part in parts]
        columns.append(fits.Column(name, "PD()", array=arrays))
    found = read(files.write(tmp_path / "a", fits.BinTableHDU.from_columns(columns)))
    assert [(one.name, one.flux.size) for one in found] == [("one", 1900), ("two", 1400)]


@pytest.mark.parametrize(("scale", "unit"), [(1.0, "Angstrom"), (0.1, "nm"), (0.1, None)])
def test_gaias_own_spectra_have_the_unit_that_is_stated(tmp_path, scale, unit):
    columns = {"source_id": np.array([11]), "wavelength": RVS.wavelength[None] * scale}
    columns |= {"flux": RVS.flux[None], "flux_error": RVS.sigma[None]}
    path = files.write(tmp_path / "a", files.table_hdu(columns, "", {"wavelength": unit}))
    (spectrum,) = read(path)
    assert (spectrum.name, spectrum.form, spectrum.frame) == ("Gaia DR3 11", "gaia-rvs", "rest")
    np.testing.assert_allclose(spectrum.wavelength, RVS.wavelength)
    for wanted in ("11", "Gaia DR3 11", "0"):
        assert len(read(path, select=(wanted,))) == 1


def arm(low, high, name):
    keep = (STAR.wavelength > low) & (STAR.wavelength < high)
    columns = {"wave_vac": STAR.wavelength, "flux": STAR.flux, "err": STAR.sigma}
    return files.table_hdu({key: values[keep] for key, values in columns.items()}, name)


META = files.table_hdu({"RA": np.array([1.0]), "DEC": np.array([2.0])}, "META")


def test_the_first_table_with_a_spectrum_is_read_and_others_are_named(tmp_path):
    path = files.write(tmp_path / "a", META, arm(7000, 8000, "BLUE"), arm(8000, 8900, "RED"))
    (blue,) = read(path)
    assert blue.wavelength.max() < 8000
    assert said(blue, "HDU 3 RED holds another spectrum; give it with --hdu 3")
    (red,) = read(path, hdu="3")
    assert red.wavelength.min() > 8000
    assert not said(red, "another spectrum")


def test_a_votable_may_begin_with_another_table(tmp_path):
    from astropy.io import votable

    spectrum = Table({"wave_vac": STAR.wavelength, "flux": STAR.flux, "err": STAR.sigma})
    file = votable.from_table(spectrum)
    meta = votable.from_table(Table({"ra": [1.0], "dec": [2.0]})).resources[0]
    file.resources.insert(0, meta)
    file.to_xml(str(tmp_path / "a"))
    np.testing.assert_allclose(read(tmp_path / "a")[0].flux, STAR.flux)


def test_tables_without_a_spectrum_are_listed(tmp_path):
    odd = files.table_hdu({"x": STAR.wavelength, "y": STAR.flux}, "ODD")
    path = files.write(tmp_path / "a", META, odd)
    with pytest.raises(
        DataError, match=r"there are 1 META \(RA, DEC\); 2 ODD \(x, y\); .*--columns .* --hdu"
    ):
        read(path)
    assert len(read(path, columns={"wavelength": "x", "flux": "y"})) == 1


def test_a_table_about_the_observation_does_not_hide_an_image(tmp_path):
    path = files.write(tmp_path / "a", files.fits.PrimaryHDU(STAR.flux), META, **WCS)
    assert read(path)[0].form == "wcs"


def test_coadded_cameras_of_desi_are_read(tmp_path):
    arrays = {
        "WAVELENGTH": STAR.wavelength,
        "FLUX": np.stack([STAR.flux] * 2),
        "IVAR": np.stack([STAR.ivar] * 2),
    }
    hdus = [files.fits.ImageHDU(values, name=f"BRZ_{key}") for key, values in arrays.items()]
    found = read(
        files.write(tmp_path / "a", files.table_hdu({"TARGETID": np.array([7, 8])}, "FIBERMAP"), *hdus)
    )
    assert [(one.name, one.form, one.medium) for one in found] == [
        ("7", "desi", "vacuum"),
        ("8", "desi", "vacuum"),
    ]
    np.testing.assert_allclose(found[0].flux[50:], STAR.flux[50:])


@pytest.mark.parametrize(
    ("name", "values", "unit"),
    [
        ("WAVELENGTH", STAR.wavelength, None),
        ("WAVE", STAR.wavelength / 10, "nm"),
        ("LAMBDA", STAR.wavelength / 1e4, "um"),
        ("LOGLAM", np.log10(STAR.wavelength), None),
        ("LOGLAM", np.log10(STAR.wavelength), "Angstrom"),
    ],
)
@pytest.mark.parametrize("flux", ["FLUX", "SCI", "DATA", "SPECTRUM"])
def test_wavelengths_may_be_an_extension(tmp_path, name, values, unit, flux):
    hdus = {name: values, "ERR": STAR.sigma, flux: STAR.flux}
    made = [files.fits.ImageHDU(array, name=key) for key, array in hdus.items()]
    if unit:
        made[0].header["BUNIT"] = unit
    (spectrum,) = read(files.write(tmp_path / "a", *made), medium="vacuum")
    np.testing.assert_allclose(spectrum.wavelength, STAR.wavelength)
    np.testing.assert_allclose(spectrum.flux, STAR.flux)
    np.testing.assert_allclose(spectrum.sigma, STAR.sigma)


def test_many_rows_beside_wavelengths_are_spectra(tmp_path):
    hdus = {"FLUX": np.tile(STAR.flux, (20, 1)), "IVAR": np.tile(STAR.ivar, (20, 1)), "WAVE": STAR.wavelength}
    path = files.write(
        tmp_path / "a", *(files.fits.ImageHDU(values, name=key) for key, values in hdus.items())
    )
    (one,) = read(path, select=("13",), medium="vacuum")
    assert np.flatnonzero(~one.usable).tolist() == [STAR.dead]
    assert len(read(path, medium="vacuum")) == 20


def test_rows_of_a_table_are_read_as_if_they_were_alone(tmp_path, monkeypatch):
    """What is found of pixels is kept for the next row: rows with other pixels, errors or masks must not get it."""
    rng = np.random.default_rng(3)
    wave = np.tile(STAR.wavelength, (8, 1))
    flux = STAR.flux * rng.uniform(0.5, 2, (8, 1)) + rng.normal(0, 0.01, wave.shape)
    ivar, mask = np.full(wave.shape, 400.0), np.zeros(wave.shape, int)
    wave[2] += 0.25
    flux[3, 50:60] = np.nan
    ivar[4, 70:90] = 0.0
    mask[5, 100:130] = 1
    wave[6], flux[6] = wave[6, ::-1], flux[6, ::-1].copy()
    wave[7, 5:9] = np.nan
    columns = {"wavelength": wave, "flux": flux, "ivar": ivar, "mask": mask}

    def table(name, rows):
        hdu = files.table_hdu({key: values[rows] for key, values in columns.items()})
        return files.write(tmp_path / name, files.fits.PrimaryHDU(), hdu)

    together = read(table("all.fits", slice(None)), medium="air", resolution=2000.0)
    assert len(together) == 8
    for module, name in (
        (columns_of_tables, "_wavelengths"),
        (checking, "order_of"),
        (checking, "pixels_of"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name).__wrapped__)
    for row, one in enumerate(together):
        (alone,) = read(table(f"{row}.fits", [row]), medium="air", resolution=2000.0)
        for name in ("wavelength", "flux", "sigma", "fwhm"):
            np.testing.assert_array_equal(getattr(one, name), getattr(alone, name))
        assert one.assumptions == alone.assumptions
    assert (together[2].wavelength != together[0].wavelength).all()
    # Each has pixels of its own to write to.
    together[0].wavelength[:] = 1.0
    assert (together[1].wavelength > 1000).all()
