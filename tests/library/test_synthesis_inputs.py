"""Readers of the synthesis: line lists, model atmospheres, designs; and the hydrostatic equation."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from real_files import FORMATS, needs_formats
from specvit.errors import DataError, DomainError, LabelError, RunError
from specvit.library.synthesis.atmosphere import BOLTZMANN, read_atmospheres
from specvit.library.synthesis.atmosphere_grid import AtmosphereGrid
from specvit.library.synthesis.design import read_design, sobol_design
from specvit.library.synthesis.engine import hydrogen_levels
from specvit.library.synthesis.hydrostatic import solve_gas_pressure
from specvit.library.synthesis.isotopes import SOLAR_PER_CENT, isotopes_in, log_solar_share
from specvit.library.synthesis.lines import LineTable, read_lines
from specvit.spectra.air import air_to_vacuum

FOOTER = """'castelli_ap00k2_T05750G45.krz',
'H :  0.92','He: -1.05',
'Li:-10.99','Be:-10.66','B : -9.34','C : -3.65','N : -4.26','O : -3.38',
'END'
* oscillator strengths were scaled by the solar isotopic ratios.
 References:
  1. Ca II: Theodosiou
"""

VALD_SHORT = (
    """ 8540.00000, 8546.00000, 3, 4177, 2.0 Wavelength region, lines selected, lines processed, Vmicro
                                                 Damping parameters   Lande  Central
Spec Ion       WL_air(A) Excit(eV) Vmic log gf*  Rad.   Stark  Waals  factor  depth  Reference
'Fe 1',        8543.0000,  4.9130, 2.0, -2.000, 8.000,-5.000,-7.700,  1.100, 0.100, '  1 wl:K14   1 K14 Fe   '
'Ca 2',        8542.0910,  1.7000, 2.0, -0.463, 8.230,-5.730,-7.710,  1.100, 0.900, '  2 wl:T   2 T Ca+   '
'CN 1',        8541.5000,  0.7450, 2.0, -2.660, 7.000, 0.000, 0.000, 99.000, 0.010, '  3 wl:BR  3 BR CN   '
"""
    + FOOTER
)

VALD_ALL_NM_VACUUM = """                                             Damping parameters   Lande
Elm Ion       WL_vac(nm) Excit(cm^-1) log gf*   Rad.  Stark    Waals  factor   References
'Ca 2',        854.44380,   13710.880, -0.463, 8.230,-5.730,-7.710,  1.100,'  2 T Ca+   '
* oscillator strengths were scaled by the solar isotopic ratios.
"""

VALD_LONG = (
    """ 8540.00000, 8546.00000, 1, 4177, 2.0 Wavelength region, lines selected, lines processed, Vmicro
                                                                     Lande factors       Damping parameters
