"""The allocator's setting is a matter of speed alone, and is undone."""

import torch

from specvit.runs import memory
from specvit.runs.memory import freed_memory_kept


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


def test_blocks_within_blocks_end_with_the_outermost(monkeypatch):
    calls = []

    class Library:
        def mallopt(self, parameter, value):
            calls.append((parameter, value))

        def malloc_trim(self, pad):
            calls.append("trim")

    monkeypatch.setattr(memory, "_wanted", 0)
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Library())
    with memory.freed_memory_kept():
        set_once = list(calls)
        with memory.freed_memory_kept():
            pass
        assert calls == set_once
        assert len(calls) == 2
    assert calls[-1] == "trim"
    assert calls.count("trim") == 1
    calls.clear()
    assert memory.keep_freed_memory()
    with memory.freed_memory_kept():
        pass
    assert len(calls) == 2  # kept to the end of the process


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    with memory.freed_memory_kept() as kept:
        assert not kept
