"""Free oxygen and carbon beside CO, against a bracketing root finder and conservation of atoms."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from specvit.library.chemistry import ChemicalCoordinates, PlainCoordinates, log_free_fractions
from specvit.spectra import LOW_T_BOX

LOG_RATIO = st.floats(-1.5, 1.0)
LOG_BINDING = st.floats(-6.0, 9.0)


def _free(log_c_to_o: float, log_binding: float) -> tuple[float, float]:
    oxygen, carbon = log_free_fractions(
        torch.tensor(log_c_to_o, dtype=torch.float64), torch.tensor(log_binding, dtype=torch.float64)
    )
    return 10 ** float(oxygen), 10 ** float(carbon)


@given(LOG_RATIO, LOG_BINDING)
def test_free_oxygen_solves_the_mass_action_law(log_c_to_o, log_binding):
    ratio, binding = 10**log_c_to_o, 10**log_binding
    bound = brentq(
        lambda co: binding * (1 - co) * (ratio - co) - co,
        0,
        min(1, ratio),
        xtol=1e-16,
        rtol=1e-14,
        maxiter=500,
    )
    oxygen, carbon = _free(log_c_to_o, log_binding)
    np.testing.assert_allclose(1 - oxygen, bound, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(ratio * (1 - carbon), bound, rtol=1e-7, atol=1e-10)


@given(LOG_RATIO, LOG_BINDING)
def test_free_fractions_agree_in_float32_and_float64(log_c_to_o, log_binding):
    single = log_free_fractions(torch.tensor(log_c_to_o), torch.tensor(log_binding))
    # The same rounded numbers in both precisions; near C/O = 1 the free fraction hangs on their last digit.
    double = log_free_fractions(torch.tensor(log_c_to_o).double(), torch.tensor(log_binding).double())
    for a, b in zip(single, double, strict=True):
        assert abs(float(a) - float(b)) < 3e-3


def test_carbon_above_oxygen_removes_the_free_oxygen():
    rich = _free(0.2, 6.0)
    poor = _free(-0.26, 6.0)
    assert rich[0] < 1e-5 < 0.4 < poor[0]
    assert poor[1] < 1e-5 < 0.3 < rich[1]


def test_coordinates_are_smooth_through_equal_carbon_and_oxygen():
    coordinates = ChemicalCoordinates(LOW_T_BOX).double()
    labels = torch.tensor([[3800.0, 4.5, 0.3, 0.0, 0.26]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(coordinates, labels, eps=1e-5)


def test_a_missing_label_counts_as_solar():
    full = torch.tensor([[4200.0, 3.0, 0.0, 0.0, 0.0]])
    bare = LOW_T_BOX.select(["teff"])
    got = ChemicalCoordinates(bare)(full[:, :1])
    torch.testing.assert_close(got[:, 1:], ChemicalCoordinates(LOW_T_BOX)(full)[:, 5:])


def test_plain_coordinates_only_replace_the_temperature():
    labels = torch.tensor([[5040.0, 3.0, -1.0, 0.1, 0.2]])
    torch.testing.assert_close(
        PlainCoordinates(LOW_T_BOX)(labels), torch.tensor([[1.0, 3.0, -1.0, 0.1, 0.2]])
    )