Spec Ion       WL_air(A)  log gf* E_low(eV) J lo E_up(eV)  J up  lower   upper    mean   Rad.   Stark  Waals
'Ca 2',        8542.09100, -0.463,  1.7000,  2.5,  3.1510,  1.5,  1.200,  1.334,  1.100, 8.230,-5.730,-7.710,
'  LS                                                                    3p6.3d 2D'
'  LS                                                                    3p6.4p 2P*'
'_          Ca II   2 wl:T   2 T                                              Ca+           '
"""
    + FOOTER
)


def check_calcium(lines):
    assert lines.species[-1 if len(lines) == 1 else 1] == "Ca 2"
    row = int(np.argmax(lines.species == "Ca 2"))
    assert lines.wavelength_air[row] == pytest.approx(8542.091, abs=1e-3)
    assert lines.excitation_ev[row] == pytest.approx(1.70, abs=1e-3)
    values = [column[row] for column in lines.columns()[3:]]
    np.testing.assert_allclose(values, [-0.463, 8.23, -5.73, -7.71])


@pytest.mark.parametrize(("text", "count"), [(VALD_SHORT, 3), (VALD_ALL_NM_VACUUM, 1), (VALD_LONG, 1)])
def test_vald_formats_give_the_same_line(tmp_path, text, count):
    path = tmp_path / "vald.lin"
    path.write_text(text)
    lines = read_lines(path)
    assert len(lines) == count
    assert (np.diff(lines.wavelength_air) >= 0).all()
    check_calcium(lines)


def test_pysme_reads_the_same_vald_file_alike(tmp_path):
    vald = pytest.importorskip("pysme.linelist.vald")
    path = tmp_path / "all.lin"
    path.write_text(VALD_ALL_NM_VACUUM.replace("nm", "A").replace("854.44380", "8544.4380"))
    theirs, ours = vald.ValdFile(str(path)), read_lines(path)
    assert air_to_vacuum(ours.wavelength_air[0]) == pytest.approx(float(theirs["wlcent"][0]), abs=1e-4)
    for mine, name in zip(ours.columns()[2:], ("excit", "gflog", "gamrad", "gamqst", "gamvw"), strict=True):
        assert mine[0] == pytest.approx(float(theirs[name][0]), rel=1e-4)


def test_csv_line_list_and_its_mistakes(tmp_path):
    path = tmp_path / "lines.csv"
    path.write_text(
        "species,wavelength_air,excitation_ev,log_gf,gamma_rad,gamma_stark,gamma_waals\n"
        "Ti 1,8548.088,1.872,-1.16,,,\nCa 2,8542.091,1.70,-0.463,8.23,-5.73,-7.71\n"
    )
    lines = read_lines(path)
    assert list(lines.species) == ["Ca 2", "Ti 1"]
    assert lines.gamma_rad[1] == 0
    assert len(lines.within(8545, 8550)) == 1
    for text, message in (
        ("species,wavelength_air\nCa 2,8542\n", "no column 'excitation_ev'"),
        ("species,wavelength_air,excitation_ev,log_gf\nCa II,8542,1.7,-0.4\n", "line 2: species 'Ca II'"),
        ("species,wavelength_air,excitation_ev,log_gf\nCa 2,x,1.7,-0.4\n", "line 2: .*expected numbers"),
        ("species,wavelength_air,excitation_ev,log_gf\n", "holds no lines"),
        ("species,wavelength_air,excitation_ev,log_gf\nCa 2,nan,1.7,-0.4\n", "has a NaN"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=rf"lines\.csv: .*{message}|lines\.csv: {message}"):
            read_lines(path)


def test_truncated_and_foreign_line_lists(tmp_path):
    path = tmp_path / "vald.lin"
    path.write_text("\n".join(VALD_SHORT.splitlines()[:4]))
    with pytest.raises(DataError, match="announces 3 lines, holds 1"):
        read_lines(path)
    path.write_text("hello\n")
    with pytest.raises(DataError, match="not a VALD extract"):
        read_lines(path)
    with pytest.raises(DataError, match="no such file"):
        read_lines(tmp_path / "absent.lin")


def test_heading_with_wavenumbers_under_its_other_name_is_read_as_such(tmp_path):
    path = tmp_path / "vald.lin"
    path.write_text(VALD_ALL_NM_VACUUM.replace("Excit(cm^-1)", "Ex(cm^-1)"))
    check_calcium(read_lines(path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Excit(cm^-1)", "Excit(Ry)", r"'Excit\(Ry\)'.*eV or cm\^-1"),
        ("Excit(cm^-1)", "Excit", "no column Excit, Ex or E_low with its unit"),
        ("WL_vac(nm)", "WL_vac(mum)", r"'WL_vac\(mum\)'.*Å or nm"),
        ("WL_vac(nm)", "WN_vac(cm^-1)", "WN_vac.*Å or nm"),
        ("were scaled by the solar", "were scaled by the lunar", "its footer says .*lunar"),
    ],
)
def test_units_and_footers_that_are_not_known_are_refused(tmp_path, old, new, message):
    path = tmp_path / "vald.lin"
    assert old in VALD_ALL_NM_VACUUM
    path.write_text(VALD_ALL_NM_VACUUM.replace(old, new))
    with pytest.raises(DataError, match=message):
        read_lines(path)


@pytest.mark.parametrize("form", ["short", "long"])
def test_strengths_that_were_not_scaled_by_isotopes_are_scaled(tmp_path, form):
    text = VALD_SHORT if form == "short" else VALD_LONG
    tagged = text.replace(" Ca+  ", " (44)Ca+  ").replace("were scaled", "were NOT scaled")
    assert "(44)Ca+" in tagged
    path = tmp_path / "vald.lin"
    path.write_text(tagged)
    lines = read_lines(path)
    calcium = lines.log_gf[lines.species == "Ca 2"]
    assert calcium == pytest.approx(-0.463 + np.log10(0.02086), abs=1e-4)
    # Lines without an isotope, and those of a list that was scaled, stay as they are.
    assert form == "long" or lines.log_gf[lines.species == "Fe 1"] == pytest.approx(-2.0)
    path.write_text(tagged.replace("were NOT scaled", "were scaled"))
    assert read_lines(path).log_gf[read_lines(path).species == "Ca 2"] == pytest.approx(-0.463)
    path.write_text(tagged.replace("(44)Ca", "(41)Ca"))
    with pytest.raises(DataError, match=r"share of \(41\)Ca is not known"):
        read_lines(path)
    path.write_text("\n".join(line for line in tagged.splitlines() if not line.startswith("*")))
    with pytest.raises(DataError, match=r"footer .* is missing"):
        read_lines(path)


def test_isotopes_of_an_element_make_the_whole():
    for element, shares in SOLAR_PER_CENT.items():
        assert sum(shares.values()) == pytest.approx(100, abs=0.02), element
    assert isotopes_in("(12)C(14)N") == [(12, "C"), (14, "N")]
    assert isotopes_in("(24)MgH") == [(24, "Mg")]
    assert isotopes_in("(12)CH") == [(12, "C")]
    pairs = [log_solar_share([(a, "C"), (b, "C")]) for a, b in ((12, 12), (12, 13), (13, 13))]
    assert sum(10**share for share in pairs) == pytest.approx(1)


@needs_formats
def test_real_vald_extract_in_wavenumbers_has_h_alpha_and_scaled_magnesium_hydride():
    lines = read_lines(FORMATS / "testcase2.lin")
    assert len(lines) == 53
    hydrogen = lines.species == "H 1"
    assert lines.wavelength_air[hydrogen] == pytest.approx(6562.8, abs=0.1)
    assert lines.excitation_ev[hydrogen] == pytest.approx(10.2, abs=0.01)
    assert lines.excitation_ev.max() < 20
    first = int(np.flatnonzero(lines.species == "MgH 1")[0])
    assert lines.log_gf[first] == pytest.approx(-0.765 + np.log10(0.7899), abs=1e-3)


def test_hydrogen_levels_from_the_rydberg_formula():
    wavelength = np.array([8545.383, 8750.472, 6562.8])
    zero = np.zeros(3)
    lines = LineTable(
        np.array(["H 1"] * 3), wavelength, np.array([12.0875, 12.0875, 10.1988]), zero, zero, zero, zero
    )
    lower, upper = hydrogen_levels(lines)
    np.testing.assert_array_equal(lower, [3, 3, 2])
    np.testing.assert_array_equal(upper, [15, 12, 3])


def structure(teff, log_g, layers=40):
    """A grey structure: T⁴ = 3/4 Teff⁴ (tau + 2/3), with a pressure of the right size."""
    tau = np.logspace(-4, 1.5, layers)
    return tau, teff * (0.75 * (tau + 2 / 3)) ** 0.25, 10 ** (log_g + 0.6) * tau**0.6


def atlas9_text(teff, log_g, scale=1.0, layers=40):
    _, temperature, pressure = structure(teff, log_g, layers)
    rhox = pressure / 10**log_g
    rows = "\n".join(
        f" {x:.8E} {t:8.1f} {p:.3E} {n:.3E} 1.000E-03 1.000E-02 2.000E+05 0.000E+00 0.000E+00 8.0E+05"
        for x, t, p, n in zip(
            rhox, temperature, pressure, 1e-4 * pressure / BOLTZMANN / temperature, strict=True
        )
    )
    return f"""TEFF   {teff:.0f}.  GRAVITY {log_g:.5f} LTE
