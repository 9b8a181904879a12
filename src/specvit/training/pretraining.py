"""What a body can learn from spectra alone, before it learns labels: hidden patches, or spectra without their noise.

Tokens of a SpecViT are mapped back to the pixels of their patches; the map is thrown away afterwards. Errors are
weighted by the inverse variance of each pixel, so that noisy pixels, which nobody can predict, count as little as they
say. Source: Devlin et al. 2019, NAACL (masked tokens); He et al. 2022, CVPR (high shares of hidden patches); Lehtinen et
al. 2018, ICML (a second noisy draw as the target).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specvit.errors import ConfigError, DataError
from specvit.models.conditioning import Conditioning, Inputs
from specvit.models.network import SpectrumNetwork
from specvit.models.usable import usable_pixels
from specvit.models.vit import SpecViT
from specvit.models.vit.tokens import LocalMap, Tokeniser
from specvit.spectra import Generated, SpectraBatch, SpectraSource, collect
from specvit.training.distributed import Processes
from specvit.training.engine import Listener, Trainer
from specvit.training.feeds import Share, make_feed
from specvit.training.recipe import RESTORING, Recipe

#: Of checkpoints of the pretraining, inside the folder of those of the training.
FOLDER = "pretraining"

#: Of what is hidden, or drawn anew, in held-out spectra: alike every time.
HELD_OUT_SEED = 0


class Reconstructor(nn.Module):
    """An encoder and a map from each of its tokens to the pixels of its patch.

    Args:
        backbone: of the network that is pretrained, trained in place.
    """

    def __init__(self, backbone: SpecViT) -> None:
        super().__init__()
        self.backbone = backbone
        finest = cast(Tokeniser, backbone.tokenisers[0])
        self.patch, self.stride, self.pixels = finest.patch, finest.stride, finest.pixels
        self.decoder: nn.Module
        if finest.form == "local":
            # A line lies at its own wavelength, there and back.
            self.decoder = LocalMap(finest.count, backbone.config.width, finest.patch)
            nn.init.normal_(self.decoder.weight, std=backbone.config.width**-0.5)
            nn.init.zeros_(self.decoder.bias)
        else:
            self.decoder = nn.Linear(backbone.config.width, finest.patch)
        length = self.pixels + finest.padding
        covered = F.fold(
            torch.ones(1, finest.patch, finest.count),
            (1, length),
            (1, finest.patch),
            stride=(1, finest.stride),
        )
        self.register_buffer("covered", covered[0, 0, 0], persistent=False)

    covered: Tensor

    def forward(self, inputs: Inputs) -> Tensor:
        """Return the flux channel of every pixel, shape (B, L); the mean where patches overlap."""
        patches = self.decoder(self.backbone.encode(inputs)).transpose(1, 2)
        size = (1, len(self.covered))
        total = F.fold(patches, size, (1, self.patch), stride=(1, self.stride))[:, 0, 0]
        found: Tensor = (total / self.covered)[:, : self.pixels]
        return found


@dataclass(frozen=True)
class Reconstruction:
    """Give back hidden patches, or a spectrum without its noise; what is explained of held-out spectra selects.

    Args:
        network: its front end must be fitted, and see flux as it is standardised (no `chunk`).
        task: one of `recipe.PRETRAININGS` but "none".
        share: of each spectrum that is hidden, for "masked".
        block: neighbouring patches that are hidden together.
    """

    network: SpectrumNetwork
    task: str
    share: float = 0.5
    block: int = 1

    score = "explained"
    monitor = ("flux",)

    @property
    def front(self) -> nn.Module:
        """The front end of the network."""
        return self.network.front

    @property
    def identity(self) -> dict[str, Any]:
        """Network, task and what is hidden."""
        return {
            "objective": "reconstruction",
            "network": self.network.config.to_dict(),
            "task": self.task,
            "share": self.share,
            "block": self.block,
        }

    def check(self, validation: SpectraBatch) -> None:
        """Raise DataError if the task needs a noise-free flux that is not known."""
        if self.task in RESTORING and validation.truth is None:
            raise DataError(
                f"pretrain: '{self.task}' needs held-out spectra whose noise-free flux is known; simulate them, or "
                "take pretrain = masked"
            )

    def prepare(self, batch: SpectraBatch, seed: int | None) -> tuple[Inputs, Tensor]:
        """Return conditioned spectra, and the flux wanted of each pixel with its weight, shape (B, 2, L)."""
        front = cast(Conditioning, self.network.front)
        generator = torch.Generator().manual_seed(HELD_OUT_SEED if seed is None else seed)
        asked = usable_pixels(batch.flux, batch.sigma)
        shown, wanted = batch.sigma, batch.flux
        if self.task == "masked":
            hidden = self._hidden(len(batch), generator).to(batch.flux.device)
            # Dead, not zero: no median, continuum or derivative may tell what is hidden.
            shown, asked = batch.sigma.masked_fill(hidden, torch.inf), asked & hidden
        else:
            truth = batch.known_truth()
            wanted = truth.flux
            if self.task == "second-draw":
                noise = torch.randn(wanted.shape, generator=generator)
                wanted = wanted + truth.sigma * noise.to(wanted)
        seen = front.viewed(batch.flux, shown)
        inputs = front.from_normalised(seen.usable, seen.flux, seen.sigma)
        target = ((wanted - seen.offset) / seen.divisor - front.centre) / front.scale
        noise = batch.sigma / seen.divisor / front.scale
        if front.seen is not None:
            asked = asked & front.seen
        weight = torch.where(asked, noise.square().reciprocal(), 0.0)
        return inputs, torch.stack([torch.where(asked, target, 0.0), weight], dim=1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted mean squared error of the pixels asked for."""
        wanted, weight = targets.unbind(dim=1)
        loss: Tensor = (weight * (outputs.float() - wanted).square()).sum() / weight.sum().clamp(min=1e-30)
        return loss

    def scores(self, held_out: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Return by how much less the weighted error is than that of the mean spectrum, as a share of it."""
        left = total = 0.0
        for outputs, targets in held_out:
            wanted, weight = targets.double().unbind(dim=1)
            left += float((weight * (outputs.double() - wanted).square()).sum())
            total += float((weight * wanted.square()).sum())
        return {"flux": 1 - left / total}

    def _hidden(self, count: int, generator: torch.Generator) -> Tensor:
        """Return which pixels are hidden, shape (count, L): whole blocks of patches, as many in each spectrum."""
        finest = cast(Tokeniser, cast(SpecViT, self.network.body.backbone).tokenisers[0])
        width = finest.stride * self.block
        blocks = -(-finest.pixels // width)
        order = torch.rand(count, blocks, generator=generator).argsort(dim=1)
        chosen = order < min(max(1, round(self.share * blocks)), max(1, blocks - 1))
        return chosen.repeat_interleave(width, dim=1)[:, : finest.pixels]


def pretrain(
    network: SpectrumNetwork,
    source: SpectraSource,
    validation: SpectraSource,
    recipe: Recipe,
    world: Processes,
    folder: Path | None = None,
    listen: Listener | None = None,
) -> dict[str, Any]:
    """Let the encoder of a network learn from spectra without labels, in place; return the record of it.

    Args:
        network: its front end must be fitted.
        source: of the spectra it learns from.
        validation: held-out spectra, by which the weights are chosen.
        recipe: of the whole training.
        world, folder, listen: see `Trainer`; checkpoints go to a folder of their own.

    Raises:
        ConfigError: for a network other than a SpecViT that sees its flux whole, or several processes.
        DataError: if noise-free flux is needed and not known.
    """
    first, _ = recipe.parts
    assert first is not None
    backbone, front = network.body.backbone, network.front
    if not isinstance(backbone, SpecViT) or not isinstance(front, Conditioning) or front.chunk:
        raise ConfigError("pretrain: only a vit can be pretrained, with chunk = 0")
    if world.size > 1:
        raise ConfigError("pretrain: not in several processes; pretrain in one, and start from its folder")
    restoring = recipe.pretrain in RESTORING
    held_out = collect(validation)
    if restoring and held_out.truth is None and isinstance(validation, Generated):
        held_out = collect(validation.on("cpu", truth=True))
    feed = make_feed(
        source, Share(first.batch, world.rank, world.size), world.device, first.seed, first.compile, restoring
    )
    objective = Reconstruction(network, recipe.pretrain, recipe.pretrain_mask, recipe.pretrain_block)
    own = None if folder is None else folder / FOLDER
    trainer = Trainer(Reconstructor(backbone), objective, feed, held_out, first, world, own, listen)
    record = trainer.run()
    backbone.train()
    return {"task": recipe.pretrain, "share": recipe.pretrain_mask, "block": recipe.pretrain_block, **record}
