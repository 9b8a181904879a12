"""The allocator's setting is a matter of speed alone, and is undone."""

import torch

from specvit.training.memory import freed_memory_kept


def test_large_blocks_can_be_allocated_within_and_after():
    with freed_memory_kept() as kept:
        sums = [float(torch.ones(2**24).sum()) for _ in range(2)]
    assert isinstance(kept, bool)
    assert sums == [2**24] * 2
    assert float(torch.ones(2**24).sum()) == 2**24


def test_it_is_undone_after_an_error():
    try:
        with freed_memory_kept():
            raise ValueError
    except ValueError:
        assert float(torch.ones(2**24).sum()) == 2**24