TITLE  [0.0] VTURB=2  L/H=1.25 NOVER NEW ODF
 OPACITY IFOP 1 1 1 1 1 1 1 1 1 1 1 1 1 0 1 0 0 0 0 0
 CONVECTION ON   1.25 TURBULENCE OFF  0.00  0.00  0.00  0.00
ABUNDANCE SCALE   {scale:.5f} ABUNDANCE CHANGE 1 0.92040 2 0.07834
 ABUNDANCE CHANGE  3 -10.94  4 -10.64  5  -9.49  6  -3.52  7  -4.12  8  -3.21
READ DECK6 {layers} RHOX,T,P,XNE,ABROSS,ACCRAD,VTURB, FLXCNV,VCONV,VELSND
{rows}
PRADK 1.4878E+00
BEGIN                    ITERATION  15 COMPLETED
"""


def marcs_text(teff, log_g, m_h=0.0, layers=40):
    tau, temperature, pressure = structure(teff, log_g, layers)
    first = "\n".join(
        f" {k + 1:3d} {np.log10(t5):5.2f} {np.log10(t5):8.4f} -1.000E+07 {t:7.1f} {1e-4 * p:11.4E} {p:11.4E}"
        f" 1.0000E+00 0.0000E+00"
        for k, (t5, t, p) in enumerate(zip(tau, temperature, pressure, strict=True))
    )
    second = "\n".join(
        f" {k + 1:3d} {np.log10(t5):5.2f} 1.0000E-03 1.0000E-08 1.300 0.0000E+00 0.00000 {p / 10**log_g:.6E}"
        for k, (t5, p) in enumerate(zip(tau, pressure, strict=True))
    )
    return f"""p{teff:.0f}_g+{log_g:.1f}_m0.0_t02_st_z{m_h:+.2f}_a+0.00_c+0.00_n+0.00_o+0.00_r+0.00_s+0.00
  {teff:.0f}.      Teff [K].         Last iteration; yyyymmdd=20060608
  3.5400E+10 Flux [erg/cm2/s]
  {10**log_g:.4E} Surface gravity [cm/s2]
  2.0        Microturbulence parameter [km/s]
  0.0        No mass for plane-parallel models
 {m_h:+.2f} +0.00 Metallicity [Fe/H] and [alpha/Fe]
  1.0000E+00 1 cm radius for plane-parallel models
  5.7000E-12 Luminosity [Lsun] FOR A RADIUS OF 1 cm!
  1.50 8.00 0.076 0.00 are the convection parameters: alpha, nu, y and beta
  0.73826 0.24954 1.22E-02 are X, Y and Z, 12C/13C=89 (=solar)
