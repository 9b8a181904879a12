"""Importers of BOSZ files, on small files of the true format (names, columns, compression) written here."""

import bz2
import gzip

import numpy as np
import pytest

from specvit.errors import ConfigError, DataError, LabelError, WavelengthRangeError
from specvit.library.importers import LibraryWindow, import_bosz2017, import_bosz2024
from specvit.library.importers.bosz2017 import quarter_dex
from specvit.spectra.air import air_to_vacuum, vacuum_to_air
from specvit.spectra.resample import FWHM_PER_SIGMA

CA_8542_VACUUM = 8544.438
WINDOW = LibraryWindow(8500.0, 8600.0, 20_000.0)


def line_spectrum(wavelength, resolution, depth):
    """A sloping continuum with one Gaussian line of the given resolution at Ca II 8542 (vacuum)."""
    continuum = 1e6 * (wavelength / 8500) ** -2
    sigma = CA_8542_VACUUM / resolution / FWHM_PER_SIGMA
    return continuum * (1 - depth * np.exp(-0.5 * ((wavelength - CA_8542_VACUUM) / sigma) ** 2)), continuum


def name_2017(teff=5000, log_g=45, m_h="p00", c_m="p00", alpha="p00", resolution=50_000, vmic="20"):
    return f"am{m_h}c{c_m}o{alpha}t{teff}g{log_g}v{vmic}modrt0b{resolution}rs.asc.bz2"


