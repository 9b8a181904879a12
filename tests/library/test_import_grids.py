"""Importers of PHOENIX, MARCS, Kurucz/Castelli and of FITS: generated files of the true format, real ones where they are."""

import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits

from real_files import FORMATS, needs_formats
from specvit.cli import main
from specvit.errors import ConfigError, DataError, LabelError, WavelengthRangeError
from specvit.library import SyntheticLibrary
from specvit.library.importers import (
    LibraryWindow,
    import_bosz2017,
    import_bosz2024,
    import_castelli,
    import_marcs,
    import_pfsspec,
    import_phoenix,
)
from test_import_bosz import CA_8542_VACUUM, line_spectrum, name_2017, name_2024, write_2017, write_2024

WINDOW = LibraryWindow(8500.0, 8600.0, 20_000.0)


def line_centre(library, row=0):
    normalised = library.flux[row] / line_spectrum(library.grid.wavelength, 1, 0)[1]
    dip = normalised.max() - normalised
    return (dip * library.grid.wavelength).sum() / dip.sum()


def write_phoenix(folder, teff=5000, log_g=4.5, m_h=0.0, alpha=0.0, header=None):
    """One image in erg/s/cm²/cm with the archive's keywords, and the wavelengths above it, vacuum."""
    wavelength = np.exp(np.arange(np.log(8450.0), np.log(8650.0), 1 / 500_000))
    fits.writeto(folder / "WAVE_PHOENIX-ACES-AGSS-COND-2011.fits", wavelength, overwrite=True)
    flux, _ = line_spectrum(wavelength, 100_000, 0.5)
    metals = f"{m_h:+.1f}" if m_h else "-0.0"
    mixture = f".Alpha={alpha:+.2f}" if alpha else ""
    place = folder / f"PHOENIX-ACES-AGSS-COND-2011/Z{metals}{mixture}"
    place.mkdir(parents=True, exist_ok=True)
    # The cards of the archive's files, as public readers of them print them.
    cards = {"PHXTEFF": float(teff), "PHXLOGG": log_g, "PHXM_H": m_h, "PHXALPHA": alpha, "PHXDUST": False, "PHXEOS": "ACES",
             "PHXBUILD": "02/Aug/2010", "PHXVER": "16.01.00B", "PHXMASS": 2.5808e33, "PHXREFF": 2.3335e11, "PHXLUM": 5.0287e34,
             "PHXMXLEN": 1.48701064748, "PHXXI_L": 1.49, "PHXXI_M": 1.49, "PHXXI_N": 1.49, "BUNIT": "erg/s/cm^2/cm"}  # fmt: skip
    name = f"lte{teff:05d}-{log_g:.2f}{metals}{mixture}.PHOENIX-ACES-AGSS-COND-2011-HiRes.fits"
    fits.writeto(place / name, (1e8 * flux).astype("f4"), fits.Header(cards | (header or {})))
    return place / name


def test_phoenix_names_labels_and_vacuum(tmp_path):
    for alpha in (0.0, 0.2, -0.2):
        for m_h in (-1.0, 0.0, 0.5):
            write_phoenix(tmp_path, m_h=m_h, alpha=alpha)
    library = import_phoenix(tmp_path, WINDOW)
    assert library.label_space.names == ("m_h", "alpha_m")
    assert sorted(map(tuple, library.labels)) == sorted((m, a) for m in (-1, 0, 0.5) for a in (-0.2, 0, 0.2))
    assert library.provenance["fixed_labels"] == {"teff": 5000.0, "log_g": 4.5}
    assert library.provenance["left_out"] == {}
    assert line_centre(library) == pytest.approx(CA_8542_VACUUM, abs=0.01)
    # The folder of spectra alone: the wavelengths are found beside it, as in the archive.
    below = import_phoenix(tmp_path / "PHOENIX-ACES-AGSS-COND-2011", WINDOW, {"alpha_m": (0, 0)})
    assert below.provenance["left_out"] == {"outside the limits": 6}


def test_phoenix_mistakes(tmp_path):
    renamed = write_phoenix(tmp_path, teff=5000, header={"PHXTEFF": 5100})
    write_phoenix(tmp_path, teff=5200)
    with pytest.raises(DataError, match=r"header says PHXTEFF = 5100, its name 5000"):
        import_phoenix(tmp_path, WINDOW)
    renamed.unlink()
    per_hertz = write_phoenix(tmp_path, teff=5000, header={"BUNIT": "erg/s/cm^2/Hz"})
    with pytest.raises(DataError, match=r"fluxes are in 'erg/s/cm\^2/Hz', expected erg/s/cm\^2/cm"):
        import_phoenix(tmp_path, WINDOW)
    per_hertz.unlink()
    cut = write_phoenix(tmp_path, teff=5000)
    cut.write_bytes(cut.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"lte05000.*not a complete FITS file"):
        import_phoenix(tmp_path, WINDOW)
    with pytest.raises(LabelError, match="has no label 'c_m'"):
        import_phoenix(tmp_path, WINDOW, {"c_m": (0, 0)})
    (tmp_path / "WAVE_PHOENIX-ACES-AGSS-COND-2011.fits").unlink()
    with pytest.raises(DataError, match=r"WAVE_PHOENIX.*not found.*HiResFITS"):
        import_phoenix(tmp_path, WINDOW)


