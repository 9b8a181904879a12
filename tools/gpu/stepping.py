"""Stage "step": what a training step of SpecViT-reference costs, simulation included, and how it is made fastest.

Every setting takes spectra from the simulator on the device, as a training does. The networks of other libraries are
the same function (`benchmarks/_rival_vits.py`) in the same loop, on the same spectra.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import _rival_vits as rivals
from _cards import peak_of
from _clock import median_seconds, seconds_of, wait_for
from _flops import training_flops
from gpu.graphs import graphed_steps
from gpu.plan import Budget
from gpu.results import Results
from gpu.visit import SEED, Visit, tried
from specvit.simulate import endless
from specvit.training import LabelRegression, Recipe, Trainer, make_feed
from specvit.training.distributed import Processes
from specvit.training.feeds import Share, prefetched
from specvit.training.starts import fit_front

STAGE = "step"

#: Peak learning rate and clipping of the published recipe; what they are does not change the time of a step.
LR, CLIP = 3e-4, 0.5
#: Share of the highest speed that a setting of smaller batches needs to be preferred.
NEARLY = 0.95
#: Seconds that a compilation may take: nothing that needs one is begun with less left.
COMPILING = 45.0


@dataclass(frozen=True)
class Setting:
    """How a step is made."""

    batch: int
    precision: str = "bf16"
    compile: bool = False

    @property
    def name(self) -> str:
        """What results call it."""
        return f"{self.precision} {'compiled' if self.compile else 'eager'} {self.batch}"


def step(visit: Visit, results: Results, budget: Budget) -> None:
    """Note the speed of every setting there is time for, and which is best."""
    speeds: dict[Setting, float] = {}

    def measure(setting: Setting) -> None:
        found = tried(lambda: our_speed(visit, setting))
        results.note(STAGE, setting.name, found)
        if "spectra/s" in found:
            speeds[setting] = found["spectra/s"]
            best = best_of(speeds)
            results.note(STAGE, "best", {"setting": best.name, **vars(best), "spectra/s": speeds[best]})

    for batch in visit.sizes.batches:
        measure(Setting(batch))
    if not speeds:
        return
    batch = best_of(speeds).batch
    results.note(STAGE, "simulation", tried(lambda: simulation(visit, batch, results)))
    results.note(STAGE, f"cuda graph {batch}", tried(lambda: graph_speed(visit, batch)))
    for name in ("transformers", "timm"):
        results.note(
            STAGE, f"{name} eager {batch}", tried(lambda name=name: rival_speed(visit, name, batch, False))
        )
    measure(Setting(batch, precision="fp32"))
    # What compiles comes last: it may take all the time there is.
    if visit.on_gpu and budget.left > COMPILING:
        measure(Setting(batch, compile=True))
    for name in ("transformers", "timm"):
        if visit.on_gpu and budget.left > COMPILING:
            found = tried(lambda name=name: rival_speed(visit, name, batch, True))
            results.note(STAGE, f"{name} compiled {batch}", found)


def best_of(speeds: dict[Setting, float]) -> Setting:
    """Return the fastest setting, or one of smaller batches that is nearly as fast: more steps learn more."""
    fastest = max(speeds.values())
    near = [setting for setting, speed in speeds.items() if speed >= NEARLY * fastest]
    return min(near, key=lambda setting: (setting.batch, -speeds[setting]))


def trainer_of(visit: Visit, setting: Setting) -> Trainer:
    """Return the training of the published network with one setting; it validates nothing."""
    recipe = Recipe(
        batch=setting.batch, lr=LR, clip=CLIP, precision="bf16" if setting.precision == "bf16" else "fp32",
        compile=setting.compile, steps=10**8, seed=SEED,
    )  # fmt: skip
    simulator, network = visit.simulator, visit.build(visit.reference())
    fit_front(network, simulator.draw("train", SEED, 0, 256))
    objective = LabelRegression.of(network, simulator.prior.label_space, recipe)
    feed = make_feed(endless(simulator, SEED), Share(setting.batch), visit.device, SEED, setting.compile)
    held_out = simulator.draw("validation", SEED, 0, 64)
    return Trainer(network.body, objective, feed, held_out, recipe, Processes(0, 1, visit.device))


def our_speed(visit: Visit, setting: Setting) -> dict[str, Any]:
    """Return the speed of the engine's own steps."""
    with closing(trainer_of(visit, setting).steps()) as steps:
        return speed_of(visit, steps, setting.batch)


