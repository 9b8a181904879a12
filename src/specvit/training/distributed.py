"""The processes of one training, as torchrun starts them. A single process is a world of one."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from specvit.errors import ConfigError


@dataclass(frozen=True)
class Processes:
    """This process among all: rank, number of processes, device."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process validates, logs and writes."""
        return self.rank == 0

    def agree(self, value: float) -> float:
        """Return the first process's number in every process (time, a decision to stop)."""
        if self.size == 1:
            return value
        # Clocks differ: processes that disagree on the last step would wait for each other for ever.
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, src=0)
        return float(shared)

    def spread(self, tensors: list[Tensor]) -> None:
        """Overwrite each tensor with the first process's."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def tell(self, text: str) -> str:
        """Return the first process's text in every process."""
        if self.size == 1:
            return text
        shared = [text]
        dist.broadcast_object_list(shared, src=0)
        return shared[0]


def join_processes(device: str | None = None) -> Processes:
    """Return this process's world: from torchrun's environment if it started us, else a world of one.

    Args:
        device: "cpu", "cuda", ...; None takes a GPU if there is one.

    Raises:
        ConfigError: if this machine cannot compute on the device.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Processes(0, 1, usable_device(chosen))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = usable_device(f"cuda:{local}" if chosen == "cuda" else chosen)
    if place.type == "cuda":
        # Before the group is made: NCCL works on the current device.
        torch.cuda.set_device(place)
    # An earlier fit of this program may have begun the group.
    if not dist.is_initialized():
        # A function of this module has the group of its import as default, and PyTorch's optimisers import it
        # (https://github.com/pytorch/pytorch/blob/main/torch/distributed/nn/functional.py). Imported later, it
        # keeps the group's threads until after the interpreter is gone, and one that then lets go of a tensor
        # aborts a process whose work is done.
        importlib.import_module("torch.distributed.nn.functional")
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    return Processes(dist.get_rank(), dist.get_world_size(), place)


def usable_device(name: str) -> torch.device:
    """Return the device of that name; ConfigError if there is none, or nothing can be computed on it here."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
        # Unless told, PyTorch lets cuDNN round what convolutions read to ten bits, and float32 is not float32.
        torch.backends.cudnn.allow_tf32 = False
    # What torch raises differs by device: not known, not built in, not there, without memory that can be read.
    except (RuntimeError, AssertionError, ImportError) as error:
        cause = str(error).partition("\n")[0].partition(". ")[0]
        raise ConfigError(
            f"--device {name}: cannot be used here ({cause}); give cpu, or leave it out: a GPU is taken if "
            "there is one"
        ) from error
    return device


def is_first_process() -> bool:
    """Return whether this process is the one that writes and tells, before or after it has joined the others."""
    return int(os.environ.get("RANK", "0")) == 0


def leave_processes(world: Processes) -> None:
    """End the process group that `join_processes` began."""
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()