def write_marcs(folder, teff, alpha=0.0, geometry="p", mass=0.0, oxygen=None, vmic=2, rows=None):
    """One column, and the file of wavelengths in vacuum at λ/Δλ = 20 000."""
    wavelength = np.exp(np.arange(np.log(8300.0), np.log(8800.0), 1 / 20_000))
    np.savetxt(folder / "flx_wavelengths.vac", wavelength, fmt="%.6f")
    flux, _ = line_spectrum(wavelength, 5_000, 0.5)
    oxygen = alpha if oxygen is None else oxygen
    name = (
        f"{geometry}{teff}_g+3.5_m{mass:.1f}_t{vmic:02d}_st_z+0.00_a{alpha:+.2f}_c+0.00_n+0.00_o{oxygen:+.2f}"
        "_r+0.00_s+0.00.flx"
    )
    np.savetxt(folder / name, flux[:rows], fmt="%12.5E")


def test_marcs_names_labels_and_geometry(tmp_path):
    for teff in (5000, 5250):
        for alpha in (0.0, 0.4):
            write_marcs(tmp_path, teff, alpha)
    (tmp_path / "p5000.mod").write_text("a model atmosphere")
    window = LibraryWindow(8450.0, 8650.0, 5_000.0)
    library = import_marcs(tmp_path, window)
    assert library.label_space.names == ("teff", "alpha_m")
    assert library.provenance["left_out"] == {"other files": 1} or library.provenance["left_out"] == {
        "model atmospheres": 1
    }
    assert line_centre(library) == pytest.approx(CA_8542_VACUUM, abs=0.02)
    with pytest.raises(WavelengthRangeError, match="at most 10000"):
        import_marcs(tmp_path, LibraryWindow(8450.0, 8650.0, 20_000.0))
    write_marcs(tmp_path, 5000, geometry="s", mass=1.0)
    with pytest.raises(DataError, match=r"same labels as .*--atmosphere"):
        import_marcs(tmp_path, window)
    chosen = import_marcs(tmp_path, window, atmosphere="p")
    assert chosen.provenance["left_out"]["of another atmosphere"] == 1
    write_marcs(tmp_path, 5500, alpha=0.4, oxygen=0.0)
    with pytest.raises(DataError, match=r"O over alpha -0\.40"):
        import_marcs(tmp_path, window, atmosphere="p")
    write_marcs(tmp_path, 5500, rows=100)
    with pytest.raises(DataError, match="has 100 rows"):
        import_marcs(tmp_path, window, {"alpha_m": (0, 0)}, atmosphere="p")


def fortran(value):
    """1PE10.4: the E gives way to the third digit of an exponent."""
    text = f"{value:10.4E}"
    mantissa, _, exponent = text.partition("E")
    return text if len(exponent) == 3 else f"{mantissa}{exponent}"


def write_castelli(path, teffs=(4500.0, 5000.0), log_gs=(4.0, 4.5), cut=0, ends="\n"):
    """A heading, END, 1221 wavelengths in nm, and for each model flux and continuum, 1P8E10.4, per Hz.

    As Kurucz's FLUXPACK writes them; the far ultraviolet of a cool star is next to nothing, or nothing.
    """
    wavelength = np.concatenate([np.linspace(9.09, 499, 700), np.arange(500.0, 1541.9, 2)])
    lines = ["KURUCZ ATLAS9 FLUXES", "END"]
    lines += [" ".join(f"{w:9.2f}" for w in wavelength[at : at + 8]) for at in range(0, 1221, 8)]
    for teff in teffs:
        for log_g in log_gs:
            lines.append(f"TEFF{teff:8.0f}.  GRAVITY{log_g:8.5f} LTE  TITLE  [0.0] VTURB=2")
            continuum = 1e-5 * (wavelength / 850) ** 2 * teff / 5000
            continuum[:40], continuum[40:60] = 0.0, 1.2345e-104
            for values in (continuum * 0.9, continuum):
                lines += ["".join(map(fortran, values[at : at + 8])) for at in range(0, 1221, 8)]
    path.write_text(ends.join(lines[: len(lines) - cut]) + ends, newline="")


