"""Training and sampling of a diffusion of spectra, against a plain pipeline of diffusers with the very same network.

The rival trains as its documentation does: clean spectra in memory, torch's DataLoader, noise by `DDPMScheduler`, mean
squared error, AdamW, gradients clipped; it samples by the steps of the scheduler. Ours trains while its spectra are
simulated, with an average of the weights, and samples by `ancestral` (as many passes of the network) and by `flow`. That
one step of both samplers is the same function is checked first. diffusers' own `UNet1DModel`, of about as many
parameters, is timed beside. All take turns; without diffusers, ours is timed alone.

    pip install diffusers==0.35.1
    python benchmarks/denoise_networks.py [--batch 32] [--steps 4] [--passes 16] [--repeats 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from _machine import heading
from specvit.denoise.learned.diffusion import Diffused, Diffuser, Diffusion, ddpm_times
from specvit.denoise.learned.sampling import ancestral, flow
from specvit.denoise.learned.seen import Sight
from specvit.denoise.learned.unet import UNetConfig
from specvit.simulate import Simulator, endless
from specvit.training import Recipe, Share, Trainer, join_processes, make_feed

STORED, LR, CLIP, SEED = 512, 1e-3, 1.0, 1

#: Largest difference of one step of both samplers, of states of unit variance.
TOLERANCE = 2e-3


def our_body(simulator: Simulator) -> Diffuser:
    torch.manual_seed(SEED)
    sight = Sight(simulator.grid.size)
    sample = simulator.draw("train", 2, 0, STORED)
    sight.fit(sample.flux, sample.sigma, sample.known_truth().flux)
    return Diffuser(UNetConfig(), sight, "ddpm", conditional=False)


def our_training(simulator: Simulator, batch: int) -> Callable[[int], None]:
    body = our_body(simulator)
    world = join_processes("cpu")
    feed = make_feed(endless(simulator, SEED), Share(batch), world.device, SEED, truth=True)
    recipe = Recipe(batch=batch, lr=LR, clip=CLIP, ema=0.999, steps=10**8)
    held_out = simulator.draw("validation", 1, 0, 32)
    steps = Trainer(body, Diffusion(body), feed, held_out, recipe, world).steps()

    def train(count: int) -> None:
        for _ in range(count):
            next(steps)

    return train


def their_training(
    network: Callable[[Tensor, Tensor], Tensor], parameters: list[nn.Parameter], clean: Tensor, batch: int
) -> Callable[[int], None]:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(num_train_timesteps=1000)
    optimiser = torch.optim.AdamW(parameters, lr=LR)
    loader = torch.utils.data.DataLoader(clean, batch_size=batch, shuffle=True, drop_last=True)

    def train(count: int) -> None:
        batches = iter(loader)
        for _ in range(count):
            states = next(batches, None)
            if states is None:
                batches = iter(loader)
                states = next(batches)
            noise = torch.randn_like(states)
            times = torch.randint(0, 1000, (len(states),))
            noisy = scheduler.add_noise(states, noise, times)
            loss = nn.functional.mse_loss(network(noisy, times), noise)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimiser.step()
            optimiser.zero_grad()

    return train


def plain(body: Diffuser) -> Callable[[Tensor, Tensor], Tensor]:
    """Return our network as diffusers calls one: states of unit variance and step numbers -> noise."""
    table = ddpm_times().float()

    def network(noisy: Tensor, times: Tensor) -> Tensor:
        # What `Diffuser` gives its network: the state over √(1 + t²), which is theirs, and ln t / 4.
        found: Tensor = body.network(noisy[:, None], table[times].log()[:, None] / 4)[:, 0]
        return found

    return network


@torch.no_grad()
def their_samples(
    network: Callable[[Tensor, Tensor], Tensor], pixels: int, count: int, passes: int
) -> Tensor:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(num_train_timesteps=1000, clip_sample=False)
    scheduler.set_timesteps(passes)
    state = torch.randn(count, pixels)
    for time_step in scheduler.timesteps:
        noise = network(state, time_step.expand(count))
        state = scheduler.step(noise, int(time_step), state).prev_sample
    return state


@torch.no_grad()
def our_samples(body: Diffuser, count: int, passes: int, by_flow: bool) -> Tensor:
    chosen = torch.linspace(999, 0, passes // 2 if by_flow else passes).long()
    times = [*(float(one) for one in ddpm_times()[chosen]), 0.0]
    generator = torch.Generator().manual_seed(SEED)
    start = (1 + times[0] ** 2) ** 0.5 * torch.randn(count, body.sight.pixels, generator=generator)

    def guess(state: Tensor, now: float) -> Tensor:
        found: Tensor = body(Diffused(state, torch.full_like(state[:, :1], now), None))
        return found

    return flow(guess, start, times) if by_flow else ancestral(guess, start, times, generator)


@torch.no_grad()
def check(body: Diffuser) -> float:
    """Return by how much one step of both samplers, without its noise, differs; for weights that are nowhere zero."""
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(num_train_timesteps=1000, clip_sample=False)
    scheduler.set_timesteps(1000)
    table, at = ddpm_times(), 500
    now, then = float(table[at]), float(table[at - 1])
    state = (1 + now**2) ** 0.5 * torch.randn(4, body.sight.pixels)
    expected = body(Diffused(state, torch.full((4, 1), now), None))
    kept = (then / now) ** 2
    ours = (expected + kept * (state - expected)) / (1 + then**2) ** 0.5
    noise = plain(body)(state / (1 + now**2) ** 0.5, torch.full((4,), at))
    zero = torch.Generator().manual_seed(0)
    theirs = scheduler.step(noise, at, state / (1 + now**2) ** 0.5, generator=zero)
    drawn = torch.randn(state.shape, generator=torch.Generator().manual_seed(0))
    spread = then * (1 - kept) ** 0.5 / (1 + then**2) ** 0.5
    return float((ours + spread * drawn - theirs.prev_sample).abs().max())


def seconds(tasks: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each task; they take turns, after one round that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            if turn:
                taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("batch", 32), ("steps", 4), ("passes", 16), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    simulator = Simulator.build()
    body, pixels = our_body(simulator), simulator.grid.size
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    train = our_training(simulator, asked.batch)
    tasks: dict[str, Callable[[], Any]] = {
        "training, ours": lambda: train(asked.steps),
        "sampling, ours": lambda: our_samples(body, asked.batch, asked.passes, by_flow=False),
        "sampling, ours by flow": lambda: our_samples(body, asked.batch, asked.passes, by_flow=True),
    }
    result: dict[str, Any] = {}
    if importlib.util.find_spec("diffusers") is None:
        print("diffusers is not installed: ours is timed alone")
    else:
        from diffusers import UNet1DModel

        result["one step differs by"] = check(body)
        assert result["one step differs by"] < TOLERANCE, result
        sight, sample = body.sight, simulator.draw("train", 3, 0, STORED)
        clean = (sample.known_truth().flux - sight.mean) / sight.spread
        same = our_body(simulator)
        own = UNet1DModel(
            sample_size=pixels, in_channels=1, out_channels=1, extra_in_channels=16, block_out_channels=(32, 32, 64)
        )  # fmt: skip
        result["parameters"] = {
            "ours": sum(p.numel() for p in same.parameters()), "UNet1DModel": sum(p.numel() for p in own.parameters())
        }  # fmt: skip

        def theirs(states: Tensor, times: Tensor) -> Tensor:
            found: Tensor = own(states[:, None], times).sample[:, 0]
            return found

        rivals = {"diffusers, same network": (plain(same), same), "diffusers, UNet1DModel": (theirs, own)}
        for name, (network, module) in rivals.items():
            rival = their_training(network, list(module.parameters()), clean, asked.batch)
            tasks[f"training, {name}"] = lambda rival=rival: rival(asked.steps)
            tasks[f"sampling, {name}"] = lambda network=network: their_samples(
                network, pixels, asked.batch, asked.passes
            )
    taken = seconds(tasks, asked.repeats)
    print(heading("cpu", torch.get_num_threads(), SEED, ("diffusers",)))
    for name, value in taken.items():
        kind = name.partition(",")[0]
        count = asked.batch * (asked.steps if kind == "training" else 1)
        result[name] = {"spectra_per_second": count / value, "ratio": value / taken[f"{kind}, ours"]}
        print(
            f"{name:40} {count / value:8.1f} spectra/s   ours is {value / taken[f'{kind}, ours']:.2f} times as fast"
        )
    if asked.json is not None:
        asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
