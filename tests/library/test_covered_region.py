"""Holes of a library: where an emulator answers, what priors draw from, and what is said of it."""

import numpy as np
import pytest
import torch

from specvit.cli import main
from specvit.errors import ConfigError, DataError, DomainError
from specvit.library import CoveredCells, Emulator, SyntheticLibrary, load_builtin
from specvit.library.coverage import covered_region
from specvit.library.regressor import CoefficientNetwork
from specvit.simulate.priors import CoveredPrior, DensityPrior, MarginalPrior, UniformPrior, make_prior
from specvit.spectra import LabelSpace, WavelengthGrid

SPACE = LabelSpace(("teff", "log_g", "m_h"), ("K", "dex", "dex"), (4000.0, 1.0, -2.0), (6000.0, 4.0, 0.0))
AXES = (np.linspace(4000, 6000, 6), np.linspace(1, 4, 5), np.linspace(-2, 0, 4))
GRID = WavelengthGrid.linear(8400.0, 0.5, 400)


def grid_labels(missing=lambda t, g, m: False):
    labels = np.stack([a.ravel() for a in np.meshgrid(*AXES, indexing="ij")], axis=1)
    return labels[[not missing(*row) for row in labels]]


def corner(t, g, m):
    """A corner of the grid: cool stars of high gravity."""
    return t < 4500 and g > 3


def spectra(labels):
    t, g, m = (labels[:, k : k + 1] for k in range(3))
    depth = 0.3 * np.exp((5000 - t) / 2000) * 10 ** (0.2 * m)
    width = 1 + 0.4 * g
    return 1 - depth * np.exp(-0.5 * ((GRID.wavelength - 8500) / width) ** 2)


def library(labels):
    return SyntheticLibrary(labels, spectra(labels), GRID, 20_000.0, SPACE, {"name": "holed"})


def test_a_full_grid_covers_its_box_and_the_builtin_design_too():
    assert covered_region(grid_labels(), SPACE) is None
    built = load_builtin()
    assert covered_region(built.labels, built.label_space) is None


def test_the_cells_around_missing_nodes_are_not_covered():
    coverage = covered_region(grid_labels(corner), SPACE)
    # Nodes at 4000 and 4400 K with log g 3.25 and 4 are missing: cells up to 4800 K and from log g 2.5 on.
    inside = np.array([[4700.0, 3.9, -1.0], [4100.0, 2.6, -0.1], [4790.0, 2.6, 0.0]])
    outside = np.array([[4810.0, 3.9, -1.0], [4100.0, 2.4, -0.1], [4000.0, 1.0, -2.0]])
    assert not coverage.covers(inside).any()
    assert coverage.covers(outside).all()
    assert coverage.share == pytest.approx(1 - 0.4 * 0.5)
    # On a face with a covered cell it still interpolates; float32 of a bound is on it.
    faces = torch.tensor([[4800.0, 3.0, -1.0], [4100.0, 2.5, -0.1]])
    assert coverage.covers(faces).all()
    with pytest.raises(DomainError, match=r"m_h = -1 lies where the library has no spectra"):
        coverage.check(inside, SPACE.names)


def test_a_single_hole_inside():
    coverage = covered_region(grid_labels(lambda t, g, m: (t, g) == (4800, 2.5)), SPACE)
    assert not coverage.covers(np.array([4900.0, 2.4, -1.0]))
    assert coverage.covers(np.array([5300.0, 2.4, -1.0]))


def test_scattered_labels_with_an_empty_quarter():
    rng = np.random.default_rng(1)
    labels = rng.uniform(SPACE.low, SPACE.high, (600, 3))
    assert covered_region(labels, SPACE) is None
    space = SPACE.select(["teff", "log_g"])
    labels = rng.uniform(space.low, space.high, (600, 2))
    labels = labels[~((labels[:, 0] > 5000) & (labels[:, 1] > 2.5))]
    coverage = covered_region(labels, space)
    assert coverage.share == pytest.approx(0.75, abs=0.1)
    assert not coverage.covers(np.array([5800.0, 3.8]))


def test_a_narrower_box_keeps_what_is_covered_of_it():
    coverage = covered_region(grid_labels(corner), SPACE)
    assert coverage.cut(SPACE.replace(teff=(5000, 6000))) is None
    half = coverage.cut(SPACE.replace(teff=(4600, 5000), log_g=(2.0, 4.0)))
    assert half.share == pytest.approx(1 - 0.5 * 0.75)
    with pytest.raises(DomainError, match="no spectra around teff 4000 to 4300"):
        coverage.cut(SPACE.replace(teff=(4000, 4300), log_g=(3, 4)))


