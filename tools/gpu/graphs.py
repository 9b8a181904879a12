"""Training steps as one CUDA graph: captured once, then replayed without a launch from Python per kernel.

What a replay reads and writes lies where it lay at the capture: spectra are copied there before each. Dropout draws from
PyTorch's generator of the device, which a graph knows: its seed is set before each replay, as the engine does before
each step. Spectra are drawn outside the graph, as their noise is keyed by block, with generators that are set anew.
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn

from specvit.training import Trainer

#: Steps before the capture, which allocate and tune.
BEFORE = 3


def graphed_steps(trainer: Trainer) -> Generator[Tensor, None, None]:
    """Take one step per item with AdamW at a fixed rate; yield losses, on the device, overwritten by the next.

    Args:
        trainer: whose network, objective and feed are taken; on a CUDA device.
    """
    recipe, body, objective = trainer.recipe, trainer.body, trainer.objective
    # Its state has to be on the device, where a replay can change it.
    optimiser = torch.optim.AdamW(
        body.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True,
        capturable=True,
    )  # fmt: skip
    inputs, targets = objective.prepare(trainer.feed(0), 0)

    def one_step() -> Tensor:
        # The cache of autocast would hold casts that were made outside the graph.
        with torch.autocast("cuda", torch.bfloat16, recipe.precision == "bf16", cache_enabled=False):
            outputs = body(inputs)
        loss = objective.loss(outputs, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(body.parameters(), recipe.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    # On a stream of their own, as PyTorch asks for before a capture.
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(BEFORE):
            one_step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = one_step()
    number = 0
    while True:
        number += 1
        fresh, labels = objective.prepare(trainer.feed(number), number)
        for place, value in zip((*inputs, targets), (*fresh, labels), strict=True):
            if place is not None:
                place.copy_(value)
        torch.manual_seed(number)
        graph.replay()
        yield loss
