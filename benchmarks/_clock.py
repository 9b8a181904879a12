"""Time of work on a device: it is queued, so the clock is read only when the queue is empty."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def wait_for(device: torch.device | str) -> None:
    """Return when the device has done all it was asked for."""
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(job: Callable[[], object], device: torch.device | str) -> float:
    """Return the wall seconds of a job, all that it queues included and nothing queued before."""
    wait_for(device)
    began = time.perf_counter()
    job()
    wait_for(device)
    return time.perf_counter() - began


def median_seconds(
    job: Callable[[], object], device: torch.device | str, repeats: int, warm_up: int = 1
) -> float:
    """Return the median of the seconds of a job after some calls that are not counted."""
    for _ in range(warm_up):
        job()
    return statistics.median(seconds_of(job, device) for _ in range(repeats))
