"""A training step of SpecViT-reference, simulation included, against the same network from other libraries.

The rivals are built from the encoder layers of transformers and the blocks of timm, and fed the way the
reference work was: clean spectra and sigma in memory, noise added per item, torch's DataLoader. All have the
same parameters, batch, loss (MSE), AdamW, gradient clipping and dropout; that they are the same function is
checked first. Each lives in a process of its own; they take turns, and never run at the same time.

    python benchmarks/train.py [--batch 64] [--steps 2] [--repeats 5] [--quick] [--json FILE]

With a CUDA device it runs there (bf16, ours compiled, theirs as they come), with larger batches, and adds the share of
the simulation and the utilisation of the device. `tools/gpu_visit.py` compares the blocks alone, compiled or not.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor, nn

import _rival_vits as rivals
from _cards import peak_of
from _clock import wait_for
from _flops import training_flops
from _machine import heading
from specvit.estimators import network_config
from specvit.models.network import SpectrumNetwork, build_network
from specvit.models.vit import ViTConfig
from specvit.simulate import Simulator, endless
from specvit.training import LabelRegression, Recipe, Trainer
from specvit.training.distributed import Processes
from specvit.training.feeds import Share, make_feed
from specvit.training.starts import fit_front

LABEL = "log_g"
RIVALS = ("transformers", "timm")
LR, BETAS, WEIGHT_DECAY, CLIP = 3e-4, (0.9, 0.999), 0.01, 0.5
STORED = 2048

#: Largest difference of outputs for the same weights.
TOLERANCE = 1e-4


class StoredStars(torch.utils.data.Dataset):
    """Clean spectra with sigma; noise is drawn at each access."""

    def __init__(self, flux: Tensor, sigma: Tensor, labels: Tensor) -> None:
        self.flux, self.sigma, self.labels = flux, sigma, labels

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        flux = self.flux[index]
        return flux + self.sigma[index] * torch.randn_like(flux), self.labels[index]


def our_network(simulator: Simulator) -> SpectrumNetwork:
    space = simulator.prior.label_space.select((LABEL,))
    return build_network(network_config("vit", "reference"), simulator.grid, space)


def our_trainer(simulator: Simulator, batch: int, device: torch.device) -> Trainer:
    on_gpu = device.type == "cuda"
    recipe = Recipe(
        batch=batch, lr=LR, betas=BETAS, weight_decay=WEIGHT_DECAY, clip=CLIP, ema=0.0, steps=10**8,
        precision="bf16" if on_gpu else "fp32", compile=on_gpu,
    )  # fmt: skip
    network = our_network(simulator)
    fit_front(network, simulator.draw("train", 2, 0, 256))
    held_out = simulator.draw("validation", 1, 0, 64)
    feed = make_feed(endless(simulator, 1), Share(batch), device, recipe.seed, recipe.compile)
    objective = LabelRegression.of(network, simulator.prior.label_space, recipe)
    return Trainer(network.body, objective, feed, held_out, recipe, Processes(0, 1, device))


def rival_steps(name: str, simulator: Simulator, batch: int, device: torch.device) -> Iterator[None]:
    """Train the rival one step per item."""
    stars = simulator.draw("train", 1, 0, STORED)
    space = simulator.prior.label_space
    truth = stars.labels[:, space.index(LABEL)]
    stored = StoredStars(stars.truth.flux, stars.truth.sigma, (truth - truth.mean()) / truth.std())
    on_gpu = device.type == "cuda"
    loader = torch.utils.data.DataLoader(
        stored, batch, shuffle=True, drop_last=True, pin_memory=on_gpu, persistent_workers=True,
        num_workers=max(1, min(12, (os.cpu_count() or 2) - 1)),
    )  # fmt: skip
    model = rivals.build(name).to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), LR, BETAS, weight_decay=WEIGHT_DECAY)
    while True:
        for flux, label in loader:
            with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
                estimate = model(flux.to(device, non_blocking=True))
            loss = nn.functional.mse_loss(estimate.float(), label.to(device, non_blocking=True))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimiser.step()
            yield


def serve(name: str, batch: int, device: str, threads: int, pipe: Connection) -> None:
    """Take as many steps as the pipe asks for and answer with (wall seconds, CPU seconds), until it says 0."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    place, simulator = torch.device(device), Simulator.build("pfs_mr_reference")
    if name == "specvit":
        trainer = our_trainer(simulator, batch, place)
        steps: Iterator = trainer.steps()
    else:
        steps = rival_steps(name, simulator, batch, place)
    while count := pipe.recv():
        pipe.send(timed(lambda n=count: [next(steps) for _ in range(n)], place))
    if name == "specvit":
        feed, start = trainer.feed, trainer.step
        pipe.send(timed(lambda: [feed(start + k) for k in range(1, 6)], place)[0] / 5)


