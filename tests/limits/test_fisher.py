"""Fisher matrices against a closed-form line, Monte-Carlo maximum likelihood and the laws they obey."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from specvit.errors import DataError, ShapeError
from specvit.limits import (
    condition_number,
    correlation_matrix,
    covariance_matrix,
    fisher_information,
    marginal_crlb,
    schur_decay,
)

SIGMA, STEP = 0.02, 0.05
AXIS = torch.arange(-20, 20, STEP, dtype=torch.float64)
LINE = (0.6, 0.3, 1.2)  # amplitude, centre, width of a Gaussian line


def line(amplitude, centre, width):
    return amplitude * torch.exp(-0.5 * ((AXIS - centre) / width) ** 2)


def line_jacobian():
    amplitude, centre, width = LINE
    profile, offset = line(*LINE), (AXIS - centre) / width
    return torch.stack([profile / amplitude, profile * offset / width, profile * offset**2 / width], dim=-1)[
        None
    ]


def random_problem(seed, batch=3, pixels=30, labels=4, nuisances=2):
    generator = torch.Generator().manual_seed(seed)
    jacobian = torch.randn(batch, pixels, labels, generator=generator, dtype=torch.float64)
    ivar = torch.rand(batch, pixels, generator=generator, dtype=torch.float64) + 0.1
    nuisance = torch.randn(batch, pixels, nuisances, generator=generator, dtype=torch.float64)
    return jacobian, ivar, nuisance


def test_a_gaussian_line_has_its_closed_form_errors():
    """For white noise: var(A) = 3/2, var(centre) = 2 w²/A², var(w) = 2 w²/A², in units of σ² δ / (√π w).

    Source: Condon 1997, PASP 109, 166, for one dimension; from the integrals of the Gaussian's derivatives.
    """
    amplitude, _, width = LINE
    ivar = torch.full((1, len(AXIS)), SIGMA**-2, dtype=torch.float64)
    fisher = fisher_information(line_jacobian(), ivar)
    unit = SIGMA**2 * STEP / (np.sqrt(np.pi) * width)
    expected = [1.5 * unit, 2 * unit * width**2 / amplitude**2, 2 * unit * width**2 / amplitude**2]
    for k in range(3):
        assert float(marginal_crlb(fisher, k)) == pytest.approx(expected[k], rel=1e-9)
    # Amplitude and width share -1/√3 of their errors; the centre is free of both.
    correlation = correlation_matrix(fisher)[0]
    assert float(correlation[0, 2]) == pytest.approx(-1 / np.sqrt(3), rel=1e-9)
    assert float(correlation[0, 1].abs()) < 1e-9
    assert float(schur_decay(fisher, 0)) == pytest.approx(2 / 3, rel=1e-9)
    assert float(schur_decay(fisher, 1)) == pytest.approx(1.0, rel=1e-9)


def test_maximum_likelihood_reaches_the_bound_at_high_snr():
    generator, count = np.random.default_rng(0), 400
    clean = line(*LINE).numpy()
    fits = np.array(
        [
            least_squares(
                lambda p, y: (line(*p).numpy() - y) / SIGMA,
                LINE,
                args=(clean + SIGMA * generator.normal(size=clean.size),),
            ).x
            for _ in range(count)
        ]
    )
    fisher = fisher_information(line_jacobian(), torch.full((1, len(AXIS)), SIGMA**-2, dtype=torch.float64))
    bound = covariance_matrix(fisher)[0].diagonal().numpy()
    # A variance from 400 fits is good to 7 %; 4 of those.
    np.testing.assert_allclose(fits.var(axis=0), bound, rtol=0.28)
    np.testing.assert_allclose(fits.mean(axis=0), LINE, atol=4 * np.sqrt(bound.max() / count))


def test_nuisances_leave_what_the_inverse_of_the_full_matrix_says():
    jacobian, ivar, nuisance = random_problem(0)
    full = fisher_information(torch.cat([jacobian, nuisance], dim=-1), ivar)
    expected = torch.linalg.inv(full)[:, :4, :4]
    reduced = fisher_information(jacobian, ivar, nuisance)
    torch.testing.assert_close(torch.linalg.inv(reduced), expected, rtol=1e-9, atol=1e-12)


def test_the_marginal_bound_is_the_inverse_of_the_schur_complement():
    fisher = fisher_information(*random_problem(1)[:2])
    rest = [0, 2, 3]
    cross, block = fisher[:, 1, rest], fisher[:, rest][:, :, rest]
    schur = fisher[:, 1, 1] - torch.einsum("bi,bij,bj->b", cross, torch.linalg.inv(block), cross)
    torch.testing.assert_close(marginal_crlb(fisher, 1), 1 / schur, rtol=1e-9, atol=0)
    torch.testing.assert_close(schur_decay(fisher, 1), schur / fisher[:, 1, 1], rtol=1e-9, atol=0)


def test_shared_nuisance_columns_equal_repeated_ones():
    jacobian, ivar, nuisance = random_problem(2)
    shared = fisher_information(jacobian, ivar, nuisance[0])
    torch.testing.assert_close(shared, fisher_information(jacobian, ivar, nuisance[:1].expand(3, -1, -1)))


@given(factor=st.floats(0.01, 100), seed=st.integers(0, 1000))
def test_the_bound_scales_with_the_noise_variance(factor, seed):
    jacobian, ivar, nuisance = random_problem(seed)
    before = marginal_crlb(fisher_information(jacobian, ivar, nuisance), 0)
    after = marginal_crlb(fisher_information(jacobian, ivar / factor**2, nuisance), 0)
    torch.testing.assert_close(after, before * factor**2, rtol=1e-9, atol=0)


@given(seed=st.integers(0, 1000))
def test_the_bound_on_a_label_ignores_how_the_others_are_parametrised(seed):
    jacobian, ivar, _ = random_problem(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    mix = torch.eye(4, dtype=torch.float64)
    mix[1:, 1:] += 0.3 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    mix[1:, 0] = torch.randn(3, generator=generator, dtype=torch.float64)
    # θ = M φ with θ_0 = φ_0: the derivative with respect to φ is J M.
    before = marginal_crlb(fisher_information(jacobian, ivar), 0)
    after = marginal_crlb(fisher_information(jacobian @ mix, ivar), 0)
    torch.testing.assert_close(after, before, rtol=1e-6, atol=0)


def test_units_change_the_plain_condition_number_but_not_the_scaled_one():
    jacobian, ivar, _ = random_problem(3)
    kelvin = jacobian * torch.tensor([1e-3, 1.0, 1.0, 1.0], dtype=torch.float64)
    plain, in_kelvin = fisher_information(jacobian, ivar), fisher_information(kelvin, ivar)
    torch.testing.assert_close(condition_number(in_kelvin), condition_number(plain))
    assert (condition_number(in_kelvin, scaled=False) > 1e4 * condition_number(plain, scaled=False)).all()
    np.testing.assert_allclose(
        condition_number(plain, scaled=False), np.linalg.cond(plain.numpy()), rtol=1e-8
    )


def test_dead_pixels_carry_no_information():
    jacobian, ivar, _ = random_problem(4)
    ivar[:, :10] = 0.0
    torch.testing.assert_close(
        fisher_information(jacobian, ivar), fisher_information(jacobian[:, 10:], ivar[:, 10:])
    )


def test_degenerate_labels_have_no_bound_and_say_so():
    jacobian, ivar, _ = random_problem(5)
    jacobian[0, :, 2] = jacobian[0, :, 1] * 3.0
    fisher = fisher_information(jacobian, ivar)
    assert torch.isinf(marginal_crlb(fisher, 0)).tolist() == [True, False, False]
    assert schur_decay(fisher, 0)[0] == 0
    assert condition_number(fisher)[0] > 1e13
    assert torch.isnan(correlation_matrix(fisher)[0]).all()
    assert torch.isfinite(correlation_matrix(fisher)[1:]).all()


def test_float32_input_is_summed_in_float64():
    jacobian, ivar, nuisance = random_problem(6)
    single = fisher_information(jacobian.float(), ivar.float(), nuisance.float())
    assert single.dtype == torch.float64
    torch.testing.assert_close(single, fisher_information(jacobian, ivar, nuisance), rtol=1e-5, atol=1e-5)


def test_unusable_input_is_refused():
    jacobian, ivar, nuisance = random_problem(7)
    with pytest.raises(ShapeError, match=r"\(B, L, P\)"):
        fisher_information(jacobian, ivar[:, :-1])
    with pytest.raises(ShapeError, match="nuisance"):
        fisher_information(jacobian, ivar, nuisance[:, :-1])
    with pytest.raises(DataError, match="not negative"):
        fisher_information(jacobian, -ivar)
    twice = torch.cat([nuisance, nuisance[:, :, :1]], dim=-1)
    with pytest.raises(DataError, match="spectrum 0 are zero or depend"):
        fisher_information(jacobian, ivar, twice)
    ivar[1] = 0.0
    with pytest.raises(DataError, match="spectrum 1"):
        fisher_information(jacobian, ivar, nuisance)
