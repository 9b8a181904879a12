import pytest
import torch

from specvit.numerics import to_device


def test_what_is_there_already_is_not_copied():
    values = torch.ones(3)
    assert to_device(values, "cpu") is values


@pytest.mark.parametrize(("device", "pinned"), [("cuda", True), ("cuda:1", True), ("meta", False)])
def test_only_copies_to_cuda_are_pinned_and_not_waited_for(monkeypatch, device, pinned):
    calls = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: calls.append("pinned") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *args, **kw: calls.append((*args, kw)) or self)
    to_device(torch.ones(3), device)
    assert calls == (["pinned", (device, {"non_blocking": True})] if pinned else [(device, {})])


@pytest.mark.gpu
def test_a_copy_that_nobody_waited_for_holds_what_was_there():
    values = torch.arange(1 << 20, dtype=torch.float32)
    moved = to_device(values, "cuda")
    assert torch.equal(moved.cpu(), values)
