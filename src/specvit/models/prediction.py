"""What an estimator answers: `Prediction`, with its `Quantiles` and `Diagnostics`.

Owns the shapes, the selection and joining of rows, and the plain arrays a prediction is stored as. Reads and
writes no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specvit.errors import DataError, ShapeError

#: Probabilities that differ by less are the same: 0.5 - 0.68 / 2 is not exactly 0.16.
SAME = 1e-6

#: Why a spectrum is not one of those an estimator was made for, in the order of `Diagnostics.strangeness`.
REASONS = (
    "its noise is outside the range of the training",
    "too many dead pixels",
    "no training spectrum fits it within its noise",
    "a shape that training spectra do not have",
    "single pixels far off (cosmic rays, sky residuals, emission)",
    "its lines are shifted: not in the rest frame, or in air",
    "its lines are wider or narrower: another resolution, or rotation",
    "a continuum that is tilted or curved",
)

#: What the arrays of `Diagnostics` are called among those of a prediction: "diagnostics/chi2".
PREFIX = "diagnostics/"

#: What selects rows: a slice, or a tensor or array of indices or of a mask. Not a single integer.
Rows = slice | Tensor | np.ndarray


@dataclass(frozen=True)
class Quantiles:
    """Quantiles of the label distributions an estimator states.

    Args:
        probabilities: Q of them between 0 and 1, rising.
        values: shape (B, P, Q), label units.

    Raises:
        DataError: if the probabilities do not rise between 0 and 1.
        ShapeError: if `values` is not (B, P, Q).
    """

    probabilities: tuple[float, ...]
    values: Tensor

    def __post_init__(self) -> None:
        chain = (0.0, *self.probabilities, 1.0)
        if not all(low < high for low, high in pairwise(chain)):
            raise DataError(
                f"quantiles: expected probabilities that rise between 0 and 1, got {self.probabilities}"
            )
        if self.values.ndim != 3 or self.values.shape[2] != len(self.probabilities):
            raise ShapeError(
                f"quantiles: expected values of shape (spectra, labels, {len(self.probabilities)}), one for "
                f"each probability; got {tuple(self.values.shape)}"
            )

    def at(self, probability: float) -> Tensor:
        """Return the quantiles at one of the probabilities, shape (B, P).

        Raises:
            DataError: if it is none of them; lists them.
        """
        for k, known in enumerate(self.probabilities):
            if abs(known - probability) < SAME:
                return self.values[..., k]
        raise DataError(
            f"quantiles: none at {probability:g}; they are stated at "
            f"{', '.join(f'{p:g}' for p in self.probabilities)}"
        )

    def interval(self, share: float) -> tuple[Tensor, Tensor]:
        """Return (low, high), each (B, P): the central interval that holds `share`, e.g. 0.68.

        Raises:
            DataError: if it is no share, or its ends are not among the probabilities; lists them.
        """
        if not 0 < share < 1:
            raise DataError(f"quantiles: share: expected a number between 0 and 1, e.g. 0.68, got {share:g}")
        return self.at(0.5 - 0.5 * share), self.at(0.5 + 0.5 * share)


@dataclass(frozen=True)
class Diagnostics:
    """What an estimator says about how it came to each answer; None where it does not know.

    Args:
        usable_share: of the pixels that carried information, shape (B,), float64.
        chi2: of the best template, or of the training spectra's best reconstruction, shape (B,), float64.
        degrees_of_freedom: live pixels minus unknowns of that fit, shape (B,), integers.
        iterations: steps the best start took, shape (B,), integers.
        converged: whether the search ended at a minimum, or the sampler reached its effective sample size,
            shape (B,), boolean.
        minima: distinct minima that all starts found, shape (B,), integers.
        on_face: which labels lie on a face of the box of the training set, shape (B, P), boolean.
        continuum: the a_j of Σ_j a_j u^j with u from -1 to 1 across the pixels, in the unit of the flux, shape
            (B, order + 1), float64; from order 1 on those of each arm, one arm after the other.
        strangeness: how unlike the training spectra each spectrum is, for each of `REASONS`, shape (B, R), float64:
            a measure over the value that almost no training spectrum exceeds, see `models.domain`.
        p_value: probability of a larger chi² from noise alone, shape (B,), float64.
        effective_sample_size: of the weighted samples of the posterior, shape (B,), float64.
        samples: likelihoods computed, shape (B,), integers.
    """

    usable_share: Tensor | None = None
    chi2: Tensor | None = None
    degrees_of_freedom: Tensor | None = None
    iterations: Tensor | None = None
    converged: Tensor | None = None
    minima: Tensor | None = None
    on_face: Tensor | None = None
    continuum: Tensor | None = None
    strangeness: Tensor | None = None
    p_value: Tensor | None = None
    effective_sample_size: Tensor | None = None
    samples: Tensor | None = None

    def known(self) -> dict[str, Tensor]:
        """Return the arrays that are there, by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: values for name, values in named.items() if values is not None}

    @classmethod
    def joined(cls, parts: Sequence[Diagnostics]) -> Diagnostics:
        """Return what is known of the spectra of several parts, one part after the other; all know the same."""
        known = [part.known() for part in parts]
        return cls(**{name: torch.cat([one[name] for one in known]) for name in (known[0] if known else ())})


