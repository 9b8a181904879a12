"""The emulator as a mathematical object: derivatives, folding, precision, files, domain, and some physics."""

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from specvit.errors import DataError, DomainError, LabelError, RunError, ShapeError
from specvit.library import Emulator, batched_jacobian
from specvit.library.chemistry import ChemicalCoordinates, PlainCoordinates
from specvit.spectra import LOW_T_BOX, LabelSpace, WavelengthGrid

# Small: across C/O = 1 the slope changes within 0.003 dex.
STEP = torch.tensor([0.05, 1e-4, 1e-4, 1e-4, 1e-4], dtype=torch.float64)


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return Emulator.builtin()


@pytest.fixture(scope="module")
def double() -> Emulator:
    return Emulator.builtin().double()


def draw(count: int, seed: int = 0) -> torch.Tensor:
    low, high = torch.tensor(LOW_T_BOX.low).double(), torch.tensor(LOW_T_BOX.high).double()
    return low + (high - low) * torch.rand(count, 5, generator=torch.Generator().manual_seed(seed)).double()


inside = st.tuples(*(st.floats(0.01, 0.99) for _ in range(5)))


@settings(max_examples=15, deadline=None)
@given(inside)
@example((0.02, 0.6, 0.9, 0.47, 0.89))  # C/O = 1
def test_jacobian_is_the_limit_of_central_differences(double, unit):
    low, high = torch.tensor(LOW_T_BOX.low).double(), torch.tensor(LOW_T_BOX.high).double()
    labels = (low + (high - low) * torch.tensor(unit).double())[None]
    jacobian = double.jacobian(labels)[0]
    for j in range(5):
        shift = torch.zeros(5).double()
        shift[j] = STEP[j]
        # Fourth-order differences: error O(h⁴), far below the tolerance.
        f = [double(labels + k * shift, check=False)[0] for k in (-2, -1, 1, 2)]
        difference = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * STEP[j])
        torch.testing.assert_close(
            jacobian[:, j], difference, rtol=1e-5, atol=1e-6 * float(difference.abs().max())
        )


def test_jacobian_has_one_column_per_label_and_row_per_spectrum(emulator):
    assert emulator.jacobian(draw(3).float()).shape == (3, emulator.grid.size, 5)


def test_coefficients_work_under_vmap_and_compile_without_a_graph_break(emulator):
    labels = draw(4).float()
    expected = emulator.coefficients(labels)
    torch.testing.assert_close(torch.func.vmap(emulator.coefficients)(labels), expected)
    compiled = torch.compile(emulator.coefficients, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(labels), expected)


def test_slopes_carried_through_the_layers_are_those_of_automatic_differentiation(emulator, double):
    labels = draw(20)
    value, slopes = double.regressor.value_and_slopes(labels)
    torch.testing.assert_close(value, double.coefficients(labels), rtol=1e-12, atol=1e-12)
    expected = batched_jacobian(double.coefficients, labels).mT
    torch.testing.assert_close(slopes, expected, rtol=1e-10, atol=1e-10)
    single = emulator.regressor.value_and_slopes(labels.float())[1]
    largest = slopes.abs().amax(dim=2, keepdim=True)
    assert ((single - slopes).abs() / largest).max() < 1e-4


@pytest.mark.parametrize("form", ["dense", "tensor", "sparse"])
def test_folding_commutes_with_the_operator(double, form):
    matrix = scipy.sparse.random_array(
        (50, double.grid.size), density=0.01, rng=np.random.default_rng(0)
    ).tocsr()
    given_matrix = {
        "dense": matrix.toarray(),
        "tensor": torch.from_numpy(matrix.toarray()),
        "sparse": matrix,
    }[form]
    folded = double.fold(given_matrix, WavelengthGrid.linear(7100, 30, 50), 500.0)
    labels = draw(6)
    expected = double(labels).detach().numpy() @ matrix.toarray().T
    np.testing.assert_allclose(folded(labels).numpy(), expected, rtol=1e-6, atol=1e-10)
    jacobian = np.einsum("ol,blp->bop", matrix.toarray(), double.jacobian(labels[:2]).numpy())
    np.testing.assert_allclose(folded.jacobian(labels[:2]).numpy(), jacobian, rtol=1e-6, atol=1e-9)
    assert (folded.grid.size, folded.resolution, folded.label_space) == (50, 500.0, double.label_space)


def test_folding_leaves_the_original_alone(emulator):
    before = emulator.mean.clone()
    folded = emulator.fold(scipy.sparse.eye_array(emulator.grid.size).tocsr(), emulator.grid, 20000.0)
    folded.regressor.layers[0].weight.data.zero_()
    folded.mean.zero_()
    assert float(emulator.regressor.layers[0].weight.abs().max()) > 0
    torch.testing.assert_close(emulator.mean, before)


def test_fold_and_project_refuse_wrong_shapes(emulator):
    with pytest.raises(ShapeError, match="fold: expected a matrix"):
        emulator.fold(np.ones((3, 4)), WavelengthGrid.linear(7100, 1, 3), 500.0)
    with pytest.raises(ShapeError, match="project: expected weights"):
        emulator.project(np.ones(4))


def test_project_gives_the_functional_of_the_flux(double):
    weights = np.random.default_rng(1).random(double.grid.size)
    offset, vector = double.project(weights)
    labels = draw(5)
    expected = double(labels).numpy() @ weights
    np.testing.assert_allclose(
        offset + double.coefficients(labels).numpy() @ vector.numpy(), expected, rtol=1e-12
    )


def test_every_spectrum_is_relative_to_its_own_mean(double):
    np.testing.assert_allclose(double(draw(200)).mean(dim=1).numpy(), 1.0, atol=2e-4)