def test_castelli_files_hold_many_models_and_their_alpha(tmp_path):
    for name in ("fp00k2odfnew.pck", "fp00ak2odfnew.pck", "fm05k2odfnew.pck", "fm05ak2odfnew.pck"):
        write_castelli(tmp_path / name)
    window = LibraryWindow(7500.0, 8500.0, 150.0)
    library = import_castelli(tmp_path, window)
    assert len(library) == 16
    assert library.label_space.names == ("teff", "log_g", "m_h", "alpha_m")
    assert set(library.labels[:, 2]) == {-0.5, 0.0}
    assert set(library.labels[:, 3]) == {0.0, 0.4}
    # H(ν) as λ² is a constant H(λ); the continuum keeps its ratio.
    np.testing.assert_allclose(library.flux / library.flux[:, :1], 1, rtol=1e-3)
    level = [np.interp(library.continuum_wavelength, library.grid.wavelength, row) for row in library.flux]
    np.testing.assert_allclose(np.array(level) / library.continuum, 0.9, rtol=1e-3)
    # Some copies have the line ends of an old Macintosh.
    (tmp_path / "old").mkdir()
    write_castelli(tmp_path / "old/fp00k2odfnew.pck", ends="\r")
    np.testing.assert_array_equal(
        import_castelli(tmp_path / "old", window).flux,
        library.flux[(library.labels[:, 2] == 0) & (library.labels[:, 3] == 0)],
    )
    shutil.rmtree(tmp_path / "old")
    write_castelli(tmp_path / "fp05k2odfnew.pck", cut=1)
    with pytest.raises(
        DataError, match=r"fp05k2odfnew\.pck: fluxes of Teff = 5000, log g = 4\.5: expected 2442"
    ):
        import_castelli(tmp_path, window)
    write_castelli(tmp_path / "fp05k2odfnew.pck")
    (tmp_path / "fp05k2odfnew.pck").rename(tmp_path / "fp05k4odfnew.pck")
    with pytest.raises(DataError, match="microturbulence 4 km/s"):
        import_castelli(tmp_path, window)


def write_2017_fits(folder, teff, header=None):
    wavelength = np.exp(np.arange(np.log(8450.0), np.log(8650.0), 0.5 / 50_000))
    flux, continuum = line_spectrum(wavelength, 50_000, 0.5)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("Wavelength", "D", array=wavelength),
            fits.Column("SpecificIntensity", "E", array=flux),
            fits.Column("Continuum", "E", array=continuum),
        ]
    )
    primary = fits.PrimaryHDU()
    primary.header.update(
        {"T_EFF": float(teff), "LOGG": 4.5, "MH": 0.0, "CM": 0.0, "ALPHA": 0.0} | (header or {})
    )
    name = name_2017(teff).replace("asc.bz2", "fits")
    fits.HDUList([primary, table]).writeto(folder / name)
    return folder / name


def test_bosz2017_fits_is_the_same_as_ascii(tmp_path):
    for kind in ("fits", "ascii"):
        (tmp_path / kind).mkdir()
        for teff in (4750, 5000):
            if kind == "fits":
                write_2017_fits(tmp_path / kind, teff)
            else:
                write_2017(tmp_path / kind, name_2017(teff))
    one, two = (import_bosz2017(tmp_path / kind, WINDOW) for kind in ("fits", "ascii"))
    # ASCII wavelengths have three decimals.
    np.testing.assert_allclose(one.flux, two.flux, rtol=2e-3)
    np.testing.assert_allclose(one.continuum, two.continuum, rtol=1e-4)
    write_2017_fits(tmp_path / "fits", 5250, {"MH": 0.25})
    with pytest.raises(DataError, match=r"header says MH = 0\.25, its name 0"):
        import_bosz2017(tmp_path / "fits", WINDOW)


@needs_formats
def test_real_bosz2017_fits(tmp_path):
    (source,) = FORMATS.glob("amp00*.fits")
    shutil.copy(source, tmp_path)
    window = LibraryWindow(7000.0, 8950.0, 1_500.0)
    with pytest.raises(DataError, match="a library needs a range"):
        import_bosz2017(tmp_path, window)
    # One model makes no library; a copy under another gravity is told by its header.
    shutil.copy(source, tmp_path / source.name.replace("g45", "g40"))
    with pytest.raises(DataError, match=r"header says LOGG = 4\.5, its name 4"):
        import_bosz2017(tmp_path, window)