@dataclass(frozen=True)
class Prediction:
    """Estimated labels of B spectra.

    Args:
        mean: shape (B, P), in label units, float64 on the CPU.
        std: 1 σ errors, shape (B, P), or None for an estimator without errors.
        names: the P label names.
        quantiles: for an estimator that states distributions, else None.
        diagnostics: see `Diagnostics`.

    Raises:
        ShapeError: if the shapes do not fit together; names the array.
    """

    mean: Tensor
    std: Tensor | None
    names: tuple[str, ...]
    quantiles: Quantiles | None = None
    diagnostics: Diagnostics = field(default_factory=Diagnostics)

    def __post_init__(self) -> None:
        if self.mean.ndim != 2 or self.mean.shape[1] != len(self.names):
            raise ShapeError(
                f"prediction: expected mean of shape (spectra, {len(self.names)}) for the labels "
                f"{', '.join(self.names)}; got {tuple(self.mean.shape)}"
            )
        shape = tuple(self.mean.shape)
        if self.std is not None and self.std.shape != shape:
            raise ShapeError(f"prediction: expected std of shape {shape}, got {tuple(self.std.shape)}")
        if self.quantiles is not None and self.quantiles.values.shape[:2] != shape:
            raise ShapeError(
                f"prediction: expected quantiles of shape ({shape[0]}, {shape[1]}, probabilities); "
                f"got {tuple(self.quantiles.values.shape)}"
            )
        for name, values in self.diagnostics.known().items():
            if values.shape[:1] != shape[:1]:
                raise ShapeError(
                    f"prediction: expected {PREFIX}{name} with first axis {shape[0]}, got {tuple(values.shape)}"
                )

    def __len__(self) -> int:
        return self.mean.shape[0]

    @property
    def in_domain(self) -> Tensor | None:
        """Whether each spectrum is like those of the training, shape (B,), boolean; None where nobody knows.

        Estimates and errors of the others mean nothing; `reasons` says why.
        """
        strange = self.diagnostics.strangeness
        return None if strange is None else (strange <= 1).all(dim=1)

    def reasons(self, row: int) -> list[str]:
        """Return in words why spectrum `row` is outside the domain, the strangest first; none if it is inside."""
        strange = self.diagnostics.strangeness
        if strange is None:
            return []
        order = strange[row].argsort(descending=True).tolist()
        return [REASONS[k] for k in order if not bool(strange[row, k] <= 1)]

    def __getitem__(self, rows: Rows) -> Prediction:
        """Return the answers for the selected spectra.

        Raises:
            ShapeError: for a single integer, which would leave no axis of spectra.
        """
        if not isinstance(rows, Rows) or getattr(rows, "ndim", 1) != 1:
            raise ShapeError(
                f"prediction: rows are selected by a slice, indices or a mask, got {rows!r}; "
                "one spectrum k is [k : k + 1]"
            )
        return self._of({name: values[rows] for name, values in self._by_row().items()})

    @staticmethod
    def concatenate(parts: Sequence[Prediction]) -> Prediction:
        """Return the parts as one, in their order.

        Raises:
            DataError: if there are none, or they differ in labels, probabilities or in which arrays they hold.
        """
        if not parts:
            raise DataError("prediction: nothing to concatenate, expected at least one part")
        first, pieces = parts[0], [part._by_row() for part in parts]
        for part, piece in zip(parts, pieces, strict=True):
            ours, theirs = ((*p.names, *_probabilities(p)) for p in (first, part))
            if ours != theirs or set(piece) != set(pieces[0]):
                raise DataError(
                    "prediction: parts to concatenate must have the same labels, probabilities and arrays; got "
                    f"{_contents(first, pieces[0])} and {_contents(part, piece)}"
                )
        return first._of({name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]})

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return plain arrays: names, mean, and if known std, quantiles, probabilities, diagnostics/NAME."""
        # Text of fixed width: an array of objects could only be pickled.
        arrays = {"names": np.array(self.names, dtype=np.str_)}
        arrays |= {name: values.cpu().numpy() for name, values in self._by_row().items()}
        if self.quantiles is not None:
            arrays["probabilities"] = np.array(self.quantiles.probabilities)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], where: str) -> Prediction:
        """Return the prediction that `to_arrays` described.

        Args:
            arrays: by name.
            where: what an error names, e.g. the file they come from.

        Raises:
            DataError: if an array is missing, unknown, not numeric or of another shape; names it.
        """
        left = dict(arrays)
        names = tuple(str(name) for name in np.atleast_1d(_taken(left, "names", where)))
        tensors = {"mean": _tensor(left, "mean", where).double()}
        tensors |= {n: _tensor(left, n, where).double() for n in ("std", "quantiles") if n in left}
        diagnostics = (PREFIX + f.name for f in fields(Diagnostics))
        tensors |= {name: _tensor(left, name, where) for name in diagnostics if name in left}
        probabilities: tuple[float, ...] = ()
        if "quantiles" in tensors:
            probabilities = tuple(_tensor(left, "probabilities", where).double().tolist())
        if left:
            raise DataError(f"{where}: '{next(iter(left))}' is no array of a prediction; remove or rename it")
        try:
            return cls._from(names, probabilities, tensors)
        except DataError as error:
            raise type(error)(f"{where}: {error}") from None

    def _by_row(self) -> dict[str, Tensor]:
        """Return all tensors with first axis B, by the names of `to_arrays`."""
        tensors = {"mean": self.mean}
        if self.std is not None:
            tensors["std"] = self.std
        if self.quantiles is not None:
            tensors["quantiles"] = self.quantiles.values
        return tensors | {PREFIX + name: values for name, values in self.diagnostics.known().items()}

    def _of(self, tensors: dict[str, Tensor]) -> Prediction:
        return self._from(self.names, _probabilities(self), tensors)

    @classmethod
    def _from(
        cls, names: tuple[str, ...], probabilities: tuple[float, ...], tensors: dict[str, Tensor]
    ) -> Prediction:
        values = tensors.get("quantiles")
        quantiles = None if values is None else Quantiles(probabilities, values)
        known = {
            name.removeprefix(PREFIX): values for name, values in tensors.items() if name.startswith(PREFIX)
        }
        return cls(tensors["mean"], tensors.get("std"), names, quantiles, Diagnostics(**known))


def _probabilities(prediction: Prediction) -> tuple[float, ...]:
    return () if prediction.quantiles is None else prediction.quantiles.probabilities


def _contents(prediction: Prediction, arrays: Mapping[str, Tensor]) -> str:
    return f"{', '.join(prediction.names)} with {', '.join(arrays)} at {_probabilities(prediction)}"


def _taken(arrays: dict[str, Any], name: str, where: str) -> np.ndarray:
    """Remove and return an array."""
    if name not in arrays:
        raise DataError(f"{where}: no array '{name}'; it holds {', '.join(sorted(arrays)) or 'nothing else'}")
    return np.asarray(arrays.pop(name))


def _tensor(arrays: dict[str, Any], name: str, where: str) -> Tensor:
    """Remove and return an array as a tensor of its own."""
    values = _taken(arrays, name, where)
    if values.dtype.kind not in "biuf":
        raise DataError(f"{where}: '{name}' holds {values.dtype} values, expected numbers")
    # PyTorch knows the byte order of this machine only.
    return torch.from_numpy(np.array(values, order="C", dtype=values.dtype.newbyteorder("=")))
