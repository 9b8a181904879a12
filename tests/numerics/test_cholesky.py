"""Cholesky factors of matrices of less than full rank, as they come out of sums in float32."""

import pytest
import torch

from specvit.numerics import steady_cholesky, triangular_inverse


def test_where_there_is_a_factor_it_is_that_one():
    rows = torch.randn(5, 6, 9, generator=torch.Generator().manual_seed(1))
    matrices = rows @ rows.transpose(1, 2)
    assert torch.equal(steady_cholesky(matrices), torch.linalg.cholesky(matrices))


def test_rounding_is_steadied_and_leaves_the_others_alone():
    rows = torch.randn(40, 3, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    full = torch.eye(24, dtype=torch.float64)
    # Rank 3 of 24, with the rounding of float32: about half of the null directions come out negative.
    poor = (rows.transpose(1, 2) @ rows).float().double()
    poor = poor + 1e-7 * torch.randn(
        40, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    poor = 0.5 * (poor + poor.transpose(1, 2))
    matrices = torch.cat([poor, full[None]])
    with pytest.raises(torch.linalg.LinAlgError):
        torch.linalg.cholesky(matrices)
    factor = steady_cholesky(matrices)
    again = factor @ factor.transpose(1, 2)
    largest = matrices.diagonal(dim1=1, dim2=2).amax(dim=1)
    assert float(((again - matrices).abs().amax(dim=(1, 2)) / largest).max()) < 2e-6
    assert torch.equal(factor[-1], full)


def test_what_is_indefinite_is_refused():
    with pytest.raises(torch.linalg.LinAlgError):
        steady_cholesky(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))


@pytest.mark.parametrize("size", [1, 2, 16, 17, 50])
def test_triangles_are_inverted(size):
    rows = torch.randn(3, size, size + 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    factor = torch.linalg.cholesky(rows @ rows.mT)
    inverse = triangular_inverse(factor)
    torch.testing.assert_close(inverse @ factor, torch.eye(size).double().expand(3, -1, -1))
    assert torch.equal(inverse, inverse.tril())
