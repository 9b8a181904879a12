"""Linear estimators from shared moments: Ridge, PCA-Ridge and PLS. One pass over the training set fits all.

Ridge and PCA-Ridge are filters on the eigenvalues of the Gram matrix, so that every penalty and every number
of components costs one product with the same eigenvectors. Choices are made on validation R², label by label.
Spectra are taken relative to their level; dead pixels are set to the training mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from specvit.errors import ConfigError, DataError, RunError
from specvit.models.bundle import Bundle, load_bundle, save_bundle
from specvit.models.inputs import (
    Progress,
    RelativeSpectra,
    Values,
    fill_dead,
    finished,
    label_names,
    labels_of,
    no_spectra,
    relative_spectra,
)
from specvit.models.linear_settings import LinearSettings, PCARidgeOptions, PLSOptions, RidgeOptions
from specvit.models.moments import Moments
from specvit.models.origin import Origin, judged
from specvit.models.prediction import Prediction
from specvit.models.scatter import ResidualScatter
from specvit.models.view import Density, View
from specvit.spectra import SpectraSource, collect, median_snr

#: Penalties on the Gram matrix, quarter decades: the optimum grows with noise and with the number of spectra.
DEFAULT_ALPHAS = tuple(float(10.0 ** (k / 4)) for k in range(-12, 33))
DEFAULT_COMPONENTS = (5, 10, 20, 50, 100, 200, 300, 500, 1000)
DEFAULT_PLS_COMPONENTS = 30


class _Linear(ABC):
    """What the linear estimators share: ŷ = mean_y + (flux - mean_x) W. Subclasses offer candidate W."""

    name: ClassVar[str]
    _settings: ClassVar[type[LinearSettings[Any]]]

    def __init__(
        self, labels: Sequence[str] | None, standardise: bool, view: View | None, density: Density | None
    ) -> None:
        self.labels = None if labels is None else label_names(labels, self.name)
        self.standardise, self.view, self.density = standardise, view or View(), density
        self.seen: Tensor | None = None
        self.choice: dict[str, dict[str, Any]] = {}

    @abstractmethod
    def _candidates(self, moments: Moments) -> tuple[list[dict[str, Any]], Tensor]:
        """Return C settings and their weights, shape (L, C, P)."""

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Fit in one pass over `train`; settings are chosen per label by validation R²."""
        names = self.labels or train.label_space.names
        self.seen = self.view.mask(train.grid, self.density)
        moments = Moments.accumulate(train, names, progress=progress, view=self._see)
        return self.fit_moments(moments, train, validation)

    def fit_moments(self, moments: Moments, train: SpectraSource, validation: SpectraSource) -> Self:
        """Fit from moments already accumulated over `train`, which is not read again, under this view.

        Raises:
            DataError: if the validation set is empty, on another grid, or a label is constant in it.
        """
        validation.grid.check_matches(train.grid, "validation set")
        batch = collect(validation)
        held_out = relative_spectra(batch.flux, batch.sigma, train.grid.size, "validation set")
        truth = labels_of(batch, validation.label_space, moments.names, "validation set")
        self.origin, self.names = Origin.of(train, validation), moments.names
        self.mean_flux, self.mean_labels = moments.mean_flux, moments.mean_labels
        seen = self._see(held_out)
        filled = fill_dead(seen, self.mean_flux)
        settings, weights = self._candidates(moments)
        # One product over all settings and labels at once: (B, L) @ (L, C P).
        flat = (filled - self.mean_flux) @ weights.flatten(1)
        estimates = flat.unflatten(1, weights.shape[1:]) + self.mean_labels
        scores = _validation_r2(estimates, truth, self.names)
        chosen = scores.argmax(dim=0)
        self.choice = {
            name: {**settings[k], "validation_r2": float(scores[k, p])}
            for p, (name, k) in enumerate(zip(self.names, chosen.tolist(), strict=True))
        }
        column = torch.arange(len(self.names), device=chosen.device)
        self.weights = weights[:, chosen, column]
        residual = truth - estimates[:, chosen, column]
        # From held-out spectra: residuals of the training set are too small.
        self.scatter = ResidualScatter.fit(median_snr(*self._noise_of(held_out, filled)), residual)
        return self

    def predict(self, flux: Values, sigma: Values) -> Prediction:
        """Return estimates and errors (see `ResidualScatter`) for flux and sigma of shape (B, L)."""
        if not hasattr(self, "weights"):
            raise RunError(f"{self.name}: predict needs a fitted estimator; call fit or load first")
        spectra = relative_spectra(flux, sigma, len(self.weights), self.name)
        if not len(spectra):
            return no_spectra(self.predict, len(self.weights))
        filled = fill_dead(self._see(spectra), self.mean_flux)
        # Centred in float64: weights of noisy pixels are large and cancel.
        mean = (filled - self.mean_flux.to(filled)) @ self.weights.to(filled) + self.mean_labels.to(filled)
        found = Prediction(mean.cpu(), self.scatter.std(*self._noise_of(spectra, filled)), self.names)
        verdict = judged(self.origin, spectra.flux, spectra.sigma)
        return finished(found, spectra.usable_share, self.name, verdict)

    def save(self, folder: Path) -> None:
        """Write weights and manifest into `folder`, all or nothing."""
        tensors = {
            "weights": self.weights,
            "mean_flux": self.mean_flux,
            "mean_labels": self.mean_labels,
            **self.scatter.to_tensors(),
            **({} if self.seen is None else {"seen": self.seen}),
        }
        settings = {"names": list(self.names), "options": self._options(), "choice": self.choice}
        save_bundle(Bundle(self.name, self.origin, settings, tensors), folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an estimator back; DataError if the folder was changed or is incomplete."""
        bundle = load_bundle(folder, cls.name)
        settings, tensors = bundle.settings_as(cls._settings), bundle.tensors
        with bundle.naming_settings():
            model = cls(**dict(settings.options))
        model.origin, model.choice = bundle.origin, settings.choice
        model.names = bundle.check_labels(settings.names, settings.options.labels, settings.choice)
        tensors.sizes["P"] = len(model.names)
        model.weights = tensors.take("weights", "LP", torch.float64)
        model.mean_flux = tensors.take("mean_flux", "L", torch.float64)
        model.mean_labels = tensors.take("mean_labels", "P", torch.float64)
        if model.view.seen:
            model.seen = tensors.take("seen", "L", torch.bool)
        model.scatter = ResidualScatter.read(tensors)
        tensors.finish()
        return model

    def _see(self, spectra: RelativeSpectra) -> RelativeSpectra:
        return self.view.relative(spectra, self.seen)

    def _noise_of(self, spectra: RelativeSpectra, filled: Tensor) -> tuple[Tensor, Tensor]:
        """Return flux and sigma, each (B, L), that say how noisy spectra are, whatever is seen of them."""
        return filled if self.view.is_plain else spectra.flux, spectra.sigma

    def _options(self) -> dict[str, Any]:
        labels = None if self.labels is None else list(self.labels)
        view = {} if self.view.is_plain else {"view": asdict(self.view)}
        return {"labels": labels, "standardise": self.standardise, **view}


class Ridge(_Linear):
    """Ridge regression, W = (XᵀX + αI)⁻¹XᵀY, every α from one eigen-decomposition.

    Args:
        labels: labels to estimate; None means all of the training set.
        alphas: penalties on the unnormalised Gram matrix; the best per label is kept.
        standardise: divide each pixel by its standard deviation over the training set first.
        view: which pixels are seen, and in which form; None for all as they are.
        density: where the information lies, for a view that asks for it.

    Source: Hoerl & Kennard 1970, Technometrics 12, 55.
    """

    name = "ridge"
    _settings = LinearSettings[RidgeOptions]

    def __init__(
        self,
        labels: Sequence[str] | None = None,
        alphas: Sequence[float] = DEFAULT_ALPHAS,
        standardise: bool = True,
        view: View | None = None,
        density: Density | None = None,
    ) -> None:
        super().__init__(labels, standardise, view, density)
        self.alphas = tuple(float(alpha) for alpha in alphas)
        if not self.alphas or min(self.alphas) < 0:
            raise ConfigError(f"ridge: alphas must be non-negative and at least one; got {self.alphas}")

    def _filters(self, values: Tensor) -> tuple[list[dict[str, Any]], Tensor]:
        """Return the C settings and their factors on the eigenvalues, shape (C, L)."""
        return [{"alpha": alpha} for alpha in self.alphas], shrinkage(values, self.alphas)

    def _candidates(self, moments: Moments) -> tuple[list[dict[str, Any]], Tensor]:
        values, vectors, scale = moments.eigen(self.standardise)
        settings, filters = self._filters(values)
        projected = vectors.T @ (moments.cross / scale[:, None])
        filtered = filters.T[:, :, None] * projected[:, None, :]
        weights = (vectors @ filtered.flatten(1)).unflatten(1, filtered.shape[1:])
        return settings, weights / scale[:, None, None]

    def _options(self) -> dict[str, Any]:
        return super()._options() | {"alphas": list(self.alphas)}


class PCARidge(Ridge):
    """Ridge on the leading K principal components; K and α are chosen together on validation.

    With `alphas=(0,)` this is principal component regression.
    """

    name = "pca_ridge"
    _settings = LinearSettings[PCARidgeOptions]

    def __init__(
        self,
        labels: Sequence[str] | None = None,
        components: Sequence[int] = DEFAULT_COMPONENTS,
        # Whole decades: every penalty is tried with every number of components.
        alphas: Sequence[float] = (0.0, *DEFAULT_ALPHAS[::4]),
        standardise: bool = True,
        view: View | None = None,
        density: Density | None = None,
    ) -> None:
        super().__init__(labels, alphas, standardise, view, density)
        self.components = tuple(int(k) for k in components)
        if not self.components or min(self.components) < 1:
            raise ConfigError(
                f"pca_ridge: components must be positive and at least one; got {self.components}"
            )

    def _filters(self, values: Tensor) -> tuple[list[dict[str, Any]], Tensor]:
        shrunk = shrinkage(values, self.alphas)
        rank = torch.arange(len(values), device=values.device)
        # More components than there are pixels are all of them.
        counts = sorted({min(k, len(values)) for k in self.components})
        settings = [{"components": k, "alpha": alpha} for k in counts for alpha in self.alphas]
        return settings, torch.cat([shrunk * (rank < k) for k in counts])

    def _options(self) -> dict[str, Any]:
        return super()._options() | {"components": list(self.components)}


class PLS(_Linear):
    """Partial least squares, one model per label (PLS1); the number of components is chosen on validation.

    Works on XᵀX and XᵀY alone, so it needs no second pass over the spectra.
    Source: Dayal & MacGregor 1997, J. Chemometrics 11, 73 (modified kernel algorithm #2).

    Args:
        labels: labels to estimate; None means all of the training set.
        components: the largest number of components to try.
        standardise: divide each pixel by its standard deviation over the training set first.
        view: which pixels are seen, and in which form; None for all as they are.
        density: where the information lies, for a view that asks for it.
    """

    name = "pls"
    _settings = LinearSettings[PLSOptions]

    def __init__(
        self,
        labels: Sequence[str] | None = None,
        components: int = DEFAULT_PLS_COMPONENTS,
        standardise: bool = True,
        view: View | None = None,
        density: Density | None = None,
    ) -> None:
        super().__init__(labels, standardise, view, density)
        self.components = int(components)
        if self.components < 1:
            raise ConfigError(f"pls: components must be at least 1; got {components}")

    def _candidates(self, moments: Moments) -> tuple[list[dict[str, Any]], Tensor]:
        scale = moments.scale(self.standardise)
        gram, cross = moments.gram / torch.outer(scale, scale), moments.cross / scale[:, None]
        paths = [_pls_path(gram, column, self.components) for column in cross.T]
        # Labels may run out of directions at different depths: the shorter path keeps its last weights.
        depth = max(len(path) for path in paths)
        padded = [torch.cat([path, path[-1:].expand(depth - len(path), -1)]) for path in paths]
        settings = [{"components": k + 1} for k in range(depth)]
        return settings, (torch.stack(padded, dim=2) / scale[:, None]).transpose(0, 1)

    def _options(self) -> dict[str, Any]:
        return super()._options() | {"components": self.components}


def _pls_path(gram: Tensor, cross: Tensor, components: int) -> Tensor:
    """Return the PLS1 weights after 1..K components, shape (K, L); stops early when nothing is left."""
    residual, weights = cross.clone(), torch.zeros_like(cross)
    rotations: list[Tensor] = []
    loadings: list[Tensor] = []
    path = []
    for _ in range(components):
        norm = residual.norm()
        # What is left is rounding; normalised it would pass for a direction.
        if norm <= 1e-12 * cross.norm():
            break
        direction = residual / norm
        rotation = direction.clone()
        # Rotations instead of deflation: the Gram matrix stays as it is (Dayal & MacGregor 1997).
        for earlier, loading in zip(rotations, loadings, strict=True):
            rotation -= (loading @ direction) * earlier
        image = gram @ rotation
        power = rotation @ image
        # The spectra do not vary along this direction.
        if power <= 0:
            break
        loading, slope = image / power, (rotation @ residual) / power
        residual = residual - slope * power * loading
        weights = weights + slope * rotation
        rotations.append(rotation)
        loadings.append(loading)
        path.append(weights)
    return torch.stack(path or [weights])


def shrinkage(values: Tensor, alphas: Sequence[float]) -> Tensor:
    """Return 1 / (λ + α) per alpha and eigenvalue, shape (A, L); 0 for a null direction at α = 0."""
    penalties = torch.tensor(alphas, dtype=values.dtype, device=values.device)[:, None]
    # The tolerance of numpy.linalg.matrix_rank.
    null = values <= torch.finfo(values.dtype).eps * len(values) * values.max()
    return torch.where(null & (penalties == 0), 0.0, 1.0 / (values + penalties))


def _validation_r2(estimates: Tensor, truth: Tensor, names: Sequence[str]) -> Tensor:
    """Return R² of (B, C, P) against (B, P), shape (C, P)."""
    total = (truth - truth.mean(dim=0)).square().sum(dim=0)
    if (total == 0).any():
        name = names[int((total == 0).nonzero()[0])]
        raise DataError(f"validation set: label {name} is constant, R² is undefined; use more spectra")
    return 1.0 - (estimates - truth[:, None, :]).square().sum(dim=0) / total
