"""Networks behind the estimator protocol: predict in batches, save, load, and a fingerprint that is checked.

Fitting is handed in (`fitter`), so that a network which was only loaded brings no training with it;
`specvit.estimators.make_estimator` returns an estimator that can be fitted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from specvit.errors import DataError, RunError, WavelengthRangeError
from specvit.estimators.card import CARD, card_text
from specvit.estimators.network_settings import read_network
from specvit.estimators.recalibration import Recalibration, reweighted
from specvit.models.batching import rows_for, widest_layer
from specvit.models.bundle import Bundle, load_bundle, save_bundle
from specvit.models.conditioning import Inputs
from specvit.models.heads import QUANTILES, Estimate
from specvit.models.inputs import Progress, Values, as_spectra, finished, no_spectra, relative
from specvit.models.network import SpectrumNetwork
from specvit.models.origin import Origin, judged
from specvit.models.prediction import Diagnostics, Prediction, Quantiles
from specvit.models.prepared import prepared
from specvit.models.subspace import SubspaceProjection
from specvit.models.usable import is_whole
from specvit.runs import TrueBins
from specvit.simulate import Prior
from specvit.spectra import LabelSpace, SpectraSource, WavelengthGrid

#: Trains on (train, validation); returns the network with its best weights and entries of the `TrainingRecord`.
Fitter = Callable[[SpectraSource, SpectraSource, Progress | None], tuple[SpectrumNetwork, dict[str, Any]]]

FINGERPRINT_SPECTRA = 4
#: Their noise, in that of S/N 1: brings the least noisy of them well above a limit in S/N, and the noisiest below it.
FINGERPRINT_NOISE = 8.0
#: Largest difference from the stored outputs, in units of a label's prior standard deviation: far above
#: rounding on other processors, far below any error of interest.
FINGERPRINT_TOLERANCE = 2e-3

#: Spectra whose raw outputs are kept until they are decoded together: what is fixed per call gets small.
DECODED_ROWS = 2048


class _Piece(NamedTuple):
    """Some spectra as the front end takes them: flux and sigma (B, L), whether no pixel is dead, usable share."""

    flux: Tensor
    sigma: Tensor
    whole: bool
    usable_share: Tensor


class NetworkEstimator:
    """An `Estimator` around a `SpectrumNetwork`.

    Args:
        name: what reports call it, e.g. "vit-nano".
        fitter: how `fit` trains it; None for one that was loaded.
    """

    def __init__(self, name: str, fitter: Fitter | None = None) -> None:
        self.name, self.fitter = name, fitter
        self.device = torch.device("cpu")
        self._prepared: nn.Module | None = None
        #: Whether the domain solves for what the front end sees, too; None until it was asked.
        self._shares: bool | None = None
        #: Spectra taken at once by `predict`; None chooses for speed.
        self.batch_size: int | None = None
        #: Label -> score -> value on test spectra, filled in by whoever tested it; saved with it.
        self.metrics: dict[str, dict[str, float]] = {}
        #: By which spectra its errors were corrected after its training, if they were; saved with it.
        self.recalibration: Recalibration | None = None
        #: Label -> scores in bins of its true value on the same spectra, see `evaluate.scores_by_truth`.
        self.by_true_label: dict[str, TrueBins] = {}

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Train; the weights kept are those with the best validation R².

        Args:
            train, validation: see `Estimator`.
            progress: told how far training and the correction of the errors are.

        Raises:
            RunError: if this estimator was loaded and so has no recipe to train by.
        """
        if self.fitter is None:
            raise RunError(f"{self.name}: has no training recipe; make one with specvit.make_estimator")
        validation.grid.check_matches(train.grid, "validation set")
        network, record = self.fitter(train, validation, progress)
        origin = Origin.of(train, validation)
        return self.adopt(network, replace(origin, training=origin.training.with_entries(record)))

    def adopt(self, network: SpectrumNetwork, origin: Origin) -> Self:
        """Take over a trained network and what it was made for."""
        self.network, self.origin = network.eval().requires_grad_(False).to("cpu"), origin
        self._widest, self._prepared = widest_layer(self.network, origin.grid.size), None
        self._shares = None
        return self

    def reweighted(self, prior: Prior) -> NetworkEstimator:
        """Return an estimator of stars drawn from another prior than those of the training; this one stays.

        What it states of each label is multiplied by how much more probable the prior makes each value, exactly also
        where a bound cuts a bin; estimates, errors and quantiles follow. Priors that couple labels act by their
        marginals: see `models.reweighting` and docs/training.md. Calling it again replaces the prior. What
        corrects its errors stays that of the training; `specvit calibrate` fits it anew for the new stars.

        Args:
            prior: of all labels of the network, inside the bounds of its training, e.g.
                `UniformPrior(model.label_space.replace(log_g=(4, 5)))`.

        Raises:
            ConfigError: if the head states no distributions, or the training had another prior than the uniform one.
            DomainError: if the prior reaches outside the bounds of the training; names the label.
        """
        network = reweighted(self._ready().network, self.origin, prior, self.name)
        other = NetworkEstimator(self.name).adopt(network, self.origin)
        other.device, other.batch_size = self.device, self.batch_size
        other.metrics, other.recalibration = self.metrics, self.recalibration
        return other

    @property
    def grid(self) -> WavelengthGrid:
        """The pixels it expects."""
        return self._ready().origin.grid

    @property
    def label_space(self) -> LabelSpace:
        """The labels it estimates, with the bounds of its training."""
        return self._ready().network.label_space

    @property
    def names(self) -> tuple[str, ...]:
        """The labels it estimates, by name."""
        return self.label_space.names

    @property
    def rows_at_once(self) -> int:
        """Spectra that `predict` takes at once: `batch_size`, or what is fast on its device."""
        return self.batch_size or rows_for(self.device, self._widest)

    def predict(self, flux: Values, sigma: Values, grid: WavelengthGrid | None = None) -> Prediction:
        """Return estimates for flux and sigma of shape (B, L).

        Quantiles, at `models.heads.QUANTILES`, are there for heads that give a distribution.

        Args:
            flux, sigma: see `Estimator.predict`.
            grid: the pixels of the spectra, if known; refused if they are not the network's.

        Raises:
            WavelengthRangeError: if `grid` is not the network's.
            ShapeError, DataError: see `Estimator.predict`.
        """
        mine = self.grid
        if grid is not None:
            self._check_grid(grid)
        flux, sigma = as_spectra(flux, sigma, mine.size, self.name)
        if not len(flux):
            return no_spectra(self.predict, mine.size)
        # A list: every spectrum is checked before time is spent on the first.
        pieces = list(self._pieces(flux, sigma))
        network, body = self.network.to(self.device), self._body()
        estimates: list[Estimate] = []
        verdicts: list[Diagnostics] = []
        for piece in pieces:
            inputs = self._judged_inputs(piece, verdicts) if self._domain_sees else self._inputs(piece)
            with torch.inference_mode():
                found, level = zip(*((body(part), part.level) for part in inputs), strict=True)
                raw = network.refined(
                    torch.cat(found), piece.flux.to(self.device), piece.sigma.to(self.device)
                )
                estimates.append(network.decode(raw, torch.cat(level)))
        verdict = Diagnostics.joined(verdicts) if verdicts else self._verdict(pieces)
        mean, std, quantiles = (_joined(parts) for parts in zip(*estimates, strict=True))
        assert mean is not None
        stated = None if quantiles is None else Quantiles(QUANTILES, quantiles)
        share = torch.cat([piece.usable_share for piece in pieces])
        prediction = Prediction(mean, std, network.label_space.names, stated)
        return finished(prediction, share, self.name, verdict)

    def save(self, folder: Path) -> None:
        """Write weights, manifest, fingerprint and card into `folder`, all or nothing."""
        network, settings = self._ready().network, self.settings()
        text = card_text(
            self.name, network, self.origin, self.metrics, self.by_true_label, self.recalibration
        )
        card = {CARD: text}
        save_bundle(Bundle("network", self.origin, settings, dict(network.state_dict()), card), folder)

    def settings(self) -> dict[str, Any]:
        """Return what a saved network says of itself beside its weights, JSON-ready; see `NetworkSettings`."""
        network = self._ready().network
        settings = {
            "name": self.name,
            "network": network.config.to_dict(),
            "labels": network.label_space.to_dict(),
            "parameters": network.parameter_count,
            "normalisation": "flux and sigma over the median flux of usable pixels, then per pixel as `front`",
            "metrics": self.metrics,
            "by_true_label": {
                label: [part.model_dump() for part in parts] for label, parts in self.by_true_label.items()
            },
            "fingerprint": self._measure().tolist(),
        }
        if network.head.reweighting is not None:
            settings["reweighted"] = True
        if network.refinement is not None:
            settings["refinement"] = asdict(network.refinement.config)
        if self.recalibration is not None:
            settings["recalibration"] = self.recalibration.model_dump(mode="json")
        return settings

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an estimator back and check that it gives the answers it was saved with.

        Raises:
            DataError: if the folder was changed or is incomplete, or the fixed input no longer gives the
                stored output (a defect of this installation).
        """
        bundle = load_bundle(folder, "network")
        settings, network = read_network(bundle)
        try:
            estimator = cls(settings.name).adopt(network, bundle.origin)
            found = estimator._measure()
        except (ArithmeticError, ValueError, RuntimeError) as error:
            raise bundle.problem(f"the network it describes gives no estimates ({error})") from error
        estimator.metrics, estimator.recalibration = settings.metrics, settings.recalibration
        estimator.by_true_label = settings.by_true_label
        if [len(row) for row in settings.fingerprint] != [found.shape[1]] * len(found):
            raise bundle.problem(f"settings: fingerprint does not have the shape {tuple(found.shape)}")
        expected = torch.tensor(settings.fingerprint, dtype=torch.float64)
        width = network.head.labels_scaling.width.double()
        worst = float(((found - expected).abs() / width).max())
        # Written this way round, NaN is refused.
        if not worst <= FINGERPRINT_TOLERANCE:
            raise DataError(
                f"{folder}: fixed spectra give other estimates than when it was saved (by {worst:.1e} of a "
                f"prior σ, allowed {FINGERPRINT_TOLERANCE}); check this installation of PyTorch"
            )
        return estimator

    @property
    def choice(self) -> dict[str, Any]:
        """What a report says of it: its size and its training."""
        training = self._ready().origin.training
        known = ("train_spectra", "steps", "seconds", "validation_r2", "date")
        facts = {name: value for name, value in training.to_dict().items() if name in known}
        return {"parameters": self.network.parameter_count, **facts}

    @property
    def described(self) -> str:
        """Which network it is, for the record of what is made from it: name, date and a digest of its weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.network.state_dict().items()):
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return f"{self.name} of {self.origin.training.date}, weights {digest.hexdigest()[:16]}"

    def _check_grid(self, grid: WavelengthGrid) -> None:
        """Raise WavelengthRangeError for other pixels; it says which spectra this network is for."""
        try:
            self.grid.check_matches(grid, self.name)
        except WavelengthRangeError as error:
            raise WavelengthRangeError(f"{error}; it is for {self.origin.purpose}") from None

    def _measure(self) -> Tensor:
        """Return the estimates of the fingerprint spectra, shape (FINGERPRINT_SPECTRA, P), float64.

        Of a network that refines those of bright stars, twice as many: of brighter ones too.
        """
        flux, sigma = fingerprint_spectra(self.grid)
        if (step := self._ready().network.refinement) is not None:
            brighter = FINGERPRINT_NOISE / step.config.snr
            flux, sigma = torch.cat([flux, flux]), torch.cat([sigma, brighter * sigma])
        return self.predict(flux, sigma).mean

    def _ready(self) -> Self:
        if not hasattr(self, "network"):
            raise RunError(f"{self.name}: needs a fitted estimator; call fit or load first")
        return self

    def _verdict(self, pieces: Sequence[_Piece]) -> Diagnostics | None:
        """Return the verdict on all spectra, None without a domain."""
        parts = [judged(self.origin, piece.flux, piece.sigma) for piece in pieces]
        known = [part for part in parts if part is not None]
        return Diagnostics.joined(known) if known else None

    @property
    def _domain_sees(self) -> bool:
        """Whether the domain finds on its way to the verdict what the front end would find again."""
        if self.device.type != "cpu":
            return False
        if self._shares is None:
            front, domain = self.network.front, self.origin.domain
            self._shares = (
                isinstance(front, SubspaceProjection) and domain is not None and front.begins(domain.space)
            )
        return self._shares

    def _judged_inputs(self, piece: _Piece, verdicts: list[Diagnostics]) -> list[Inputs]:
        """Return the inputs of spectra from what the domain finds of them, and add its verdicts."""
        front, domain = self.network.front, self.origin.domain
        assert isinstance(front, SubspaceProjection)
        assert domain is not None
        found, first = [], 0
        for part in domain.parts(piece.flux, piece.sigma):
            rows = slice(first, first + len(part.usable))
            verdicts.append(part.diagnostics)
            if part.solution is None:
                found.append(front(piece.flux[rows], piece.sigma[rows], whole=piece.whole))
            else:
                leading = part.solution.leading(front.components)
                found.append(front.inputs_of(leading, None if piece.whole else part.usable))
            first = rows.stop
        return found

    def _body(self) -> nn.Module:
        """Return the body that estimates are made with: on a CPU, one made ready for it when first asked for."""
        if self.device.type != "cpu":
            return self.network.body
        if self._prepared is None:
            self._prepared = prepared(self.network.body)
        return self._prepared

    def _pieces(self, flux: Tensor, sigma: Tensor) -> Iterator[_Piece]:
        """Yield the spectra that are decoded together.

        The front end normalises them itself: those without dead pixels go in as they come.
        """
        rows = self.rows_at_once
        for first in range(0, len(flux), DECODED_ROWS):
            some = flux[first : first + DECODED_ROWS], sigma[first : first + DECODED_ROWS]
            if all(is_whole(*part) for part in zip(*(values.split(rows) for values in some), strict=True)):
                yield _Piece(*some, True, torch.ones(len(some[0]), dtype=torch.float64))
                continue
            spectra = relative(*some, self.name, first)
            whole = bool((spectra.usable_share == 1).all())
            yield _Piece(spectra.flux.float(), spectra.sigma.float(), whole, spectra.usable_share)

    def _inputs(self, piece: _Piece) -> Iterator[Inputs]:
        """Yield the inputs of a few spectra at a time."""
        rows = self.rows_at_once
        for part in zip(piece.flux.split(rows), piece.sigma.split(rows), strict=True):
            yield self.network.front(*(values.to(self.device) for values in part), whole=piece.whole)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Return the parts as one on the CPU, or None if there are none."""
    return None if parts[0] is None else torch.cat([part.cpu() for part in parts if part is not None])


def fingerprint_spectra(grid: WavelengthGrid) -> tuple[Tensor, Tensor]:
    """Return fixed flux and sigma, each (FINGERPRINT_SPECTRA, L): smooth lines of growing depth and noise."""
    position = torch.linspace(0, 1, grid.size, dtype=torch.float64)
    number = torch.arange(1, FINGERPRINT_SPECTRA + 1, dtype=torch.float64)[:, None]
    flux = 1 + 0.05 * number * torch.cos(40 * number * position + number) * torch.sin(300 * position)
    sigma = 0.05 * number * (1 + 0.5 * torch.cos(25 * position))
    return flux.float(), sigma.float()
