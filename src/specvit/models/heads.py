"""Outputs of a network: label scaling and the kinds of head. Owns how raw outputs become estimates.

"point" gives a value per label, "gaussian" a value and an error, "joint" the same from one normal distribution of all
labels with its covariance, "ordinal" a probability per bin of the label range, from which value, error and quantiles
follow. The losses that train them are in `training.losses`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.models.calibration import Calibration
from specvit.models.reweighting import Reweighting
from specvit.spectra import LabelSpace

HeadKind = Literal["point", "gaussian", "joint", "ordinal"]

#: Those that state the moments of normal distributions.
NORMAL = ("gaussian", "joint")
Scaling = Literal["zscore", "minmax"]

#: Bounds of the predicted ln variance, in scaled labels: keeps the likelihood finite, binds nowhere real.
LOG_VARIANCE_RANGE = (-14.0, 4.0)

#: Probabilities at which quantiles are reported: the central 68 and 95 % and the median.
QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)

#: Those of the central 68 % and the median.
CENTRAL = (0.16, 0.5, 0.84)

#: Of the range of a label: the smallest standard deviation of a histogram, below that of 100,000 bins.
NARROWEST = 1e-6


class Estimate(NamedTuple):
    """Decoded output in label units: mean and std (B, P), quantiles (B, P, Q); None where a head has none."""

    mean: Tensor
    std: Tensor | None
    quantiles: Tensor | None


class LabelScaling(nn.Module):
    """The affine map between labels in their units and the order-one numbers a network is trained on.

    "zscore" maps a label drawn uniformly from its bounds to zero mean and unit variance, "minmax" to [0, 1].
    R² does not depend on the choice; the balance between labels in a loss does.
    """

    shift: Tensor
    width: Tensor

    def __init__(self, space: LabelSpace, scaling: Scaling = "zscore") -> None:
        super().__init__()
        if scaling not in ("zscore", "minmax"):
            raise ConfigError(f"label scaling: '{scaling}' is not known; choose zscore or minmax")
        low, high = torch.tensor(space.low), torch.tensor(space.high)
        self.scaling = scaling
        zscore = scaling == "zscore"
        self.register_buffer("shift", 0.5 * (low + high) if zscore else low)
        self.register_buffer("width", (high - low) / (12.0**0.5 if zscore else 1.0))

    def to_scaled(self, labels: Tensor) -> Tensor:
        """Return scaled labels, shape (..., P)."""
        return (labels - self.shift) / self.width

    def to_labels(self, scaled: Tensor) -> Tensor:
        """Return labels in their units, shape (..., P)."""
        return scaled * self.width + self.shift


class Head(nn.Module):
    """One linear map from the features of a spectrum to the outputs of all labels.

    How sharp an estimate is depends on the noise level above all, and multiplicatively: heads with errors
    add a linear function of the level to ln variance, or multiply their logits by its exponential. What is then
    stated is corrected as held-out spectra say (`Calibration`), which changes no estimate.

    Args:
        width: features.
        levels: level features of the `Inputs`; 0 leaves that function out.
        space: the labels to estimate (one or several), with the bounds of training.
        kind: see the module.
        scaling: see `LabelScaling`.
        bins: bins of equal width per label, for "ordinal".
        experts: heads beside each other on the same features, and a gate, trained with them, whose weights mix what
            they state (Jacobs et al. 1991, Neural Computation 3, 79); 1 for a single head.
        peak: for "ordinal": multiply each histogram by a normal density, whose centre and width are learned besides.
            A sharp posterior is one to leading order; what the bins say is then its form, and all bins learn from
            every star where it lies.

    Raises:
        ConfigError: for an unknown kind, or numbers and options that do not go together.
    """

    edges: Tensor

    def __init__(
        self,
        width: int,
        levels: int,
        space: LabelSpace,
        kind: HeadKind = "ordinal",
        scaling: Scaling = "zscore",
        bins: int = 64,
        experts: int = 1,
        peak: bool = False,
    ) -> None:
        super().__init__()
        if kind not in get_args(HeadKind):
            raise ConfigError(f"head: '{kind}' is not known; choose point, gaussian, joint or ordinal")
        if kind == "ordinal" and bins < 2:
            raise ConfigError(f"head: an ordinal head needs at least 2 bins, got {bins}")
        if experts < 1 or (experts > 1 and kind in NORMAL):
            raise ConfigError(
                f"experts: expected 1 or more, and several of an ordinal or point head; got {experts} of a {kind} one"
            )
        if peak and (kind != "ordinal" or experts > 1):
            raise ConfigError(f"peak: expected a single ordinal head; got {experts} of a {kind} one")
        self.kind, self.labels, self.experts = kind, len(space), experts
        # Of a joint head: value, ln conditional variance, and the weights of the labels before (`unit_factor`).
        self.outputs = {"point": 1, "gaussian": 2, "joint": 2 + self.labels, "ordinal": bins}[kind]
        self.labels_scaling = LabelScaling(space, scaling)
        self.calibration = Calibration(len(space), QUANTILES)
        #: Of what an ordinal head states, for another prior than that of the training.
        self.reweighting: Reweighting | None = None
        self.linear = nn.Linear(width, experts * self.labels * self.outputs)
        self.gate = nn.Linear(width, experts) if experts > 1 else None
        self.peak = nn.Linear(width, 2 * self.labels) if peak else None
        self.sharpness = nn.Linear(levels, self.labels) if levels and kind != "point" else None
        if self.sharpness is not None:
            # Without an opinion on the noise at first: the head is then an ordinary one.
            nn.init.zeros_(self.sharpness.weight)
            nn.init.zeros_(self.sharpness.bias)
        bounds = torch.tensor([space.low, space.high], dtype=torch.float64)
        scaled = self.labels_scaling.to_scaled(bounds)
        step = torch.linspace(0, 1, (bins if kind == "ordinal" else 1) + 1, dtype=torch.float64)
        self.register_buffer("edges", torch.lerp(scaled[0, :, None], scaled[1, :, None], step).float())

    def forward(self, features: Tensor, level: Tensor) -> Tensor:
        """Return raw outputs, shape (B, P, outputs), float32, for features (B, width) and level (B, M)."""
        # Under autocast the product is bf16; what is made of logits and variances is not.
        raw: Tensor = self.linear(features).float()
        if self.gate is not None:
            return self._mixed(raw, self.gate(features).float().log_softmax(dim=-1), level)
        raw = raw.unflatten(-1, (self.labels, self.outputs))
        sharpness: Tensor | None = None if self.sharpness is None else self.sharpness(level).float()
        if self.kind == "ordinal":
            raw = raw if sharpness is None else raw * sharpness.exp()[..., None]
            return raw if self.peak is None else raw + self._peaks(self.peak(features).float(), sharpness)
        if sharpness is None:
            return raw
        # Sharpness is -ln σ; the variance has its square.
        sharper = raw[..., 1:2] - 2 * sharpness[..., None]
        return torch.cat([raw[..., :1], sharper, raw[..., 2:]], dim=-1)

    def _peaks(self, found: Tensor, sharpness: Tensor | None) -> Tensor:
        """Return the logits of normal densities in the bins, (B, P, bins), for centres and ln precisions (B, 2 P)."""
        centre, precision = found.unflatten(-1, (2, self.labels)).unbind(dim=1)
        if sharpness is not None:
            # Sharpness is -ln σ.
            precision = precision + 2 * sharpness
        return normal_logits(self.edges, centre, precision)

    def _mixed(self, raw: Tensor, weight: Tensor, level: Tensor) -> Tensor:
        """Return the outputs of the mixture for those of K experts and ln weights (B, K); logits are ln probabilities."""
        raw = raw.unflatten(-1, (self.experts, self.labels, self.outputs))
        weight = weight[:, :, None, None]
        if self.kind == "point":
            return (weight.exp() * raw).sum(dim=1)
        if self.sharpness is not None:
            raw = raw * self.sharpness(level).float().exp()[:, None, :, None]
        return (raw.log_softmax(dim=-1) + weight).logsumexp(dim=1)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the estimates alone, shape (B, P), float64, label units, from raw outputs (B, P, outputs)."""
        raw = raw.double()
        if self.kind == "ordinal":
            return _moments(*self._stated(raw))[0]
        return self.labels_scaling.to_labels(raw[..., 0])

    def central(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return median and half the central 68 % of the histograms of an ordinal head as it was trained, (B, P), scaled.

        A little probability far from the rest, which many a histogram has, moves mean and standard deviation.
        """
        share = torch.tensor(CENTRAL, dtype=torch.float64, device=raw.device)
        cumulative, edges = _cumulative(raw.double().softmax(dim=-1)), self.edges.double()
        low, median, high = _inverse(cumulative, edges, share.expand(*raw.shape[:2], -1)).unbind(dim=-1)
        return median, 0.5 * (high - low)

    def decode(self, raw: Tensor, level: Tensor) -> Estimate:
        """Return estimates in label units from raw outputs (B, P, outputs) and level (B, M)."""
        raw, noise = raw.double(), _noise(level)
        if self.kind == "point":
            return Estimate(self.mean(raw), None, None)
        if self.kind in NORMAL:
            return Estimate(self.mean(raw), self.calibration.std(self._gaussian_std(raw), noise), None)
        probability, edges = self._stated(raw)
        mean, std = _moments(probability, edges)
        std, share = self.calibration.corrected(std, noise)
        return Estimate(mean, std, _inverse(_cumulative(probability), edges, share))

    @torch.no_grad()
    def calibrate(self, raw: Tensor, level: Tensor, labels: Tensor) -> None:
        """Correct stated errors by those of held-out spectra; estimates stay as they are.

        Args:
            raw: outputs, shape (N, P, outputs).
            level: the level features they were made with, shape (N, M).
            labels: the truth, in label units, shape (N, P).
        """
        if self.kind == "point":
            return
        raw, labels, noise = raw.double(), labels.double(), _noise(level)
        error = labels - self.mean(raw)
        if self.kind in NORMAL:
            self.calibration.fit(error, self._gaussian_std(raw), noise, None)
            return
        probability, edges = self._stated(raw)
        below = _below(_cumulative(probability), edges, labels)
        self.calibration.fit(error, _moments(probability, edges)[1], noise, below)

    def _gaussian_std(self, raw: Tensor) -> Tensor:
        if self.kind == "joint":
            variance = joint_covariance(raw).diagonal(dim1=-2, dim2=-1)
            return variance.sqrt() * self.labels_scaling.width
        return (0.5 * raw[..., 1].clamp(*LOG_VARIANCE_RANGE)).exp() * self.labels_scaling.width

    def _stated(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability of every bin, (B, P, bins), and the edges of the bins, (P, bins + 1)."""
        if self.reweighting is None:
            return raw.softmax(dim=-1), self.bin_edges
        return self.reweighting(raw), self.reweighting.edges

    @property
    def bin_edges(self) -> Tensor:
        """The edges of the bins of the training in label units, shape (P, bins + 1), float64."""
        return self.labels_scaling.to_labels(self.edges.double().T).T


def unit_factor(raw: Tensor) -> Tensor:
    """Return T, unit lower triangular, shape (B, P, P): T (y - mean) has independent elements.

    Their ln variances are raw[..., 1]: label p given the labels before it. Any raw output (B, P, 2 + P) means a
    covariance T⁻¹ D T⁻ᵀ that is positive definite. Source: Pourahmadi 1999, Biometrika 86, 677.
    """
    below = raw[..., 2:].tril(-1)
    return below + torch.eye(raw.shape[-2], dtype=raw.dtype, device=raw.device)


def joint_covariance(raw: Tensor) -> Tensor:
    """Return the covariance that a joint head states, shape (B, P, P), in scaled labels, for raw (B, P, 2 + P)."""
    spread = torch.diag_embed((0.5 * raw[..., 1].clamp(*LOG_VARIANCE_RANGE)).exp())
    root: Tensor = torch.linalg.solve_triangular(unit_factor(raw), spread, upper=False, unitriangular=True)
    return root @ root.mT


def normal_logits(edges: Tensor, centre: Tensor, log_precision: Tensor) -> Tensor:
    """Return the logits of normal densities in the bins of edges (P, K + 1), shape (B, P, K), for (B, P) of each."""
    width = edges.diff(dim=1)
    # Narrower than half a bin it would say no more, and of a label outside the bin nothing that is learnt from.
    precision = log_precision.clamp(max=(4 / width[:, 0].square()).log()).exp()
    middle = edges[:, :-1] + 0.5 * width
    return -0.5 * (middle - centre[..., None]).square() * precision[..., None]


def _noise(level: Tensor) -> Tensor:
    """Return the one noise level of each spectrum, shape (B,): the first level feature, if there are any."""
    return level[:, 0] if level.shape[1] else level.new_zeros(len(level))


def _moments(probability: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation, each (B, P), of a density constant in each bin."""
    # About the middle of the range, so that little is lost in the difference of squares.
    middle = 0.5 * (edges[:, :1] + edges[:, -1:])
    centre, width = 0.5 * (edges[:, 1:] + edges[:, :-1]) - middle, edges.diff(dim=1)
    # width² / 12: variance of a uniform density.
    powers = torch.stack([centre, centre.square() + width.square() / 12], dim=-1)
    first, second = torch.einsum("bpk,pkq->bpq", probability, powers).unbind(dim=-1)
    # All of it may lie in the sliver of a bin that a bound left, narrower than rounding can tell.
    narrowest = NARROWEST * (edges[:, -1] - edges[:, 0])
    variance = (second - first.square()).clamp(min=narrowest.square())
    return first + middle[:, 0], variance.sqrt()


def _cumulative(probability: Tensor) -> Tensor:
    """Return the cumulative at the edges of the bins, shape (B, P, K + 1)."""
    return torch.cat([torch.zeros_like(probability[..., :1]), probability.cumsum(dim=-1)], dim=-1)


def _inverse(cumulative: Tensor, edges: Tensor, share: Tensor) -> Tensor:
    """Return where a piecewise-linear cumulative (B, P, K + 1) over edges (P, K + 1) is `share` (B, P, Q)."""
    return _interpolated(cumulative, edges.expand(*cumulative.shape), share)


def _below(cumulative: Tensor, edges: Tensor, value: Tensor) -> Tensor:
    """Return the cumulative (B, P, K + 1) over edges (P, K + 1) at `value` (B, P)."""
    spread = edges.expand(*cumulative.shape)
    return _interpolated(spread, cumulative, value[..., None]).squeeze(-1)


def _interpolated(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """Return y at `at` (B, P, Q), linear between increasing nodes x with values y, both (B, P, K + 1)."""
    index = (torch.searchsorted(x.contiguous(), at.contiguous()) - 1).clamp(0, x.shape[-1] - 2)
    below, above = x.gather(-1, index), x.gather(-1, index + 1)
    left, right = y.gather(-1, index), y.gather(-1, index + 1)
    # A bin without probability has no slope to divide by.
    fraction = ((at - below) / (above - below).clamp(min=1e-12)).clamp(0, 1)
    return left + fraction * (right - left)