def speed_of(visit: Visit, steps: Iterator[Any], batch: int) -> dict[str, Any]:
    """Return spectra per second of some steps after the first ones, which compile, tune and allocate."""
    began = time.perf_counter()
    for _ in range(2 if visit.sizes.steps < 4 else 4):
        next(steps)
    wait_for(visit.device)
    first = time.perf_counter() - began
    count = visit.sizes.steps
    seconds = seconds_of(lambda: [next(steps) for _ in range(count)], visit.device) / count
    return {
        "spectra/s": batch / seconds,
        "s/step": seconds,
        "warm-up, s": first,
        **use(visit, batch / seconds),
    }


def use(visit: Visit, spectra_per_second: float) -> dict[str, Any]:
    """Return the operations per second, by the architecture and as computed, and the first over the card's peak."""
    config, pixels = visit.transformer(), visit.simulator.grid.size
    nominal, computed = (
        spectra_per_second * training_flops(config, pixels, 1, shortcut) for shortcut in (False, True)
    )
    found: dict[str, Any] = {"model TFLOP/s": nominal / 1e12, "computed TFLOP/s": computed / 1e12}
    peak = peak_of(torch.cuda.get_device_name(visit.device)) if visit.on_gpu else None
    return {**found, "mfu": nominal / peak.flops if peak else None}


def simulation(visit: Visit, batch: int, results: Results) -> dict[str, Any]:
    """Return the time of drawing and preparing a batch, and its share of the best step so far."""
    setting = Setting(batch)
    trainer, number = trainer_of(visit, setting), 0

    def draw() -> object:
        nonlocal number
        number += 1
        return trainer.objective.prepare(trainer.feed(number), 0)

    seconds = median_seconds(draw, visit.device, visit.sizes.repeats)
    step_seconds = results.found(STAGE)[setting.name]["s/step"]
    return {"s/batch": seconds, "share of the step": seconds / step_seconds, "batch": batch}


def graph_speed(visit: Visit, batch: int) -> dict[str, Any]:
    """Return the speed of steps that are captured once and replayed."""
    if not visit.on_gpu:
        raise RuntimeError("CUDA graphs need a CUDA device")
    trainer = trainer_of(visit, Setting(batch))
    with closing(graphed_steps(trainer)) as steps:
        return speed_of(visit, steps, batch)


def rival_speed(visit: Visit, name: str, batch: int, compiled: bool) -> dict[str, Any]:
    """Return the speed of the same network from another library's blocks, on the same spectra."""
    ours = trainer_of(visit, Setting(batch))
    objective = ours.objective
    assert isinstance(objective, LabelRegression)
    torch.manual_seed(SEED)
    model: nn.Module = rivals.build(name).to(visit.device).train()
    optimiser = torch.optim.AdamW(model.parameters(), LR, weight_decay=0.01, fused=True)
    forward: Callable[[Tensor], Tensor] = torch.compile(model) if compiled else model  # type: ignore[assignment]
    scaling = objective.network.head.labels_scaling

    def steps() -> Iterator[Tensor]:
        with closing(prefetched(lambda n: objective.prepare(ours.feed(n), n), 0)) as batches:
            for inputs, targets in batches:
                with torch.autocast(visit.device.type, torch.bfloat16):
                    estimate = forward(inputs.values[:, 0])
                loss = nn.functional.mse_loss(estimate.float(), scaling.to_scaled(targets)[:, 0].float())
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                yield loss.detach()

    with closing(steps()) as taken:
        return speed_of(visit, taken, batch)
