"""From a guess at what is behind noise to samples of it. Owns samplers and posterior scores; has no weights.

A `Guess` is E[x | x + t ε], the expectation of a state x behind white noise of standard deviation t; all scores follow
from it (Tweedie's formula: ∇ ln p(z) = (guess - z) / t²). Times fall from noise in which nothing is left to almost none.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from specvit.errors import ConfigError

#: (state (B, N), standard deviation of its noise) -> expectation of what is behind it, (B, N).
Guess = Callable[[Tensor, float], Tensor]

#: Bends the steps towards little noise (Karras et al. 2022).
RHO = 7.0


def noise_times(steps: int, low: float, high: float) -> list[float]:
    """Return `steps` standard deviations that fall from `high` to `low`, and then 0.

    Raises:
        ConfigError: for fewer than two steps, or bounds that are not positive and rising.
    """
    if steps < 2 or not 0 < low < high:
        raise ConfigError(
            f"steps: expected at least 2 with 0 < low < high, got {steps}, {low:g} and {high:g}"
        )
    first, last = high ** (1 / RHO), low ** (1 / RHO)
    return [*((first + (last - first) * k / (steps - 1)) ** RHO for k in range(steps)), 0.0]


def flow(guess: Guess, start: Tensor, times: list[float]) -> Tensor:
    """Follow the probability flow from a state at times[0], by Heun's rule: Karras et al. 2022, algorithm 1."""
    state = start
    for now, then in pairwise(times):
        slope = (state - guess(state, now)) / now
        moved = state + (then - now) * slope
        if then > 0:
            ahead = (moved - guess(moved, then)) / then
            moved = state + (then - now) * 0.5 * (slope + ahead)
        state = moved
    return state


def ancestral(guess: Guess, start: Tensor, times: list[float], generator: torch.Generator) -> Tensor:
    """Draw step by step from what is left of the noise: the sampler of Ho, Jain & Abbeel 2020, NeurIPS.

    Written for states x + t ε, to which theirs is brought by a division. Its samples are too narrow by some 15 % with 40
    steps, and by 2 % with 400: `flow` needs a twentieth of them.
    """
    state = start
    for now, then in pairwise(times):
        expected = guess(state, now)
        kept = (then / now) ** 2
        noise = torch.randn(state.shape, generator=generator, device=state.device, dtype=state.dtype)
        state = expected + kept * (state - expected) + then * (1 - kept) ** 0.5 * noise
    return state


def product_guess(restore: Guess, observed: Tensor) -> Guess:
    """Return the guess given also an observation, exactly: the product of two Gaussians is one.

    Observation y = x + ε and state z = x + t ε' say together what one observation μ = s² (y + z / t²) with noise s,
    1 / s² = 1 + 1 / t², says. So whoever denoises at all noise levels s from 0 to 1 samples the posterior, without
    any further approximation. States are in units of the noise of the observation.

    Args:
        restore: (μ, s) -> E[x | x + s ε = μ].
        observed: y, shape (B, N).
    """

    def guess(state: Tensor, time: float) -> Tensor:
        variance = 1 / (1 + 1 / time**2)
        return restore(variance * (observed + state / time**2), variance**0.5)

    return guess


def guided_guess(guess: Guess, observed: Tensor, noise: Tensor, scale: float = 1.0) -> Guess:
    """Return a prior's guess drawn to an observation: diffusion posterior sampling, which is approximate.

    The likelihood of y given z is taken as N(y; guess(z), noise² + r²). With r = 0 (`scale` 0) it is that of Chung et al.
    2023, ICLR, which takes what the guess says for certain; r² = t² / (1 + t²) is the error of the guess for a state of
    unit variance (Song et al. 2023, ICLR), and exact if the prior is Gaussian and white.

    Args:
        guess: of the prior; differentiable.
        observed: y, shape (B, N), in the units of the state.
        noise: its standard deviation, (B, N); `inf` where nothing was observed.
        scale: multiplies r².
    """
    live = torch.isfinite(noise)
    known = torch.where(live, observed, 0.0)

    def drawn(state: Tensor, time: float) -> Tensor:
        spread = scale * time**2 / (1 + time**2)
        with torch.enable_grad():
            at = state.detach().requires_grad_()
            expected = guess(at, time)
            variance = torch.where(live, noise, 1.0).square() + spread
            misfit = torch.where(live, (known - expected).square() / variance, 0.0)
            (slope,) = torch.autograd.grad(-0.5 * misfit.sum(), at)
        return (expected + time**2 * slope).detach()

    return drawn