def test_the_prior_is_uniform_where_it_is_covered():
    coverage = covered_region(grid_labels(corner), SPACE)
    prior = make_prior("uniform", SPACE, coverage)
    assert isinstance(prior, CoveredPrior)
    assert isinstance(prior, DensityPrior)
    assert isinstance(prior, MarginalPrior)
    labels = prior.sample(40_000, np.random.default_rng(3))
    assert labels.dtype == torch.float32
    assert coverage.covers(labels).all()
    for k, name in enumerate(SPACE.names):
        values = labels[:, k].double().numpy()
        assert prior.variance(name) == pytest.approx(values.var(), rel=0.03)
        at = np.quantile(values, [0.1, 0.35, 0.6, 0.9])
        np.testing.assert_allclose(prior.cumulative(name, at), [0.1, 0.35, 0.6, 0.9], atol=0.01)
    # The density is one over the covered volume, and integrates to one.
    box = UniformPrior(SPACE).sample(20_000, np.random.default_rng(4)).double()
    density = prior.log_density(box).exp()
    volume = np.prod(np.array(SPACE.high) - np.array(SPACE.low))
    assert float(density.mean()) * volume == pytest.approx(1, abs=0.02)
    assert "20.0% of the box" in coverage.describe_cut()
    assert isinstance(make_prior("uniform", SPACE.replace(teff=(5000, 6000)), coverage), UniformPrior)
    with pytest.raises(ConfigError, match=r"no spectra around 20\.0% of the box, and a lattice"):
        make_prior("lattice", SPACE, coverage)


def test_an_emulator_keeps_its_holes_and_answers_only_outside_them(tmp_path):
    coverage = covered_region(grid_labels(corner), SPACE)
    torch.manual_seed(0)
    network = CoefficientNetwork(SPACE, 3, 4, 2)
    emulator = Emulator(network, torch.ones(400), torch.randn(3, 400), GRID, 5000.0, SPACE, coverage=coverage)
    emulator.save(tmp_path / "e.safetensors")
    read = Emulator.load(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(read.coverage.filled, coverage.filled)
    hole = torch.tensor([[4200.0, 3.5, -1.0]])
    for each in (read, read.fold(np.eye(400), GRID, 5000.0)):
        each(torch.tensor([[5200.0, 3.5, -1.0]]))
        each(hole, check=False)
        for answer in (each, each.jacobian):
            with pytest.raises(DomainError, match="no spectra around it"):
                answer(hole)


def test_descriptions_that_are_none():
    whole = covered_region(grid_labels(corner), SPACE).to_dict()
    assert CoveredCells.from_dict(**whole, labels=3).share == pytest.approx(0.8)
    for changed, labels in (
        ({"empty": [10_000]}, 3),
        ({"empty": [-1]}, 3),
        ({"edges": whole["edges"][:2]}, 3),
        ({"edges": [[1.0], *whole["edges"][1:]]}, 3),
        ({"edges": [[2.0, 1.0], *whole["edges"][1:]], "empty": []}, 3),
        ({"empty": list(range(60))}, 3),
        ({}, 4),
    ):
        with pytest.raises(DataError, match="coverage: "):
            CoveredCells.from_dict(**{**whole, **changed}, labels=labels)


def test_build_and_simulate_say_what_is_cut(tmp_path, capsys):
    labels = grid_labels(corner)
    exchanged = library(labels)
    flux = exchanged.flux.copy()
    flux[[20, 70]] = flux[[70, 20]]
    SyntheticLibrary(labels, flux, GRID, 20_000.0, SPACE, {}).save(tmp_path / "l.h5")
    out, nodes = tmp_path / "e.safetensors", tmp_path / "nodes.csv"
    command = ["library", "build", str(tmp_path / "l.h5"), "--out", str(out), "--steps", "30"]
    assert main([*command, "--components", "4", "--nodes", str(nodes)]) == 0
    shown = capsys.readouterr()
    assert "the domain is 80.0% of the box" in shown.out
    assert "2 suspicious" in shown.out
    told = [line for line in shown.err.splitlines() if "suspicious: " in line]
    assert len(told) == 2
    assert all("exchanged?" in line for line in told)
    rows = [line.split(",") for line in nodes.read_text().splitlines()]
    assert rows[0] == ["row", "teff", "log_g", "m_h", "residual", "suspicious"]
    assert [int(row[0]) for row in rows[1:] if row[-1] == "1"] == [20, 70]
    emulator = Emulator.load(out)
    assert {node["row"] for node in emulator.errors["nodes"]["suspicious"]} == {20, 70}
    assert emulator.coverage.share == pytest.approx(0.8)
