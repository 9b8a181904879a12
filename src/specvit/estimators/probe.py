"""A probe: labels read off what one layer of a trained network makes of a spectrum. The network stays as it is.

It is an estimator like any other, so that what layers know can be compared in runs and studies; it is saved with the
network it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from specvit.documents import Section
from specvit.errors import ConfigError, RunError
from specvit.estimators.network_estimator import NetworkEstimator, fingerprint_spectra
from specvit.estimators.network_settings import read_network
from specvit.estimators.pretrained import find_bundle
from specvit.models.bundle import Bundle, StoredBundle, load_bundle, save_bundle
from specvit.models.inputs import (
    Progress,
    RelativeSpectra,
    Values,
    finished,
    label_names,
    labels_of,
    no_spectra,
    relative_spectra,
)
from specvit.models.network import build_network
from specvit.models.origin import Origin, judged
from specvit.models.prediction import Prediction
from specvit.models.readouts import Readout, ReadoutKind, Rows, fit_readout
from specvit.models.scatter import ResidualScatter
from specvit.models.states import FEATURES, Pooling
from specvit.spectra import LabelSpace, SpectraBatch, SpectraSource, median_snr, take
from specvit.training.starts import SAMPLE, filter_layer, start_from_components

#: Spectra read at once in a fit.
BATCH = 1024
#: What the arrays of the network are called among those of a probe.
STORED = "network."

Control = Literal["none", "start", "random-weights", "shuffled-labels", "noise-only"]


class ProbeOptions(Section):
    """Options of `Probe`."""

    network: str = Field(
        default="vit", min_length=1, max_length=400, description="a saved network, by folder or name"
    )
    layer: str = Field(
        default=FEATURES, max_length=80, description="as `specvit latents --list-layers` lists"
    )
    pool: str = Field(default="mean", max_length=40, description="cls, mean, mean+max or segments:K")
    readout: ReadoutKind = Field(default="ridge", description="what reads the labels")
    control: Control = Field(
        default="none",
        description="start: the network as its training begins, with first layers that know the components of "
        "noise-free spectra; random-weights: without these; shuffled-labels: learn from labels of other stars; "
        "noise-only: show one spectrum with the sigma of each star",
    )


class ProbeSettings(Section):
    """The settings of a saved probe."""

    names: tuple[str, ...]
    asked: tuple[str, ...] | None
    options: ProbeOptions
    seed: int
    choice: dict[str, dict[str, Any]]
    readout: dict[str, Any]
    inputs: int = Field(ge=1)
    network: dict[str, Any]
    label_space: LabelSpace


class Probe:
    """Ridge, trees or a small network on the pooled state of a layer of a frozen network.

    Args:
        labels: labels to estimate; None means all of the training set. The network need not know them.
        seed, threads: of the readout, and of the weights of an untrained network.
        options: see `ProbeOptions`.

    Source: Alain & Bengio 2017, ICLR workshop (arXiv:1610.01644); controls as in Hewitt & Liang 2019, EMNLP
    (arXiv:1909.03368).
    """

    name = "probe"

    def __init__(
        self, labels: Sequence[str] | None = None, seed: int = 0, threads: int = 0, **options: Any
    ) -> None:
        self.labels = None if labels is None else label_names(labels, self.name)
        self.seed, self.threads = seed, threads
        self.options = ProbeOptions(**options)
        self.pooling = Pooling.parse(self.options.pool)
        if self.pooling.kind == "tokens":
            raise ConfigError("probe: tokens are no vector; take pool = segments:K")
        self.choice: dict[str, dict[str, Any]] = {}

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Fit the readout on latents of `train`, its size chosen by those of `validation`.

        Raises:
            ConfigError: for a layer or pooling that the network does not have.
            WavelengthRangeError: for spectra on other pixels than the network's.
        """
        self.network = probed_network(self.options.network, self.options.control, self.seed, train)
        self.network.grid.check_matches(train.grid, self.network.name)
        validation.grid.check_matches(train.grid, "validation set")
        self.names = self.labels or train.label_space.names
        self._check_layer()
        learnt, _ = self._rows(train, progress)
        held, snr = self._rows(validation, None)
        if self.options.control == "shuffled-labels":
            learnt, held = shuffled(learnt, self.seed), shuffled(held, self.seed)
        self.readout = fit_readout(self.options.readout, learnt, held, self.seed, self.threads)
        self.inputs = learnt.values.shape[1]
        residual = held.labels - self.readout(held.values)
        r2 = 1 - residual.square().mean(dim=0) / held.labels.var(dim=0, unbiased=False)
        self.choice = {
            name: {"validation_r2": float(value)} for name, value in zip(self.names, r2, strict=True)
        }
        self.scatter = ResidualScatter.fit(snr, residual)
        self.origin = Origin.of(train, validation)
        return self

    def predict(self, flux: Values, sigma: Values) -> Prediction:
        """Return estimates and errors (see `ResidualScatter`) for flux and sigma of shape (B, L)."""
        if not hasattr(self, "readout"):
            raise RunError("probe: predict needs a fitted estimator; call fit or load first")
        pixels = self.origin.grid.size
        spectra = relative_spectra(flux, sigma, pixels, self.name)
        if not len(spectra):
            return no_spectra(self.predict, pixels)
        mean = self.readout(self._latents(spectra))
        found = Prediction(mean, self.scatter.std(spectra.flux, spectra.sigma), self.names)
        return finished(
            found, spectra.usable_share, self.name, judged(self.origin, spectra.flux, spectra.sigma)
        )

    def save(self, folder: Path) -> None:
        """Write readout, network and manifest into `folder`, all or nothing."""
        network = self.network.network
        settings = {
            **{"names": list(self.names), "asked": None if self.labels is None else list(self.labels)},
            **{"options": self.options.model_dump(mode="json"), "seed": self.seed, "choice": self.choice},
            **{"readout": self.readout.choice, "inputs": self.inputs, "network": self.network.settings()},
            "label_space": self.network.origin.label_space.to_dict(),
        }
        tensors = {STORED + name: values for name, values in network.state_dict().items()}
        tensors |= self.readout.to_tensors() | self.scatter.to_tensors()
        save_bundle(Bundle(self.name, self.origin, settings, tensors, self.readout.expert.texts()), folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a probe back; DataError if the folder was changed, is incomplete or contradicts itself."""
        bundle = load_bundle(folder, cls.name)
        settings, tensors = bundle.settings_as(ProbeSettings), bundle.tensors
        with bundle.naming_settings():
            probe = cls(settings.asked, settings.seed, **settings.options.model_dump())
        probe.origin, probe.choice, probe.inputs = bundle.origin, settings.choice, settings.inputs
        probe.names = bundle.check_labels(settings.names, settings.asked, settings.choice)
        origin = Origin(bundle.origin.grid, settings.label_space)
        own = StoredBundle(
            f"{bundle.where}: network", "network", origin, settings.network, tensors.part(STORED), {}
        )
        said, network = read_network(own)
        probe.network = NetworkEstimator(said.name).adopt(network, origin)
        with bundle.naming_settings():
            probe._check_layer()
        shape = (len(probe.names), probe.inputs)
        probe.readout = Readout.read(bundle, settings.options.readout, settings.readout, shape)
        tensors.sizes |= {"P": len(probe.names)}
        probe.scatter = ResidualScatter.read(tensors)
        tensors.finish()
        blank = relative_spectra(*fingerprint_spectra(bundle.origin.grid), bundle.origin.grid.size, cls.name)
        if probe._latents(blank).shape[1] != probe.inputs:
            raise bundle.problem(f"settings: inputs are {probe.inputs}, its layer has another number")
        return probe

    def _rows(self, source: SpectraSource, progress: Progress | None) -> tuple[Rows, Tensor]:
        """Return latents and labels of a source, and the observed S/N (N,)."""
        values, labels, snr, done = [], [], [], 0
        for batch in source.batches(BATCH):
            spectra = relative_spectra(batch.flux, batch.sigma, source.grid.size, self.name, done)
            values.append(self._latents(spectra))
            labels.append(labels_of(batch, source.label_space, self.names, self.name))
            snr.append(median_snr(spectra.flux, spectra.sigma))
            done += len(batch)
            if progress is not None:
                progress(done, len(source), "latents")
        return Rows(torch.cat(values), torch.cat(labels)), torch.cat(snr)

    def _latents(self, spectra: RelativeSpectra) -> Tensor:
        """Return the pooled state of spectra, shape (B, F), float32."""
        if self.options.control == "noise-only":
            baseline = self.network.network.front.baseline.to(spectra.flux)
            spectra = replace(spectra, flux=baseline.expand_as(spectra.flux))
        rows, parts = self.network.rows_at_once, []
        pieces = (values.float().split(rows) for values in (spectra.flux, spectra.sigma))
        with torch.inference_mode():
            for flux, sigma in zip(*pieces, strict=True):
                for state in self.network.network.states(flux, sigma):
                    if state.name == self.options.layer:
                        parts.append(self.pooling(state).float())
                        break
        return torch.cat(parts)

    def _check_layer(self) -> None:
        flux, sigma = fingerprint_spectra(self.network.grid)
        with torch.inference_mode():
            states = {s.name: s for s in self.network.network.states(flux[:1].float(), sigma[:1].float())}
        if self.options.layer not in states:
            raise ConfigError(
                f"probe: layer '{self.options.layer}' is not known of {self.network.name}; choose {', '.join(states)}"
            )
        self.pooling(states[self.options.layer])


def probed_network(name: str, control: str, seed: int, train: SpectraSource) -> NetworkEstimator:
    """Return the network a probe reads: as it was saved, or a control in its place."""
    trained = NetworkEstimator.load(find_bundle(name))
    if control == "start":
        return begun(trained, take(train, SAMPLE), seed)
    return untrained(trained, seed) if control == "random-weights" else trained


def untrained(trained: NetworkEstimator, seed: int) -> NetworkEstimator:
    """Return a network of the same kind and front end that has learnt nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(trained.network.config, trained.grid, trained.label_space)
    network.front.load_state_dict(trained.network.front.state_dict())
    return NetworkEstimator(f"{trained.name}, untrained").adopt(network, trained.origin)


def begun(trained: NetworkEstimator, sample: SpectraBatch, seed: int) -> NetworkEstimator:
    """Return the network as a training begins by default, see `Recipe.start`: no update was made.

    Without it a probe would take for learnt what the start already knows: where first layers can be, they are the
    matched filters of the components of noise-free spectra.

    Args:
        trained: whose kind and front end it has.
        sample: training spectra.
        seed: of the weights.

    Raises:
        ConfigError: if the start needs noise-free spectra, and the sample does not know them.
    """
    found = untrained(trained, seed)
    if filter_layer(found.network) is not None:
        if sample.truth is None:
            raise ConfigError(
                "probe: control = start needs training spectra whose noise-free flux is known; simulate them"
            )
        start_from_components(found.network, sample)
    return found


def shuffled(rows: Rows, seed: int) -> Rows:
    """Return rows with the labels dealt to other stars."""
    generator = torch.Generator().manual_seed(seed)
    return Rows(rows.values, rows.labels[torch.randperm(len(rows.labels), generator=generator)])
