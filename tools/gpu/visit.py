"""What all stages of a visit share: the device, the sizes, the simulated world and the networks of the visit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from gpu.plan import Sizes, sizes_for
from specvit.estimators import network_config
from specvit.models.network import NetworkConfig, SpectrumNetwork, build_network
from specvit.models.vit import ViTConfig
from specvit.simulate import Simulator

#: The label of which the ceiling is asked for.
LABEL = "log_g"
#: Of everything that is drawn.
SEED = 18
#: The same transformer with what specvit has learned about starts: patches with maps of their own that begin as matched
#: filters, mean pooling and a readout. Width, depth, heads and patches are those of the published one.
OURS = {
    "tokeniser": "local", "pooling": "mean", "readout": "2", "initial": "shared", "dropout": "0.0", "level": "true",
    "head": "gaussian",
}  # fmt: skip


@dataclass(frozen=True)
class Visit:
    """One visit.

    Args:
        device: what is visited; not touched before a stage runs.
        sizes: of the work.
        simulator: the reference world, on the CPU.
    """

    device: torch.device
    sizes: Sizes
    simulator: Simulator

    @classmethod
    def to(cls, device: str) -> Visit:
        """Return a visit to a device, the world built on one thread."""
        # Threads that OpenMP has started do not survive the fork of a stage.
        torch.set_num_threads(1)
        return cls(torch.device(device), sizes_for(device), Simulator.build("pfs_mr_reference"))

    @property
    def on_gpu(self) -> bool:
        """Whether there is anything to measure."""
        return self.device.type == "cuda"

    def reference(self) -> NetworkConfig:
        """Return SpecViT-reference: the published p16-h256-L6-a8."""
        return self._sized(network_config("vit", "reference"))

    def ours(self) -> NetworkConfig:
        """Return a transformer of that size with our start, mean and error of every label (`OURS`)."""
        return self._sized(network_config("vit", "reference").with_options(OURS))

    def build(self, config: NetworkConfig, labels: tuple[str, ...] = (LABEL,)) -> SpectrumNetwork:
        """Return a network with the same random weights every time, on the CPU."""
        torch.manual_seed(SEED)
        return build_network(config, self.simulator.grid, self.simulator.prior.label_space.select(labels))

    def transformer(self) -> ViTConfig:
        """Return the description of the transformer alone, whose operations are counted."""
        backbone = self.reference().backbone
        assert isinstance(backbone, ViTConfig)
        return backbone

    def _sized(self, config: NetworkConfig) -> NetworkConfig:
        return replace(config.with_options(dict(self.sizes.network))) if self.sizes.network else config


def tried(job: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a job, or the error it ends with; says how long it took."""
    began = time.perf_counter()
    try:
        found = job()
    # One figure that cannot be had must not cost those after it.
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    return {**found, "seconds": round(time.perf_counter() - began, 3)}
