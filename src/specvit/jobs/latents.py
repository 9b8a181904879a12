"""The latents of many spectra in one file, behind `specvit latents`: streamed, and continued where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

import specvit
from specvit.denoise.learned.layers import DenoiserLayers
from specvit.denoise.learned.learned_denoiser import NAMES, LearnedDenoiser
from specvit.estimators import NetworkEstimator
from specvit.estimators.network_estimator import fingerprint_spectra
from specvit.jobs.config.training import is_reference
from specvit.jobs.watch import Quiet, Watch
from specvit.jobs.worlds import build_world, changed_world
from specvit.models.inputs import relative_spectra
from specvit.models.manifest import read_manifest
from specvit.models.origin import Origin
from specvit.models.states import OUTPUT, VECTOR
from specvit.represent import LatentsPart, LatentsPlan, Wanted, list_layers, pooled_states, write_latents_file
from specvit.represent.latents_file import check_form
from specvit.represent.pooled import LayerFacts
from specvit.simulate import ReferenceShards, StoredSpectra, World, splits
from specvit.spectra import SpectraBatch, SpectraSource, WavelengthGrid

Key = tuple[str, str]


class LayeredModel(Protocol):
    """What has latents: a saved network, or a denoiser."""

    device: torch.device

    @property
    def name(self) -> str:
        """What it is told by."""

    @property
    def described(self) -> str:
        """Which it is."""

    @property
    def grid(self) -> WavelengthGrid:
        """Its pixels."""

    @property
    def names(self) -> tuple[str, ...]:
        """The labels it estimates; none of a denoiser."""

    @property
    def network(self) -> Any:
        """What has the layers, `Layered`; it can be moved."""

    @property
    def origin(self) -> Origin:
        """What it was trained for and on."""

    @property
    def rows_at_once(self) -> int:
        """Spectra that it takes at once."""


def load_layered(folder: Path) -> LayeredModel:
    """Return a saved network or learned denoiser; DataError for what is neither, or was changed."""
    if read_manifest(folder).estimator in NAMES:
        return DenoiserLayers(LearnedDenoiser.load(folder))
    return NetworkEstimator.load(folder)


#: Of what a network says, for the columns of estimates.
SAID: Key = (OUTPUT, VECTOR)


def layers_of(estimator: LayeredModel) -> list[LayerFacts]:
    """Return the layers of a saved network, in order."""
    flux, sigma = fingerprint_spectra(estimator.grid)
    return list_layers(estimator.network, flux[:1].float(), sigma[:1].float())


def world_like(estimator: LayeredModel, changes: dict[str, Any] | None = None) -> World:
    """Return the world of a training, without the brighter stars it may have had beside its survey, and with changes."""
    recorded = estimator.origin.training.world
    world = World.from_dict(recorded) if recorded else World()
    return changed_world(replace(world, widening=None), changes or {})


def drawn_source(
    estimator: LayeredModel, world: World, split: str, seed: int, stars: int, truth: bool = False
) -> SpectraSource:
    """Return spectra of a world with the pixels of a network; WavelengthRangeError if they are others."""
    source = build_world(world).source(split, seed, stars, truth=truth)
    estimator.grid.check_matches(source.grid, estimator.name)
    return source


def stored_source(estimator: LayeredModel, path: Path, seed: int = 0) -> SpectraSource:
    """Return stored spectra, of `specvit simulate` or the reference work, with the pixels of a network.

    Args:
        estimator: whose pixels they must have.
        path: folder or dataset file.
        seed: of the noise that is added to the reference work's noise-free spectra.
    """
    source: SpectraSource
    if is_reference(str(path)):
        source = ReferenceShards(path, split=splits.TEST, seed=seed)
    else:
        source = StoredSpectra(path)
    estimator.grid.check_matches(source.grid, estimator.name)
    return source


def latents_of(estimator: LayeredModel, batch: SpectraBatch, keys: Sequence[Key]) -> dict[Key, Tensor]:
    """Return (layer, pooling) -> latents (B, ...) of spectra, float32 on the CPU, as an estimate would see them.

    Raises:
        DataError: as `Estimator.predict`, for spectra that cannot be used.
    """
    spectra = relative_spectra(batch.flux, batch.sigma, estimator.grid.size, estimator.name)
    network, rows = estimator.network.to(estimator.device), estimator.rows_at_once
    parts: dict[Key, list[Tensor]] = {key: [] for key in keys}
    pieces = (values.float().split(rows) for values in (spectra.flux, spectra.sigma))
    for flux, sigma in zip(*pieces, strict=True):
        shown = flux.to(estimator.device), sigma.to(estimator.device)
        for key, values in pooled_states(network, *shown, keys):
            parts[key].append(values.cpu())
    return {key: torch.cat(values) for key, values in parts.items()}


def write_latents(
    estimator: LayeredModel, source: SpectraSource, wanted: Wanted, out: Path, watch: Watch | None = None
) -> LatentsPlan:
    """Write the latents of all spectra of a source, with what is known of them; see `represent.latents_file`.

    Args:
        estimator: a saved network.
        source: with its pixels.
        wanted: layers and poolings.
        out: .h5 or .parquet.
        watch: told how far it is.

    Raises:
        ConfigError: for layers, poolings or a form of file that cannot be.
        RunError: if half a file of other latents lies there, or the disk is full.
    """
    watch, known = watch or Quiet(), layers_of(estimator)
    wanted.check(known)
    keys = wanted.keys(known)
    check_form(out, keys)
    facts = {layer.name: layer for layer in known}
    blank = latents_of(estimator, _fingerprint(estimator), keys)
    shapes = {key: tuple(values.shape[1:]) for key, values in blank.items()}
    about = {
        "network": estimator.described,
        "layers": [facts[name]._asdict() for name in dict.fromkeys(layer for layer, _ in keys)],
        "pixels": estimator.grid.describe(),
        "spectra": source.provenance,
        "labels": dict(zip(source.label_space.names, source.label_space.units, strict=True)),
        "specvit_version": specvit.__version__,
    }
    plan = LatentsPlan(json.loads(json.dumps(about)), len(source), shapes)

    def make(start: int, stop: int) -> LatentsPart:
        batch = source.draw(start, stop)
        # A denoiser says nothing of labels.
        said = [SAID] if estimator.names else []
        found = latents_of(estimator, batch, list(dict.fromkeys([*keys, *said])))
        columns = _columns(batch, source, start)
        if said:
            raw = found[SAID].unflatten(1, (len(estimator.names), -1))
            estimates = estimator.network.to("cpu").mean(raw)
            named = zip(estimator.names, estimates.T, strict=True)
            columns |= {f"estimate.{name}": values.numpy() for name, values in named}
        return LatentsPart({key: found[key].numpy() for key in keys}, columns)

    with watch.task(f"latents of {estimator.name}") as update:
        write_latents_file(plan, out, make, update)
    return plan


def _fingerprint(estimator: LayeredModel) -> SpectraBatch:
    flux, sigma = fingerprint_spectra(estimator.grid)
    return SpectraBatch(flux[:1], sigma[:1])


def _columns(batch: SpectraBatch, source: SpectraSource, start: int) -> dict[str, np.ndarray]:
    """Return what is known of spectra beside their pixels, NaN where a set as a whole does not say."""
    count = len(batch)
    unknown = np.full(count, np.nan)
    columns = {"row": np.arange(start, start + count, dtype=np.float64)}
    columns["snr"] = unknown if batch.snr is None else batch.snr.numpy()
    columns |= {name: values.numpy() for name, values in sorted(batch.conditions.items())}
    for at, name in enumerate(source.label_space.names):
        columns[f"label.{name}"] = unknown if batch.labels is None else batch.labels[:, at].numpy()
    return columns
