import pytest
import torch
from torch import nn

from specvit.library import Emulator
from specvit.numerics import products
from specvit.numerics.products import FixedProduct, is_intel, with_fixed_products


@pytest.fixture(params=["as found", "plain", "other vendor"])
def _either_way(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr(products, "has_fast_products", lambda: False)
    if request.param == "other vendor":
        monkeypatch.setattr(products, "is_intel", lambda: not is_intel())


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize(("rows", "inner", "columns"), [(64, 129, 979), (7, 18, 33), (1, 1, 5)])
def test_fixed_products_are_matrix_products(rows, inner, columns):
    generator = torch.Generator().manual_seed(1)
    left, table = (torch.randn(*shape, generator=generator) for shape in ((rows, inner), (inner, columns)))
    bias = torch.randn(columns, generator=generator)
    exact = left.double() @ table.double()
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(FixedProduct(table, 64)(left).double(), exact, **close)
    torch.testing.assert_close(FixedProduct(table, 64, bias)(left).double(), exact + bias, **close)
    for after, function in (("silu", nn.functional.silu), ("gelu", nn.functional.gelu)):
        found = FixedProduct(table, 64, bias, after)(left)
        torch.testing.assert_close(found.double(), function(exact + bias), **close)
    total = torch.randn(rows, columns, generator=generator)
    added = FixedProduct(table, 64, bias).added_to(total, left)
    torch.testing.assert_close(added.double(), exact + bias + total, **close)


@pytest.mark.usefixtures("_either_way")
def test_a_network_keeps_its_function_and_the_original_its_layers():
    emulator = Emulator.builtin()
    low, high = torch.tensor(emulator.label_space.low), torch.tensor(emulator.label_space.high)
    labels = low + (high - low) * torch.rand(300, 5, generator=torch.Generator().manual_seed(2))
    before = emulator.coefficients(labels)
    with torch.no_grad():
        after = with_fixed_products(emulator, 300).coefficients(labels)
    scale = before.std(0)
    assert float(((after - before) / scale).abs().max()) < 1e-4
    assert any(isinstance(layer, nn.Linear) for layer in emulator.modules())
    assert torch.equal(emulator.coefficients(labels), before)