Logarithmic chemical number abundances, H always 12.00
  12.00  10.93   1.05   1.38   2.70   8.39   7.78   8.66   4.56   7.84
  {layers} Number of depth points
Model structure
 k lgTauR  lgTau5    Depth     T        Pe          Pg         Prad       Pturb
{first}
 k lgTauR    KappaRoss   Density   Mu      Vconv   Fconv/F      RHOX
{second}
Assorted logarithmic partial pressures
"""


def test_atlas9_marcs_and_npz_give_the_same_structure(tmp_path):
    (tmp_path / "t5000.mod").write_text(atlas9_text(5000, 3.0, 0.1))
    (tmp_path / "p5000.mod").write_text(marcs_text(5000, 3.0, -1.0))
    tau, temperature, pressure = structure(5000, 3.0)
    np.savez(tmp_path / "own.npz", teff=5000, log_g=3.0, m_h=-1.0, temperature=temperature, tau5000=tau)
    atlas, marcs, own = (
        read_atmospheres([tmp_path / name])[0] for name in ("t5000.mod", "p5000.mod", "own.npz")
    )
    for model in (atlas, marcs, own):
        assert (model.teff, model.log_g, model.m_h) == (5000, pytest.approx(3.0, abs=1e-4), -1.0)
        np.testing.assert_allclose(model.temperature, temperature, rtol=2e-5)
    assert (atlas.scale, marcs.scale, own.scale) == ("rhox", "tau5000", "tau5000")
    np.testing.assert_allclose(atlas.gas_pressure, pressure, rtol=1e-3)
    np.testing.assert_allclose(marcs.gas_pressure, pressure, rtol=1e-4)
    np.testing.assert_allclose(atlas.electron_pressure, 1e-4 * pressure, rtol=2e-3)
    np.testing.assert_allclose(marcs.depth, tau, rtol=2e-4)
    assert own.gas_pressure is None


def test_an_atlas9_file_may_hold_several_models_and_a_folder_several_files(tmp_path):
    (tmp_path / "grid.dat").write_text(atlas9_text(4000, 2.0) + atlas9_text(4250, 2.0))
    (tmp_path / "more.dat").write_text(atlas9_text(4500, 2.0))
    assert [model.teff for model in read_atmospheres([tmp_path])] == [4000, 4250, 4500]


def test_broken_atmospheres_are_named(tmp_path):
    path = tmp_path / "bad.mod"
    for text, message in (
        ("\n".join(atlas9_text(4000, 2.0).splitlines()[:20]), "announces 40 layers, holds 13"),
        (
            atlas9_text(4000, 2.0).replace("ABUNDANCE SCALE", "ABUNDANCES"),
            "no TEFF, GRAVITY and ABUNDANCE SCALE",
        ),
        (marcs_text(4000, 2.0).replace("lgTau5", "lgTauX"), "no 'Model structure' block"),
        (marcs_text(4000, 2.0).replace("Surface gravity", "Gravity"), "no line 'Surface gravity'"),
        ("something else", "neither an ATLAS9"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=rf"bad\.mod: {message}"):
            read_atmospheres([path])
    with pytest.raises(DataError, match="no such file"):
        read_atmospheres([tmp_path / "absent.mod"])
    np.savez(
        tmp_path / "own.npz", teff=5000, log_g=3.0, m_h=0.0, temperature=np.ones(20), rhox=np.arange(1.0, 21)
    )
    with pytest.raises(DataError, match="needs gas_pressure"):
        read_atmospheres([tmp_path / "own.npz"])


def grid_of(points, **options):
    with tempfile.TemporaryDirectory() as folder:
        for teff, log_g, m_h in points:
            (Path(folder) / f"{teff}_{log_g}_{m_h}.mod").write_text(marcs_text(teff, log_g, m_h, **options))
        return AtmosphereGrid(read_atmospheres([folder]))


def test_interpolation_reproduces_models_and_is_log_linear_between():
    corners = [(t, g, m) for t in (4000, 5000) for g in (2.0, 3.0) for m in (-1.0, 0.0)]
    grid = grid_of(corners)
    node = grid.at(5000, 3.0, 0.0)
    np.testing.assert_allclose(node.temperature, structure(5000, 3.0)[1], rtol=2e-4)
    between = grid.at(4500, 2.0, -0.5)
    expected = np.sqrt(structure(4000, 2.0)[1] * structure(5000, 2.0)[1])
    np.testing.assert_allclose(between.temperature, expected, rtol=2e-4)
    with pytest.raises(DomainError, match="not between the model atmospheres"):
        grid.at(5200, 2.5, -0.5)


def test_axes_without_a_range_are_frozen_except_metallicity():
    grid = grid_of([(4000, 2.0, 0.0), (4500, 2.0, 0.0), (5000, 2.0, 0.0)])
    assert grid.frozen == {"log_g": pytest.approx(2.0, abs=1e-4), "m_h": 0.0}
    np.testing.assert_allclose(grid.at(4500, 2.0, -1.0).temperature, structure(4500, 2.0)[1], rtol=2e-4)
    with pytest.raises(DomainError, match="log_g = 3: all model atmospheres have log_g = 2"):
        grid.at(4500, 3.0, 0.0)
    with pytest.raises(DomainError, match="not between"):
        grid.at(3900, 2.0, 0.0)


def test_models_that_cannot_be_combined():
    with pytest.raises(DataError, match="do not span teff, log_g"):
        grid_of([(4000, 2.0, 0.0), (5000, 3.0, 0.0)])
    first = grid_of([(4000, 2.0, 0.0)]).models
    other = grid_of([(5000, 2.0, 0.0)], layers=30).models
    with pytest.raises(DataError, match=r"30 layers on tau5000, but .* has 40"):
        AtmosphereGrid(first + other)
    with pytest.raises(DataError, match="two models have the same"):
        AtmosphereGrid(first + grid_of([(4000, 2.0, 0.0), (4500, 2.0, 0.0)]).models)


def test_hydrostatic_pressure_against_the_closed_form():
    tau, gravity, exponent, factor = np.logspace(-5, 1.5, 60), 1e3, 0.8, 1e-6
    pressure = solve_gas_pressure(lambda p: factor * p**exponent, tau, teff=10.0, log_g=3.0)
    expected = ((1 + exponent) * gravity * tau / factor) ** (1 / (1 + exponent))
    np.testing.assert_allclose(pressure, expected, rtol=2e-3)
    with pytest.raises(RunError, match="still changes"):
        solve_gas_pressure(lambda p: factor * p**-0.9, tau, teff=10.0, log_g=3.0)


def test_design_from_csv_and_its_mistakes(tmp_path):
    path = tmp_path / "design.csv"
    path.write_text("teff,log_g,m_h,c_m\n5000,3,0,0.1\n5000,3,-1,0\n")
    design = read_design(path)
    np.testing.assert_array_equal(design.values, [[5000, 3, 0, 0, 0.1], [5000, 3, -1, 0, 0]])
    for text, error, message in (
        ("teff,log_g\n5000,3\n", LabelError, "no column 'm_h'"),
        ("teff,log_g,m_h,feh\n5000,3,0,0\n", LabelError, "unknown column 'feh'"),
        ("teff,log_g,m_h\n5000,three,0\n", DataError, "line 2: log_g = 'three'"),
        ("teff,log_g,m_h\n5000,nan,0\n", DataError, "line 2: log_g = 'nan'"),
        ("teff,log_g,m_h\n5000,3,0\n5000,3,0\n", DataError, "two rows"),
    ):
        path.write_text(text)
        with pytest.raises(error, match=message):
            read_design(path)


def test_sobol_design_fills_the_box_and_is_a_prefix_of_a_longer_one():
    limits = {"teff": (4000.0, 6000.0), "log_g": (1.0, 5.0), "m_h": (-2.0, 0.0), "alpha_m": (0.4, 0.4)}
    short, long = sobol_design(limits, 20, seed=3), sobol_design(limits, 64, seed=3)
    np.testing.assert_array_equal(short.values, long.values[:20])
    assert (long.values[:, 3] == 0.4).all()
    assert (long.values[:, 4] == 0.0).all()
    assert np.histogram(long.values[:, 0], bins=8, range=(4000, 6000))[0].tolist() == [8] * 8
    with pytest.raises(LabelError, match="no limits for m_h"):
        sobol_design({"teff": (4000, 6000), "log_g": (1, 5)}, 8)
    with pytest.raises(LabelError, match="limits of teff are not finite"):
        sobol_design(limits | {"teff": (4000.0, np.inf)}, 8)
    with pytest.raises(DataError, match="at least 1 point"):
        sobol_design(limits, 0)