def test_bosz2024_in_the_archives_folders_with_two_resolutions(tmp_path):
    for resolution in (20_000, 50_000):
        names = [
            f"r{resolution}/m{m_h:+.2f}/{name_2024(m_h=m_h, resolution=resolution)}" for m_h in (0.0, -0.5)
        ]
        write_2024(tmp_path, names, resolution=resolution)
    (tmp_path / "wavelength_grids").mkdir()
    for wave in tmp_path.glob("bosz2024_wave*"):
        wave.rename(tmp_path / "wavelength_grids" / wave.name)
    unread = name_2024(m_h=0.0).replace("_r50000_resam", "_noresam")
    (tmp_path / "r50000/m+0.00" / unread).write_bytes(b"")
    with pytest.raises(DataError, match=r"R = 20000, 50000 .*choose one with --source-resolution"):
        import_bosz2024(tmp_path, WINDOW)
    library = import_bosz2024(tmp_path, WINDOW, source_resolution=50_000)
    assert library.provenance["source_resolution"] == 50_000
    assert library.provenance["left_out"] == {"noresam files": 1, "of another resolution": 2}
    with pytest.raises(DataError, match="no file of R = 10000; there are 20000, 50000"):
        import_bosz2024(tmp_path, WINDOW, source_resolution=10_000)
    # One resolution's folder alone finds its wavelengths beside it.
    assert len(import_bosz2024(tmp_path / "r50000", WINDOW)) == 2
    out = tmp_path / "a.h5"
    window = ["--start", "8500", "--stop", "8600", "--out", str(out)]
    assert (
        main(["library", "import", "bosz2024", str(tmp_path), "--source-resolution", "20000", *window]) == 0
    )
    assert SyntheticLibrary.load(out).provenance["source_resolution"] == 20_000


def test_the_command_says_what_was_left_out_and_refuses_foreign_options(tmp_path, capsys):
    for teff in (4750, 5000, 5250):
        write_2017(tmp_path, name_2017(teff))
    (tmp_path / "readme.txt").write_text("hello")
    arguments = ["library", "import", "bosz2017", str(tmp_path), "--out", str(tmp_path / "a.h5")]
    arguments += ["--start", "8500", "--stop", "8600"]
    assert main([*arguments, "--limit", "teff=4750:5000"]) == 0
    told = capsys.readouterr().err
    assert "left out: 1 other files" in told
    assert "left out: 1 outside the limits" in told
    assert main([*arguments, "--atmosphere", "mp"]) == ConfigError.exit_code
    assert "--atmosphere: says nothing of bosz2017 files" in capsys.readouterr().err


@needs_formats
def test_real_bosz2024_spectra_with_their_packed_wavelengths(tmp_path):
    for source in FORMATS.glob("bosz2024_*"):
        shutil.copy(source, tmp_path)
    library = import_bosz2024(tmp_path, LibraryWindow(7000.0, 8950.0, 4_000.0), {"log_g": (4, 5)})
    assert library.label_space.names == ("teff", "log_g")
    assert sorted(map(tuple, library.labels)) == [(4750, 4.5), (6000, 4.0)]
    # The strongest line of the window is Ca II 8542, at its vacuum wavelength.
    near = np.abs(library.grid.wavelength - CA_8542_VACUUM) < 20
    for row in library.flux:
        found = library.grid.wavelength[near][np.argmin(row[near])]
        assert found == pytest.approx(CA_8542_VACUUM, abs=1.0)
    packed = next(tmp_path.glob("*wave*"))
    (tmp_path / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    again = import_bosz2024(tmp_path, LibraryWindow(7000.0, 8950.0, 4_000.0))
    np.testing.assert_array_equal(library.flux, again.flux)


@needs_formats
def test_real_rows_of_a_pfsspec_grid_and_the_reach_of_their_file():
    source = FORMATS / "bosz_5000_test.h5"
    library = import_pfsspec(source, 5_000, LibraryWindow(8050.0, 8950.0, 4_000.0))
    assert len(library) == 120
    assert library.label_space.names == ("teff", "log_g", "m_h")
    assert library.provenance["left_out"] == {"array 'pdx'": 1}
    # Hotter stars have stronger Paschen lines and weaker Ca II.
    with pytest.raises(
        WavelengthRangeError, match=r"covers 8000\.5-8999\.8 .*inside 80\d\d\.\d-89\d\d\.\d Å"
    ) as told:
        import_pfsspec(source, 5_000, LibraryWindow(7000.0, 8950.0, 4_000.0))
    first, last = (float(part) for part in str(told.value).split("inside ")[1].split(" Å")[0].split("-"))
    assert import_pfsspec(source, 5_000, LibraryWindow(first, last, 4_000.0)).grid.start == pytest.approx(
        first
    )
