"""Networks that can be fitted: an architecture, a recipe and the engine in one `Estimator`."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from specvit.errors import ConfigError, DataError
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.pretrained import find_bundle
from specvit.models.batching import rows_for, widest_layer
from specvit.models.conditioning import Conditioning
from specvit.models.cost import forward_flops
from specvit.models.inputs import Progress
from specvit.models.network import NetworkConfig, SpectrumNetwork, build_network
from specvit.models.origin import snr_range
from specvit.models.prepared import prepared
from specvit.models.view import Density
from specvit.spectra import SpectraSource, collect, take
from specvit.training.continuing import check_same_kind, grown, start_from_network
from specvit.training.distillation import Distillation, teacher_for
from specvit.training.distributed import Processes, join_processes
from specvit.training.engine import VALIDATED, Listener, Trainer
from specvit.training.feeds import Share, make_feed
from specvit.training.fine_tuning import freeze
from specvit.training.objectives import LabelRegression
from specvit.training.pretraining import pretrain
from specvit.training.recipe import STARTS, STATED, Recipe
from specvit.training.starts import SAMPLE, prepare

#: Reserved spectra by which stated errors are corrected, at most and at least, and how many are drawn at once.
CALIBRATION_SPECTRA, FEWEST_SPECTRA, CALIBRATION_BATCH = 50_000, 10_000, 512

#: Event of the records of the correction of the stated errors, and the share of a fit that comes before it.
CORRECTION, TRAINING_SHARE = "correction", 0.97

#: Event of the records of a pretraining.
PRETRAINING = "pretraining"

#: Floating-point operations between the two: ten seconds of two cores.
CALIBRATION_FLOPS = 2e12


@dataclass(frozen=True)
class NetworkFitter:
    """Trains one architecture by one recipe; see `NetworkEstimator` for the contract.

    Args:
        config: the architecture.
        recipe: the training.
        labels: labels to estimate; None means all of the training set.
        device: "cpu", "cuda", ...; None takes a GPU if there is one.
        folder: where checkpoints go and are looked for.
        listen: see `Trainer`.
        density: where the information lies, for a network that is to see the pixels that hold most of it.
        more: gives training spectra without end of the same world, for a pretraining on them.
    """

    config: NetworkConfig
    recipe: Recipe
    labels: tuple[str, ...] | None = None
    device: str | None = None
    folder: Path | None = None
    listen: Listener | None = None
    density: Density | None = None
    more: Callable[[], SpectraSource] | None = None

    def __call__(
        self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None
    ) -> tuple[SpectrumNetwork, dict[str, Any]]:
        """Return the trained network, with its best weights, and the training record."""
        began, listen = time.monotonic(), self._listener(progress)
        first = network_to_start_from(self.recipe.start)
        world = join_processes(self.device)
        # For the weights at the start, alike in all processes.
        torch.manual_seed(self.recipe.seed)
        space = train.label_space.select(self.labels) if self.labels else train.label_space
        config = self.config if first is None else grown(self.config, first.network.config)
        network = build_network(config, train.grid, space)
        scored = collect(validation)
        if isinstance(network.front, Conditioning):
            network.front.see(self.config.front.viewing.mask(train.grid, self.density))
        if first is None:
            start = prepare(network, train, scored, self.recipe.start)
        else:
            check_same_kind(network, first.network, train.grid, first.grid)
            start_from_network(network, first.network, take(train, SAMPLE))
            start = first.described
        before: dict[str, Any] = {}
        if self.recipe.pretrain != "none":
            before = {
                "pretraining": self._pretrain(network, train, validation, world),
                "recipe": self.recipe.to_dict(),
            }
        freeze(network, self.recipe.frozen)
        _, recipe = self.recipe.parts
        share = Share(recipe.batch, world.rank, world.size)
        needs_truth = recipe.teacher_noise != 1
        feed = make_feed(train, share, world.device, recipe.seed, recipe.compile, needs_truth)
        objective = self._objective(network, train, world)
        body = objective.body if isinstance(objective, Distillation) else network.body
        trainer = Trainer(body, objective, feed, scored, recipe, world, self.folder, listen, began)
        record = trainer.run() | before
        if isinstance(objective, Distillation):
            record["facts"] = {"teacher": objective.identity["teacher"]}
        network.eval()
        # Errors are corrected where the training was, which may be wider than where its weights were chosen.
        held_out = validation if train.reserve(1) is None else train
        record |= calibrate(network, held_out, listen=listen if world.is_first else None)
        conditions = {"threads": torch.get_num_threads(), "date": datetime.date.today().isoformat()}
        return network, {"start": start, "snr": snr_range(take(train, SAMPLE)), **record, **conditions}

    def _objective(self, network: SpectrumNetwork, train: SpectraSource, world: Processes) -> LabelRegression:
        """Return what the network is trained for: labels, or what a teacher states of them."""
        recipe = self.recipe
        if not recipe.teacher:
            return LabelRegression.of(network, train.label_space, recipe)
        teacher = None
        if recipe.teacher != STATED:
            try:
                saved = NetworkEstimator.load(find_bundle(recipe.teacher))
            except DataError as error:
                raise ConfigError(f"teacher: expected a saved network, or {STATED}; {error}") from error
            saved.grid.check_matches(train.grid, "teacher")
            teacher = teacher_for(saved.network, saved.described, recipe, take(train, SAMPLE), world.device)
        return Distillation.taught(network, train.label_space, recipe, teacher)

    def _pretrain(
        self, network: SpectrumNetwork, train: SpectraSource, validation: SpectraSource, world: Processes
    ) -> dict[str, Any]:
        source = train
        if self.recipe.pretrain_stars == "endless":
            if self.more is None:
                raise ConfigError("pretrain_stars: endless ones need the simulated world of the spectra")
            source = self.more()

        def listen(record: dict[str, Any]) -> None:
            if self.listen is not None:
                self.listen({**record, "event": PRETRAINING})

        return pretrain(network, source, validation, self.recipe, world, self.folder, listen)

    def _listener(self, progress: Progress | None) -> Listener:
        """Return who hears every record: the listener, and `progress` as a share of the whole."""

        words = Words()

        def hear(record: dict[str, Any]) -> None:
            if self.listen is not None:
                self.listen(record)
            if progress is not None:
                correcting = record["event"] == CORRECTION
                first, length = (TRAINING_SHARE, 1 - TRAINING_SHARE) if correcting else (0.0, TRAINING_SHARE)
                progress(round(1000 * (first + length * record["progress"])), 1000, words(record))

        return hear


def network_to_start_from(start: str) -> NetworkEstimator | None:
    """Return the saved network that `Recipe.start` names, by folder or as one that comes with specvit; None for a word.

    Raises:
        ConfigError: if it is neither a word nor a saved network.
    """
    if start in STARTS:
        return None
    try:
        return NetworkEstimator.load(find_bundle(start))
    except DataError as error:
        raise ConfigError(
            f"start: expected one of {', '.join(STARTS)}, or a saved network; {error}"
        ) from error


class Words:
    """What is told of a training while it runs; remembers the best score so far."""

    def __init__(self) -> None:
        self._best, self._text = "-", "preparing"

    def __call__(self, record: dict[str, Any]) -> str:
        """Return the text after one more record."""
        if record["event"] == CORRECTION:
            return "correcting stated errors"
        if record["event"] == VALIDATED:
            self._best = f"{record['best']:.4f}"
        else:
            self._text = (
                f"loss {record['loss']:.3f}  best R² {self._best}  "
                f"{record['spectra_per_second']:,.0f} spectra/s  {record['seconds_left']:.0f} s left"
            )
        return self._text


def calibrate(
    network: SpectrumNetwork,
    validation: SpectraSource,
    spectra: int | None = None,
    listen: Listener | None = None,
) -> dict[str, Any]:
    """Correct the stated errors of a trained network by those of held-out spectra; return the record of it.

    Args:
        network: in evaluation mode.
        validation: its reserve of `spectra` is drawn for this; a set without one, as every stored one, is taken
            as it is.
        spectra: None takes `affordable_spectra`.
        listen: called with {"event": `CORRECTION`, "progress": share done}.
    """
    # Preferably not the validation spectra: the weights were selected on them and flatter themselves there.
    held_out = validation.reserve(spectra or affordable_spectra(network)) or validation
    columns = [held_out.label_space.index(name) for name in network.label_space.names]
    device = next(network.body.parameters()).device
    rows = rows_for(device, widest_layer(network, held_out.grid.size) if device.type == "cpu" else 1)
    body = prepared(network.body) if device.type == "cpu" else network.body
    raw, level, labels, done = [], [], [], 0
    with torch.inference_mode():
        for batch in held_out.batches(CALIBRATION_BATCH):
            labels.append(batch.known_labels()[:, columns].to(device))
            for flux, sigma in zip(batch.flux.split(rows), batch.sigma.split(rows), strict=True):
                flux, sigma = flux.to(device), sigma.to(device)
                inputs = network.front(flux, sigma)
                raw.append(network.refined(body(inputs), flux, sigma))
                level.append(inputs.level)
            done += len(batch)
            if listen is not None:
                listen({"event": CORRECTION, "progress": done / len(held_out)})
    network.head.calibrate(torch.cat(raw), torch.cat(level), torch.cat(labels))
    return {"calibration_spectra": len(held_out)}


def affordable_spectra(network: SpectrumNetwork) -> int:
    """Return by how many spectra the errors of a network are corrected: fewer if it is large."""
    affordable = max(FEWEST_SPECTRA, int(CALIBRATION_FLOPS / forward_flops(network)))
    return min(CALIBRATION_SPECTRA, affordable)
