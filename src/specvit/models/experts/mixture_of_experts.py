"""A mixture of experts: models of parts of the stars, and a gate that says from the spectrum which of them to believe.

Everything is fitted in one pass over the training set. What is stated is the mixture of the experts' distributions,
corrected by held-out spectra like that of every other estimator.
Source: Jacobs, Jordan, Nowlan & Hinton 1991, Neural Computation 3, 79.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from pydantic import ValidationError
from torch import Tensor

from specvit.documents.problems import explain
from specvit.errors import ConfigError, DataError, LabelError, RunError
from specvit.models.bundle import save_bundle
from specvit.models.calibration import Calibration
from specvit.models.experts.conditional import ConditionalExperts
from specvit.models.experts.expert_inputs import ExpertInputs
from specvit.models.experts.fit_parts import component_scatters, fit_gate, sees_subspace, split_at
from specvit.models.experts.fitters import make_fitter
from specvit.models.experts.gate_features import GateFeatures
from specvit.models.experts.linear_experts import HeldOut
from specvit.models.experts.mixture import GaussianMixtures
from specvit.models.experts.options import ExpertsOptions
from specvit.models.experts.partition import OBSERVED_SNR, check_axes, parse_partition
from specvit.models.experts.routing import BY_LABEL, Routing, routed
from specvit.models.experts.row_experts import Experts
from specvit.models.experts.softmax_gate import SoftmaxGate
from specvit.models.experts.stored import read_mixture, to_bundle
from specvit.models.experts.tree_gate import TreeGate
from specvit.models.heads import QUANTILES
from specvit.models.inputs import (
    Progress,
    RelativeSpectra,
    Values,
    as_spectra,
    finished,
    label_names,
    labels_of,
    no_spectra,
    relative,
    relative_spectra,
)
from specvit.models.origin import Origin, judged, sources_digest
from specvit.models.prediction import Prediction, Quantiles
from specvit.models.scatter import ResidualScatter
from specvit.spectra import SpectraBatch, SpectraSource, collect, median_snr, take

#: Training spectra from which features, quantile bins and their scales are taken; spectra read at once.
SAMPLE, ROWS = 4096, 1024

#: Training spectra that a gate of bins learns from, at most.
GATE_SPECTRA = 200_000

#: The last part of the training spectra, on which weights of least error are learnt before the experts have seen it.
UNSEEN = 0.2

#: Held-out spectra that correct the stated errors, where the validation set has a reserve of further ones.
CORRECTING = 10_000


#: What takes long to fit, and the last fits of this process: mixtures that differ only in their routing share them.
FITTED = ("origin", "partition", "features", "inputs", "experts", "gate", "scatters", "coverage")
_FITS: OrderedDict[str, dict[str, Any]] = OrderedDict()
FITS_KEPT = 8


class Seen(NamedTuple):
    """What is made of B spectra.

    features: (B, F), what the gate sees. values: (B, D), what the experts see. snr: (B,), observed.
    labels: (B, P), or None. bins: (B,), -1 outside the partition, or None without labels.
    """

    features: Tensor
    values: Tensor
    snr: Tensor
    labels: Tensor | None
    bins: Tensor | None


class MixtureOfExperts:
    """Experts of the bins of a partition, mixed by a gate that sees the spectrum alone.

    A bin without enough training spectra, or whose fit fails, is answered by the model of all spectra, which
    `without_expert` lists; so are stars outside the partition, unless `outside` says otherwise.

    Args:
        labels: labels to estimate; None means all of the training set.
        seed: of the training of gates and networks.
        threads: of LightGBM; 0 takes its default.
        options: see `ExpertsOptions`.

    Raises:
        ConfigError: for an option that is unknown or out of range; names it.
    """

    name = "moe"

    def __init__(
        self, labels: Sequence[str] | None = None, seed: int = 42, threads: int = 0, **options: Any
    ) -> None:
        self.labels = None if labels is None else label_names(labels, self.name)
        self.seed, self.threads = seed, threads
        try:
            self.options = ExpertsOptions.model_validate(options)
        except ValidationError as error:
            raise ConfigError(explain(error, ExpertsOptions, options, lambda key: "moe")) from None
        self.partition = parse_partition(self.options.partition)
        self.choice: dict[str, dict[str, Any]] = {}
        self.coverage: float | None = None

    origin: Origin
    names: tuple[str, ...]
    learnt: tuple[str, ...]
    features: GateFeatures
    inputs: ExpertInputs
    experts: Experts
    gate: SoftmaxGate | TreeGate
    scatters: list[ResidualScatter]
    correction: Calibration

    @property
    def components(self) -> list[str]:
        """What a reader calls the bins, the stars outside and the model of all spectra."""
        return [*self.partition.names, "outside", "all spectra"]

    @property
    def without_expert(self) -> dict[str, str]:
        """Component -> why the model of all spectra answers for it."""
        return {self.components[k]: reason for k, reason in sorted(self.experts.missing.items())}

    @property
    def is_informed(self) -> bool:
        """Whether it has to be told the true labels: then it is a measure of what they are worth, no estimator."""
        return self.options.routing == "oracle"

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Fit gate and experts in one pass over `train`; every choice is made on `validation`.

        Raises:
            ConfigError: for a partition in labels that the training set does not have.
            DataError: if no bin has enough training spectra, or spectra or labels are unusable.
        """
        validation.grid.check_matches(train.grid, "validation set")
        options, space = self.options, train.label_space
        self.names = self.labels or space.names
        if options.expert == "conditional":
            self.partition = parse_partition("whole")
        check_axes(self.partition, space.names, "moe")
        more = (*self.partition.labels, *((options.condition,) if options.expert == "conditional" else ()))
        self.learnt = tuple(dict.fromkeys((*self.names, *more)))
        space.select(self.learnt)
        key = self._identity(train, validation)
        for name, value in _FITS.get(key, {}).items():
            setattr(self, name, value)
        if key not in _FITS:
            self.origin = Origin.of(train, validation)
            self._prepare(train)
        held = self._see(collect(validation), validation, 0)
        assert held.labels is not None
        assert held.bins is not None
        held_out = HeldOut(held.values, held.labels, self._place(held.bins))
        if key not in _FITS:
            rows, unseen = self._read(train, held_out, progress)
            check = (
                held.features,
                self._estimates(held, None),
                held_out.labels[:, self._columns],
                held_out.bins,
            )
            components, options = len(self.partition) + 1, self.options
            self.gate = fit_gate(options.gate, components, rows, unseen, check, self.seed, self.threads)
            told = self._estimates(held, self._known(held_out.labels))
            self.scatters = component_scatters(held.snr, check[2][:, None] - told, held_out.bins)
        self._keep(key)
        self._calibrate(validation.reserve(CORRECTING) or validation)
        self._state_choice(held, held_out)
        return self

    def predict(self, flux: Values, sigma: Values) -> Prediction:
        """Return estimates, errors and quantiles for flux and sigma of shape (B, L), see `Estimator`.

        Raises:
            RunError: if it is not fitted, or routes by true labels (`predict_knowing`).
        """
        return self.predict_routed(flux, sigma, self.options.routing)

    def predict_knowing(self, flux: Values, sigma: Values, labels: Mapping[str, Tensor]) -> Prediction:
        """Return what it answers when it is told true labels, name -> (B,); of use for comparisons alone."""
        return self.predict_routed(flux, sigma, self.options.routing, labels)

    def predict_routed(
        self, flux: Values, sigma: Values, routing: Routing, labels: Mapping[str, Tensor] | None = None
    ) -> Prediction:
        """Return estimates by another routing than its own; stated errors are corrected for its own."""
        if not hasattr(self, "gate"):
            raise RunError("moe: predict needs a fitted estimator; call fit or load first")
        if routing == "oracle" and labels is None:
            raise RunError(
                "moe: routing=oracle is told the true labels and estimates no star without them; take routing=soft"
            )
        pixels = self.origin.grid.size
        flux, sigma = (values.cpu() for values in as_spectra(flux, sigma, pixels, self.name))
        spectra = relative(flux, sigma, self.name)
        if not len(spectra):
            truth = None if labels is None else {name: torch.zeros(1) for name in labels}
            return no_spectra(lambda f, s: self.predict_routed(f, s, routing, truth), pixels)
        view = self._view(spectra)
        mixture = self._mixture(view, routing, labels)
        std, share = self.correction.corrected(mixture.std, -view.snr.log())
        quantiles = Quantiles(QUANTILES, mixture.quantiles(share))
        found = Prediction(mixture.mean, std, self.names, quantiles)
        verdict = judged(self.origin, spectra.flux, spectra.sigma)
        return finished(found, spectra.usable_share, self.name, verdict)

    def gate_weights(self, flux: Values, sigma: Values) -> Tensor:
        """Return what the gate says of spectra (B, L): weights of K bins and of the stars outside, (B, K + 1)."""
        flux, sigma = (values.cpu() for values in as_spectra(flux, sigma, self.origin.grid.size, self.name))
        return self.gate.weights(self.gate_features(relative(flux, sigma, self.name)))

    def gate_features(self, spectra: RelativeSpectra, values: Tensor | None = None) -> Tensor:
        """Return what the gate sees of spectra, shape (B, F), float32; `values` are those of the experts, if known."""
        own = self.features(spectra)
        if not sees_subspace(self.options, self.inputs):
            return own
        values = self.inputs(spectra, self.features.mean_flux) if values is None else values
        return torch.cat([own, values.float()], dim=1)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of what the gate sees."""
        more = range(self.inputs.size) if sees_subspace(self.options, self.inputs) else ()
        return (*self.features.names, *(f"subspace {k}" for k in more))

    def bins_of(self, labels: Mapping[str, Tensor], snr: Tensor) -> Tensor:
        """Return the bin of stars by labels, name -> (B,), and observed S/N (B,); -1 outside the partition."""
        missing = [name for name in self.partition.labels if name not in labels]
        if missing:
            raise LabelError(f"moe: the bins of its partition are in {missing[0]}, which these labels lack")
        return self.partition.bins_of({**labels, OBSERVED_SNR: snr}, len(snr))

    def save(self, folder: Path) -> None:
        """Write weights, trees and manifest into `folder`, all or nothing."""
        save_bundle(to_bundle(self), folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an estimator back; DataError if the folder was changed, is incomplete or contradicts itself."""
        stored = read_mixture(folder, cls.name)
        with stored.bundle.naming_settings():
            model = cls(stored.labels, stored.seed, stored.threads, **dict(stored.options))
        for name, value in stored.parts.items():
            setattr(model, name, value)
        return model

    def _identity(self, train: SpectraSource, validation: SpectraSource) -> str:
        """Return what gate and experts depend on: all but how they answer."""
        options = self.options.model_dump(exclude={"routing", "top", "confidence"})
        # Conditional experts that are told the truth learn from it, too.
        knows = self.options.expert == "conditional" and self.is_informed
        return f"{sources_digest(train, validation)} {self.learnt} {self.names} {self.seed} {options} {knows}"

    def _keep(self, key: str) -> None:
        _FITS[key] = {name: getattr(self, name) for name in FITTED}
        _FITS.move_to_end(key)
        while len(_FITS) > FITS_KEPT:
            _FITS.popitem(last=False)

    def _prepare(self, train: SpectraSource) -> None:
        """Set features, inputs and the edges of quantile bins from the first training spectra."""
        sample = take(train, SAMPLE)
        spectra = relative_spectra(sample.flux, sample.sigma, train.grid.size, "fit")
        labels = labels_of(sample, train.label_space, self.learnt, "fit")
        if self.options.outside == "nearest":
            self.partition = self.partition.opened()
        snr = median_snr(spectra.flux, spectra.sigma)
        self.partition = self.partition.resolved(
            {**dict(zip(self.learnt, labels.T, strict=True)), OBSERVED_SNR: snr}
        )
        self.features = GateFeatures(self.options.features, train.grid, self.options.components).fit(spectra)
        self.inputs = ExpertInputs(self.options.inputs, self.options.rebin, self.origin)

    def _read(
        self, train: SpectraSource, held: HeldOut, progress: Progress | None
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor] | None]:
        """Pass over the training spectra once; return rows of the gate, and of experts that have not seen them."""
        # Coefficients of the subspace have unit variance under the prior; pixels do not.
        standardise = self.inputs.kind == "pixels"
        bins = len(self.partition) + 1
        fitter = make_fitter(self.options, standardise, bins, self.learnt, self.seed, self.threads)
        first_unseen = len(train) - int(UNSEEN * len(train)) if self.options.weighs_errors else len(train)
        features, places, unseen = [], [], []
        earlier: Experts | None = None
        start = inside = 0
        for batch in split_at(train, first_unseen, ROWS):
            view = self._see(batch, train, start)
            assert view.labels is not None
            assert view.bins is not None
            if start >= first_unseen:
                earlier = earlier or fitter.fitted(held)
                estimates = earlier(view.values)[..., self._columns]
                unseen.append((view.features, estimates, view.labels[:, self._columns]))
            fitter.add(view.values, view.labels, self._place(view.bins))
            if start < GATE_SPECTRA:
                features.append(view.features)
                places.append(self._place(view.bins))
            inside += int((view.bins >= 0).sum())
            start += len(batch)
            if progress is not None:
                progress(start, len(train), "training spectra read")
        if not start:
            raise DataError("moe: expected training spectra, got none")
        self.coverage = inside / start
        self.experts = fitter.fitted(held)
        rows = (torch.cat(features), torch.cat(places))
        return rows, tuple(torch.cat(part) for part in zip(*unseen, strict=True)) if unseen else None  # type: ignore[return-value]

    @torch.no_grad()
    def _calibrate(self, held_out: SpectraSource) -> None:
        """Correct what the mixture states by further spectra; estimates stay as they are."""
        self.correction = Calibration(len(self.names), QUANTILES)
        parts = []
        start = 0
        for batch in held_out.batches(ROWS):
            view = self._see(batch, held_out, start)
            assert view.labels is not None
            truth = view.labels[:, self._columns]
            mixture = self._mixture(view, self.options.routing, self._known(view.labels))
            below = mixture.below(truth[..., None])[..., 0]
            parts.append((truth - mixture.mean, mixture.std, -view.snr.log(), below))
            start += len(batch)
        self.correction.fit(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _state_choice(self, held: Seen, held_out: HeldOut) -> None:
        truth = held_out.labels[:, self._columns]
        mixture = self._mixture(held, self.options.routing, self._known(held_out.labels))
        r2 = 1 - (truth - mixture.mean).square().mean(dim=0) / truth.var(dim=0, unbiased=False)
        accuracy = (self.gate.weights(held.features).argmax(dim=1) == held_out.bins).double().mean()
        missing = [f"{name}: {reason}" for name, reason in self.without_expert.items() if name != "outside"]
        told = {
            "experts": len(self.partition) - len(missing),
            "coverage": round(float(self.coverage or 0.0), 6),
            "gate_accuracy": float(accuracy),
            "without_expert": missing,
        }
        self.choice = {name: {"validation_r2": float(r2[p]), **told} for p, name in enumerate(self.names)}

    def _see(self, batch: SpectraBatch, source: SpectraSource, start: int) -> Seen:
        spectra = relative_spectra(batch.flux, batch.sigma, source.grid.size, self.name, start)
        return self._view(spectra, labels_of(batch, source.label_space, self.learnt, self.name))

    def _view(self, spectra: RelativeSpectra, labels: Tensor | None = None) -> Seen:
        snr = median_snr(spectra.flux, spectra.sigma).clamp(min=1e-3)
        bins = None if labels is None else self.bins_of(self._known(labels), snr)
        values = self.inputs(spectra, self.features.mean_flux)
        return Seen(self.gate_features(spectra, values), values, snr, labels, bins)

    @property
    def _columns(self) -> list[int]:
        """Which of the labels that are learnt are estimated."""
        return [self.learnt.index(name) for name in self.names]

    def _known(self, labels: Tensor) -> dict[str, Tensor]:
        """Return labels (B, P) by name."""
        return dict(zip(self.learnt, labels.T, strict=True))

    def _place(self, bins: Tensor) -> Tensor:
        """Return the component of bins (B,): outside is the one after the last bin."""
        return torch.where(bins < 0, len(self.partition), bins)

    def _estimates(self, view: Seen, labels: Mapping[str, Tensor] | None) -> Tensor:
        """Return what every component estimates, shape (B, K + 2, P)."""
        columns = self._columns
        if self.is_informed and labels is not None and isinstance(self.experts, ConditionalExperts):
            return self.experts.knowing(view.values, labels[self.options.condition].double())[..., columns]
        return self.experts(view.values)[..., columns]

    def _mixture(self, view: Seen, routing: Routing, labels: Mapping[str, Tensor] | None) -> GaussianMixtures:
        estimates = self._estimates(view, labels if routing == "oracle" else None)
        bins = None
        if routing in BY_LABEL:
            if routing == "oracle":
                assert labels is not None
                known = {
                    name: labels[name].double().cpu() for name in self.partition.labels if name in labels
                }
            else:
                known = self._known(self.experts(view.values)[:, -1])
            bins = self.bins_of(known, view.snr)
        options = self.options
        weights = routed(self.gate.weights(view.features), routing, options.top, options.confidence, bins)
        errors = torch.stack([one.std(view.snr[:, None], torch.ones(1, 1)) for one in self.scatters], dim=1)
        return GaussianMixtures(weights, estimates, errors)