def test_flux_is_positive_and_log_flux_is_its_logarithm(emulator):
    labels = draw(500, seed=3).float()
    flux = emulator(labels)
    assert float(flux.min()) > 0
    torch.testing.assert_close(emulator.log_flux(labels), flux.log())


def test_single_and_double_precision_agree(emulator, double):
    labels = draw(300, seed=4).float()
    single = emulator(labels).double()
    assert float((single / double(labels.double()) - 1).abs().max()) < 1e-4
    derivative = emulator.jacobian(labels[:5]).double()
    exact = double.jacobian(labels[:5].double())
    assert float(((derivative - exact).abs().amax((0, 1)) / exact.abs().amax((0, 1))).max()) < 1e-3


@pytest.mark.parametrize("compact", [False, True])
def test_a_saved_emulator_gives_the_same_spectra(tmp_path, emulator, compact):
    emulator.save(tmp_path / "e.safetensors", compact)
    back = Emulator.load(tmp_path / "e.safetensors")
    labels = draw(10).float()
    torch.testing.assert_close(back(labels), emulator(labels), rtol=0, atol=0)
    assert (back.errors, back.provenance) == (emulator.errors, emulator.provenance)
    assert back.label_space == LOW_T_BOX
    assert not list(tmp_path.glob("*.partial"))


def test_a_damaged_emulator_file_gives_one_clear_error(tmp_path, emulator):
    path = tmp_path / "e.safetensors"
    emulator.save(path, compact=True)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="not a complete emulator file"):
        Emulator.load(path)
    path.write_bytes(whole[:-100] + bytes(100))
    with pytest.raises(DataError, match="does not match its checksum"):
        Emulator.load(path)
    with pytest.raises(DataError, match="no such file, expected a file of an emulator"):
        Emulator.load(tmp_path / "absent")
    with pytest.raises(RunError, match="cannot write"):
        emulator.save(path / "e.safetensors")


@pytest.mark.parametrize("name", LOW_T_BOX.names)
def test_labels_outside_the_domain_are_refused_by_name(emulator, name):
    labels = torch.tensor([[5000.0, 3.0, 0.0, 0.0, 0.0]])
    labels[0, LOW_T_BOX.index(name)] = LOW_T_BOX.high[LOW_T_BOX.index(name)] * 1.2 + 0.5
    with pytest.raises(DomainError, match=name):
        emulator(labels)
    with pytest.raises(DomainError, match=name):
        emulator.jacobian(labels)
    assert emulator(labels, check=False).isfinite().all()


def test_a_wrong_number_of_labels_is_refused(emulator):
    with pytest.raises(LabelError, match="expected 5 labels"):
        emulator(torch.tensor([[5000.0, 3.0]]))


def depth(emulator: Emulator, labels: list[float], centre: float, half_width: float = 4.0) -> float:
    """Return the equivalent width in Å of the line at `centre` against the flux 10 Å to both sides."""
    wavelength = emulator.grid.wavelength
    flux = emulator(torch.tensor([labels]))[0].numpy()
    line = np.abs(wavelength - centre) < half_width
    beside = np.abs(np.abs(wavelength - centre) - 10.0) < 2.0
    level = np.quantile(flux[beside], 0.9)
    return float(np.trapezoid(1 - flux[line] / level, wavelength[line]))


@pytest.mark.parametrize("centre", [8500.36, 8544.44, 8664.52])
def test_calcium_triplet_weakens_with_metallicity(emulator, centre):
    widths = [depth(emulator, [4800.0, 2.0, m_h, 0.0, 0.0], centre) for m_h in (-2.5, -1.5, -0.5, 0.5)]
    assert (np.diff(widths) > 0).all()


@pytest.mark.parametrize("centre", [8185.51, 8197.08])
def test_sodium_is_stronger_in_cool_dwarfs_than_in_giants(emulator, centre):
    dwarf = depth(emulator, [4000.0, 5.0, 0.0, 0.0, 0.0], centre)
    giant = depth(emulator, [4000.0, 1.5, 0.0, 0.0, 0.0], centre)
    assert dwarf > 1.5 * giant


def test_titanium_oxide_vanishes_when_carbon_takes_the_oxygen(emulator):
    wavelength = emulator.grid.wavelength
    labels = torch.tensor([[3800.0, 4.5, 0.0, 0.0, 0.0], [3800.0, 4.5, 0.0, -0.2, 0.45]])
    flux = emulator(labels)
    inside = flux[:, (wavelength > 7055) & (wavelength < 7150)].mean(dim=1)
    before = flux[:, (wavelength > 7030) & (wavelength < 7050)].mean(dim=1)
    oxygen_rich, carbon_rich = inside / before
    assert oxygen_rich < 0.85 * carbon_rich


@pytest.mark.parametrize("names", [None, ("teff", "m_h"), ("log_g", "c_m")])
def test_slopes_of_the_coordinates_are_those_of_autograd(names):
    space = LOW_T_BOX
    if names is not None:
        keep = [space.index(name) for name in names]
        space = LabelSpace(
            names, *(tuple(part[i] for i in keep) for part in (space.units, space.low, space.high))
        )
    low, high = (torch.tensor(bound, dtype=torch.float64) for bound in (space.low, space.high))
    labels = low + (high - low) * torch.rand(100, len(space), generator=torch.Generator().manual_seed(0))
    kinds = [PlainCoordinates(space)]
    if "teff" in space.names:
        kinds.append(ChemicalCoordinates(space).double())
    for coordinates in kinds:
        torch.testing.assert_close(coordinates.jacobian(labels), batched_jacobian(coordinates, labels))
