"""Stage "throughput": spectra per second of the simulator, stars per second of Fisher matrices and posteriors, and what
the card's memory and arithmetic give at most, measured in the same process.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch

from _clock import median_seconds, wait_for
from gpu.plan import Budget
from gpu.results import Results
from gpu.visit import LABEL, SEED, Visit, tried
from specvit.limits import Forecaster, prior_draws
from specvit.limits.bayes import BayesCeiling, Observation, Posterior, bayes_r2
from specvit.simulate import Simulator

STAGE = "throughput"

#: Stars whose posteriors are asked for at once: results are noted after each of these groups.
GROUP = 256
#: Seconds that a compilation may take.
COMPILING = 30.0
#: Seconds that have to be left for a further group, over those that the last one took.
MARGIN = 1.3


def throughput(visit: Visit, results: Results, budget: Budget) -> None:
    """Note every rate; see the module."""
    jobs: dict[str, Callable[[], dict[str, Any]]] = {
        "copy": lambda: copy_rate(visit),
        "product bfloat16": lambda: product_rate(visit, torch.bfloat16),
        "product float32": lambda: product_rate(visit, torch.float32),
        "simulator": lambda: simulator_rate(visit, visit.simulator),
        "fisher": lambda: fisher_rate(visit),
    }
    for name, job in jobs.items():
        results.note(STAGE, name, tried(job))
    ceiling(visit, results, budget, COMPILING if visit.on_gpu else 0.0)
    if visit.on_gpu:
        compiled = visit.simulator.with_compiled_observe()
        results.note(STAGE, "simulator compiled", tried(lambda: simulator_rate(visit, compiled)))


def copy_rate(visit: Visit) -> dict[str, Any]:
    """Return bytes per second of a copy within the device, read and written both counted."""
    # Of random bytes: constant ones may be told apart by the hardware.
    source = torch.randint(0, 256, (visit.sizes.copied,), dtype=torch.uint8, device=visit.device)
    target = torch.empty_like(source)
    seconds = median_seconds(lambda: target.copy_(source), visit.device, visit.sizes.repeats)
    return {"GB/s": 2 * visit.sizes.copied / seconds / 1e9}


def product_rate(visit: Visit, dtype: torch.dtype) -> dict[str, Any]:
    """Return the operations per second of a product of large square matrices."""
    size = visit.sizes.product
    left, right = (torch.randn(size, size, device=visit.device).to(dtype) for _ in range(2))
    seconds = median_seconds(lambda: left @ right, visit.device, visit.sizes.repeats)
    return {"TFLOP/s": 2 * size**3 / seconds / 1e12}


def simulator_rate(visit: Visit, simulator: Simulator) -> dict[str, Any]:
    """Return spectra per second, fresh ones in every call, and the rate at which flux and sigma are written."""
    chunk, at = visit.sizes.chunk, 0

    def draw() -> None:
        nonlocal at
        simulator.draw("train", SEED, at, at + chunk, device=visit.device, truth=False)
        at += chunk

    began = time.perf_counter()
    draw()
    wait_for(visit.device)
    first = time.perf_counter() - began
    seconds = median_seconds(draw, visit.device, visit.sizes.repeats)
    written = chunk * simulator.grid.size * 2 * 4
    return {
        "spectra/s": chunk / seconds,
        "GB/s": written / seconds / 1e9,
        "chunk": chunk,
        "first call, s": first,
    }


def fisher_rate(visit: Visit) -> dict[str, Any]:
    """Return stars per second of a forecast with five free labels, conditions of each star's own."""
    instrument, world = visit.simulator.instrument, visit.simulator.world
    assert world is not None
    emulator, count = world.emulator(), visit.sizes.fisher_stars
    stars = prior_draws(emulator.label_space, count, seed=SEED)
    drawn = instrument.sample_conditions(count, torch.Generator().manual_seed(SEED))
    forecaster = Forecaster(emulator, instrument, device=visit.device)
    seconds = median_seconds(
        lambda: forecaster.forecast(stars, [drawn]), visit.device, min(visit.sizes.repeats, 3)
    )
    return {"stars/s": count / seconds, "stars": count}


def ceiling(visit: Visit, results: Results, budget: Budget, reserve: float) -> None:
    """Note stars per second of exact posteriors, and the ceiling of the validation stars known so far.

    Args:
        visit, results, budget: see the module.
        reserve: seconds to leave, once a first group is done.
    """
    simulator, sizes = visit.simulator, visit.sizes
    sampler = BayesCeiling(
        copy.deepcopy(simulator.observed).to(visit.device), simulator.prior, sizes.bayes_bank
    )
    parts: list[tuple[torch.Tensor, Posterior]] = []
    first, spent, last = 0, 0.0, 0.0
    while first < sizes.bayes_stars and (not parts or budget.left > MARGIN * last + reserve):
        count, began = min(GROUP, sizes.bayes_stars - first), time.perf_counter()
        batch = simulator.draw("validation", SEED, first, first + count)
        seen = Observation.from_batch(batch, simulator.instrument)
        moved = Observation(
            *(getattr(seen, name).to(visit.device) for name in ("flux", "base", "gain", "scale"))
        )
        # Ends with what it found on the CPU: the device has nothing left to do.
        parts.append((torch.arange(first, first + count), sampler.posterior(moved)))
        last = time.perf_counter() - began
        spent, first = spent + last, first + count
        posterior = Posterior.gather(parts)
        labels = simulator.draw("validation", SEED, 0, first).known_labels()
        found = bayes_r2(posterior, labels, LABEL, simulator.prior.variance(LABEL))
        results.note(STAGE, "bayes", {
            "stars": first, "stars/s": first / spent, "seconds": round(spent, 2), "ceiling": found.value,
            "star error": found.star_error, "sampler error": found.sampler_error, "reached": found.reached,
            "not converged": int((~posterior.converged).sum()),
        })  # fmt: skip