def timed(job: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Return wall and CPU seconds of `job` in this process."""
    wait_for(device)
    wall, cpu = time.perf_counter(), time.process_time()
    job()
    wait_for(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def check_same_function(name: str, simulator: Simulator) -> None:
    """Raise unless the rival has our parameters and, with our weights, our outputs."""
    network, rival = our_network(simulator).eval(), rivals.build(name).eval()
    counts = [sum(p.numel() for p in module.parameters()) for module in (network.body, rival)]
    rivals.copy_weights(name, network.body, rival)
    stars = simulator.draw("test", 1, 0, 4)
    inputs = network.front(stars.flux, stars.sigma)
    with torch.inference_mode():
        worst = float((network.body(inputs)[:, 0, 0] - rival(inputs.values[:, 0])).abs().max())
    if counts[0] != counts[1] or not worst < TOLERANCE:
        raise SystemExit(
            f"{name}: {counts[1]:,} parameters for our {counts[0]:,}, outputs differ by {worst:.1e}"
        )
    print(
        f"  {name}: {counts[1]:,} parameters as ours, outputs equal to {worst:.0e} for equal weights",
        flush=True,
    )


def available(simulator: Simulator) -> list[str]:
    """Return the rivals that are installed; name the others."""
    found = []
    for name in RIVALS:
        try:
            check_same_function(name, simulator)
            found.append(name)
        except ImportError as error:
            print(f"  {name}: left out, as it cannot be imported ({error}); `make bench` installs it")
    return found


def utilisation(spectra_per_second: float, pixels: int) -> dict[str, float | str | None]:
    """Return what share of the card's peak the training uses; None for a card whose peak is not known."""
    card = torch.cuda.get_device_name()
    peak = peak_of(card)
    flops = spectra_per_second * training_flops(ViTConfig.reference(), pixels, outputs=1, shortcut=False)
    return {"card": card, "flops": flops, "mfu": flops / peak.flops if peak else None}


def measure(
    names: list[str], options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, list[float]], float]:
    """Return wall and CPU seconds per step of each contestant by repeat, and seconds per simulated batch."""
    context, pipes, processes = multiprocessing.get_context("spawn"), {}, []
    for name in names:
        pipes[name], other = context.Pipe()
        job = (name, options.batch, options.device, options.threads, other)
        processes.append(context.Process(target=serve, args=job))
        processes[-1].start()
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(options.repeats + 1):
        for name, pipe in pipes.items():
            pipe.send(options.warm_up if repeat == 0 else options.steps)
            seconds = pipe.recv()
            if repeat > 0:
                wall[name].append(seconds[0] / options.steps)
                cpu[name].append(seconds[1] / options.steps)
        print(f"  {'warm-up' if repeat == 0 else f'repeat {repeat} of {options.repeats}'} done", flush=True)
    for pipe in pipes.values():
        pipe.send(0)
    simulation = pipes["specvit"].recv()
    for process in processes:
        process.join()
    return wall, cpu, simulation


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, help="spectra per step (64; 1024 on CUDA)")
    parser.add_argument("--steps", type=int, help="steps per repeat (2; 50 on CUDA)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="batches of 16, one step, two repeats")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    on_gpu = options.device.startswith("cuda")
    options.batch = options.batch or (16 if options.quick else 1024 if on_gpu else 64)
    options.steps = options.steps or (1 if options.quick else 50 if on_gpu else 2)
    options.repeats = min(options.repeats, 2) if options.quick else options.repeats
    options.warm_up = 10 if on_gpu else 1

    print(f"training step of SpecViT-reference, batches of {options.batch}")
    print(heading(options.device, options.threads, seed=0, packages=RIVALS))
    simulator = Simulator.build("pfs_mr_reference")
    names = ["specvit", *available(simulator)]
    wall, cpu, simulation = measure(names, options)
    ours, figures = wall["specvit"], {}
    print(f"  medians of {options.repeats} repeats of {options.steps} steps, in turn [least, most]")
    for name in names:
        ratios = [their / our for their, our in zip(wall[name], ours, strict=True)]
        median, processor = statistics.median(wall[name]), statistics.median(cpu[name])
        figures[name] = {
            "seconds_per_step": median,
            "spectra_per_second": options.batch / median,
            "cpu_seconds_per_step": processor,
            "ratio": statistics.median(ratios),
            "ratio_range": [min(ratios), max(ratios)],
        }
        print(
            f"  {name:13s} {median:8.3f} s  {options.batch / median:10,.1f} spectra/s  ratio "
            f"{statistics.median(ratios):5.2f} [{min(ratios):.2f}, {max(ratios):.2f}]  "
            f"CPU {processor:7.2f} s without loader"
        )
    figures["simulation_share"] = simulation / statistics.median(ours)
    print(
        f"  simulation alone: {simulation:.3f} s per batch, {100 * figures['simulation_share']:.1f} % of our step"
    )
    if on_gpu:
        figures["use"] = utilisation(options.batch / statistics.median(ours), simulator.grid.size)
        mfu = figures["use"]["mfu"]
        share = (
            f"{100 * mfu:.1f} % of its peak"
            if mfu is not None
            else "an unknown card: no peak to compare with"
        )
        print(f"  model FLOP/s {figures['use']['flops'] / 1e12:.0f} 10^12, {share}")
    if options.json:
        options.json.write_text(
            json.dumps({"batch": options.batch, "device": options.device, **figures}, indent=1)
        )


if __name__ == "__main__":
    main()