def write_2017(folder, name, depth=0.5, resolution=50_000, low=8450.0, high=8650.0, flux=None, columns=3):
    """Three columns 'wavelength H continuum', vacuum, two samples per resolution element, three decimals."""
    wavelength = np.exp(np.arange(np.log(low), np.log(high), 0.5 / resolution)).round(3)
    spectrum, continuum = line_spectrum(wavelength, resolution, depth)
    spectrum = (
        spectrum if flux is None else np.where(np.arange(len(spectrum)) == len(spectrum) // 2, flux, spectrum)
    )
    table = np.column_stack([wavelength, spectrum, continuum])[:, :columns]
    text = "\n".join(" ".join(["%.3f", "%.5E", "%.5E"][:columns]) % tuple(row) for row in table) + "\n"
    (folder / name).write_bytes(bz2.compress(text.encode()))


def name_2024(teff=5000, log_g=4.5, family="mp", vmic=2, resolution=50_000, m_h=0.0):
    labels = f"t{teff}_g{log_g:+.1f}_m{m_h:+.2f}_a+0.00_c+0.00"
    return f"bosz2024_{family}_{labels}_v{vmic}_r{resolution}_resam.txt.gz"


def write_2024(folder, names, low=8450.0, high=8650.0, resolution=50_000, depth=0.5):
    """Two columns 'H continuum' and one wavelength file in air, Å, 2.32 samples per FWHM."""
    air = np.exp(np.arange(np.log(low), np.log(high), 1 / (2.32145 * resolution)))
    np.savetxt(folder / f"bosz2024_wave_r{resolution}.txt", air, fmt="%.7E")
    flux, continuum = line_spectrum(air_to_vacuum(air), resolution, depth)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(folder / name, "wt") as file:
            np.savetxt(file, np.column_stack([flux, continuum]), fmt="%.6E")


def test_bosz2017_library_has_labels_line_and_resolution(tmp_path):
    for teff in (4750, 5000):
        for m_h in ("m03", "p08"):
            write_2017(tmp_path, name_2017(teff, 15, m_h, "m08", "p03"))
    library = import_bosz2017(tmp_path, WINDOW)
    assert library.label_space.names == ("teff", "m_h")
    assert sorted(map(tuple, library.labels)) == [(4750, -0.25), (4750, 0.75), (5000, -0.25), (5000, 0.75)]
    assert library.provenance["fixed_labels"] == {"log_g": 1.5, "alpha_m": 0.25, "c_m": -0.75}
    assert library.resolution == 20_000
    expected, _ = line_spectrum(library.grid.wavelength, 20_000, 0.5 * 20_000 / 50_000)
    np.testing.assert_allclose(library.flux[0], expected, rtol=2e-3)
    _, level = line_spectrum(library.continuum_wavelength, 1, 0)
    np.testing.assert_allclose(library.continuum[0], level, rtol=1e-4)


@pytest.mark.parametrize(
    ("token", "value"),
    [
        ("m03", -0.25),
        ("m05", -0.5),
        ("p08", 0.75),
        ("m13", -1.25),
        ("m25", -2.5),
        ("m23", -2.25),
        ("p00", 0.0),
    ],
)
def test_bosz2017_tenths_are_rounded_quarters(token, value):
    assert quarter_dex(token) == value


def test_bosz2024_wavelengths_are_air_and_become_vacuum(tmp_path):
    write_2024(tmp_path, [name_2024(4750), name_2024(5000)])
    library = import_bosz2024(tmp_path, WINDOW)
    normalised = library.flux[0] / line_spectrum(library.grid.wavelength, 1, 0)[1]
    dip = 1 - normalised
    centre = (dip * library.grid.wavelength).sum() / dip.sum()
    assert centre == pytest.approx(CA_8542_VACUUM, abs=0.01)
    assert abs(centre - float(vacuum_to_air(CA_8542_VACUUM))) > 2.3
    assert library.label_space.names == ("teff",)


def test_bosz2024_finds_wavelengths_above_the_metallicity_folders(tmp_path):
    write_2024(tmp_path, [f"r50000/m+0.00/{name_2024()}", f"r50000/m-0.25/{name_2024(m_h=-0.25)}"])
    assert import_bosz2024(tmp_path, WINDOW).label_space.names == ("m_h",)


def test_limits_select_a_part_and_workers_agree(tmp_path):
    for teff in (4000, 4250, 4500, 4750):
        write_2017(tmp_path, name_2017(teff), depth=teff / 10_000)
    seen = []
    one = import_bosz2017(tmp_path, WINDOW, {"teff": (4250, 4500)}, progress=lambda *a: seen.append(a))
    two = import_bosz2017(tmp_path, WINDOW, {"teff": (4250, 4500)}, workers=2)
    np.testing.assert_array_equal(one.labels[:, 0], [4250, 4500])
    np.testing.assert_array_equal(one.flux, two.flux)
    assert seen == [(1, 2), (2, 2)]


def test_equal_resolution_is_interpolated_not_smoothed(tmp_path):
    for teff in (4000, 4250):
        write_2017(tmp_path, name_2017(teff, resolution=20_000), resolution=20_000)
    library = import_bosz2017(tmp_path, WINDOW)
    expected, _ = line_spectrum(library.grid.wavelength, 20_000, 0.5)
    np.testing.assert_allclose(library.flux[0], expected, rtol=3e-2)  # two samples per FWHM: spline error


def expect(error, match, function, *args, **kwargs):
    with pytest.raises(error, match=match) as caught:
        function(*args, **kwargs)
    assert "\n" not in str(caught.value)


def test_empty_or_missing_folder(tmp_path):
    expect(DataError, "no file ending in", import_bosz2017, tmp_path, WINDOW)
    expect(DataError, "no such folder", import_bosz2024, tmp_path / "absent", WINDOW)


def test_unparseable_names_are_named(tmp_path):
    write_2017(tmp_path, "mystar.asc.bz2")
    expect(DataError, r"mystar\.asc\.bz2: not a BOSZ 2017 name", import_bosz2017, tmp_path, WINDOW)
    (tmp_path / "bosz2024_xx_t5000_resam.txt.gz").write_bytes(b"")
    expect(DataError, r"xx_t5000_resam\.txt\.gz: not a BOSZ 2024 name", import_bosz2024, tmp_path, WINDOW)


def test_truncated_files_are_named(tmp_path):
    write_2017(tmp_path, name_2017(4750))
    write_2017(tmp_path, name_2017(5000))
    damaged = tmp_path / name_2017(5000)
    damaged.write_bytes(damaged.read_bytes()[:-200])
    expect(DataError, "t5000g45.*truncated or damaged.*download it again", import_bosz2017, tmp_path, WINDOW)


def test_truncated_gzip_is_named(tmp_path):
    write_2024(tmp_path, [name_2024(4750), name_2024(5000)])
    damaged = tmp_path / name_2024(4750)
    damaged.write_bytes(damaged.read_bytes()[:-50])
    expect(DataError, "t4750_.*truncated or damaged", import_bosz2024, tmp_path, WINDOW)


def test_wrong_column_count(tmp_path):
    write_2017(tmp_path, name_2017(4750), columns=2)
    write_2017(tmp_path, name_2017(5000))
    expect(DataError, "t4750.*expected 3 columns, got 2", import_bosz2017, tmp_path, WINDOW)


def test_nan_flux_names_the_wavelength(tmp_path):
    write_2017(tmp_path, name_2017(4750))
    write_2017(tmp_path, name_2017(5000), flux=np.nan)
    expect(DataError, r"t5000.*not finite at 85\d\d", import_bosz2017, tmp_path, WINDOW)


def test_text_instead_of_numbers(tmp_path):
    write_2017(tmp_path, name_2017(4750))
    (tmp_path / name_2017(5000)).write_bytes(bz2.compress(b"<html><body>404 not found</body></html>\n" * 9))
    expect(DataError, "t5000.*expected a number first in a row", import_bosz2017, tmp_path, WINDOW)


def test_mixed_wavelength_grids(tmp_path):
    write_2017(tmp_path, name_2017(4750))
    write_2017(tmp_path, name_2017(5000), low=8450.02)
    expect(DataError, "t5000.*wavelengths differ from those of", import_bosz2017, tmp_path, WINDOW)


def test_rows_and_wavelengths_must_match(tmp_path):
    write_2024(tmp_path, [name_2024(4750), name_2024(5000)])
    wave = tmp_path / "bosz2024_wave_r50000.txt"
    wave.write_text("\n".join(wave.read_text().splitlines()[:-3]))
    expect(DataError, "rows, but bosz2024_wave_r50000.txt has", import_bosz2024, tmp_path, WINDOW)
    wave.unlink()
    expect(DataError, r"bosz2024_wave_r50000\.txt: not found", import_bosz2024, tmp_path, WINDOW)


def test_duplicate_labels_name_both_files(tmp_path):
    write_2024(tmp_path, [name_2024(7500, family="mp"), name_2024(7500, family="ap"), name_2024(7250)])
    expect(
        DataError,
        "bosz2024_mp_t7500.*same labels as bosz2024_ap.*--atmosphere",
        import_bosz2024,
        tmp_path,
        WINDOW,
    )
    library = import_bosz2024(tmp_path, WINDOW, atmosphere="mp")
    assert len(library) == 2
    assert library.provenance["model_atmospheres"] == {"MARCS plane parallel": 2}


def test_mixed_kinds_and_resolutions(tmp_path):
    write_2024(tmp_path, [name_2024(4750, vmic=1), name_2024(5000, vmic=2), name_2024(5250, vmic=2)])
    expect(DataError, "microturbulence 2 km/s, but", import_bosz2024, tmp_path, WINDOW)
    assert len(import_bosz2024(tmp_path, WINDOW, microturbulence=2)) == 2
    other = tmp_path / "2017"
    other.mkdir()
    write_2017(other, name_2017(4750))
    write_2017(other, name_2017(5000, resolution=20_000), resolution=20_000)
    expect(DataError, "choose one with --source-resolution", import_bosz2017, other, WINDOW)
    write_2017(other, name_2017(5250))
    assert len(import_bosz2017(other, WINDOW, source_resolution=50_000)) == 2


def test_window_must_be_covered_and_not_sharper(tmp_path):
    write_2017(tmp_path, name_2017(4750))
    write_2017(tmp_path, name_2017(5000))
    wide = LibraryWindow(8000.0, 8600.0, 20_000.0)
    expect(WavelengthRangeError, r"rs\.asc\.bz2: the spectrum covers 8450", import_bosz2017, tmp_path, wide)
    sharp = LibraryWindow(8500.0, 8600.0, 60_000.0)
    expect(WavelengthRangeError, "at most 50000", import_bosz2017, tmp_path, sharp)
    expect(ConfigError, "expected 0 < start < stop", LibraryWindow, 8600.0, 8500.0)


def test_one_spectrum_or_empty_limits_are_refused(tmp_path):
    write_2017(tmp_path, name_2017(4750))
    expect(DataError, "a library needs a range", import_bosz2017, tmp_path, WINDOW)
    expect(DataError, "no spectrum inside", import_bosz2017, tmp_path, WINDOW, {"teff": (9000, 9500)})
    expect(LabelError, "unknown label 'feh'", import_bosz2017, tmp_path, WINDOW, {"feh": (0, 1)})
