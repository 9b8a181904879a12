"""Stage "inference": spectra per second of estimates from spectra that lie on the device, and from those drawn there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from _clock import median_seconds, wait_for
from gpu.plan import Budget
from gpu.results import Results
from gpu.training import STAGE as TRAINED
from gpu.training import courses, restored
from gpu.visit import SEED, Visit, tried
from specvit.models.batching import DEVICE_ROWS
from specvit.models.network import SpectrumNetwork
from specvit.training.starts import fit_front

STAGE = "inference"

#: Seconds that a compilation may take.
COMPILING = 15.0

Estimates = Callable[[Tensor, Tensor], Tensor]


def inference(visit: Visit, results: Results, budget: Budget) -> None:
    """Note the speed of every network and precision there is time for."""
    drawn = visit.simulator.draw("test", SEED, 0, visit.sizes.inference, device=visit.device, truth=False)
    for course in courses(visit):
        trained = f"weights {course.name}" in results.found(TRAINED)
        if trained:
            network = restored(visit, results, course.name)
        else:
            # What estimates cost does not depend on the weights.
            network = visit.build(course.config, course.labels or visit.simulator.prior.label_space.names)
            fit_front(network, visit.simulator.draw("train", SEED, 0, 1024))
        network = network.eval().to(visit.device)
        for precision in ("float32", "bfloat16"):
            way = estimates(network, network.body, precision, visit)
            found = tried(lambda way=way: speed(visit, way, drawn.flux, drawn.sigma))
            results.note(STAGE, f"{course.name} {precision}", {**found, "trained": trained})
        if visit.on_gpu and budget.left > COMPILING:
            way = estimates(network, torch.compile(network.body), "bfloat16", visit)
            found = tried(lambda way=way: speed(visit, way, drawn.flux, drawn.sigma))
            results.note(STAGE, f"{course.name} bfloat16 compiled", {**found, "trained": trained})


def estimates(network: SpectrumNetwork, body: Callable[..., Any], precision: str, visit: Visit) -> Estimates:
    """Return the way from flux and sigma to the estimates of all labels."""

    def way(flux: Tensor, sigma: Tensor) -> Tensor:
        inputs = network.front(flux, sigma)
        with torch.autocast(visit.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            raw = body(inputs)
        return network.decode(raw, inputs.level).mean

    return way


def speed(visit: Visit, way: Estimates, flux: Tensor, sigma: Tensor) -> dict[str, Any]:
    """Return spectra per second; the first call, which compiles and allocates, is told apart."""
    rows = min(DEVICE_ROWS, len(flux))

    @torch.inference_mode()
    def all_of_them() -> Tensor:
        return torch.cat([way(*part) for part in zip(flux.split(rows), sigma.split(rows), strict=True)])

    began = time.perf_counter()
    all_of_them()
    wait_for(visit.device)
    first = time.perf_counter() - began
    seconds = median_seconds(all_of_them, visit.device, min(visit.sizes.repeats, 5), warm_up=0)
    return {"spectra/s": len(flux) / seconds, "first call, s": first}
