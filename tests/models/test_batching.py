"""Batches of `predict`: as large as the widest layer allows."""

import pytest
import torch

from specvit.estimators import network_config
from specvit.models.batching import CPU_NUMBERS, DEVICE_ROWS, rows_for, widest_layer
from specvit.models.network import build_network
from specvit.spectra import LOW_T_BOX, WavelengthGrid

GRID = WavelengthGrid.linear(7100.214, 0.42725, 4096)


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [("vit", "reference", 257 * 1024), ("vit", "nano", 64 * 256), ("subspace", "small", 4096)],
)
def test_the_widest_layer_is_found(model, size, expected):
    network = build_network(network_config(model, size), GRID, LOW_T_BOX.select(["log_g"])).eval()
    assert widest_layer(network, GRID.size) == expected
    assert not any(module._forward_hooks for module in network.modules())


def test_rows_fill_a_cache_or_a_device():
    assert (
        rows_for(torch.device("cpu"), 1000) * 1000
        <= CPU_NUMBERS
        < (rows_for(torch.device("cpu"), 1000) + 1) * 1000
    )
    assert rows_for(torch.device("cpu"), 2 * CPU_NUMBERS) == 1
    assert rows_for(torch.device("cuda"), 1000) == DEVICE_ROWS
