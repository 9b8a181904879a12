"""Model atmospheres at any point between the given ones, by linear interpolation layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import QhullError

from specvit.errors import DataError, DomainError
from specvit.library.synthesis.atmosphere import ModelAtmosphere

AXES = ("teff", "log_g", "m_h")
_TOLERANCE = {"teff": 0.5, "log_g": 1e-3, "m_h": 1e-3}


class AtmosphereGrid:
    """Interpolates log depth, log T, log Pg and log Pe of equally layered models in (Teff, log g, [M/H]).

    Axes along which all models agree are frozen: a point must have that Teff and log g, while any [M/H] is
    accepted (the structure is then that of the one metallicity; the composition of the gas is not).

    Args:
        models: at least one; of one depth scale and number of layers.

    Raises:
        DataError: if the models cannot be combined; names two of them.
    """

    def __init__(self, models: Sequence[ModelAtmosphere]) -> None:
        first = models[0]
        for model in models:
            if (model.scale, model.depth.size) != (first.scale, first.depth.size) or (
                (model.gas_pressure is None) != (first.gas_pressure is None)
            ):
                raise DataError(
                    f"{model.name}: {model.depth.size} layers on {model.scale}, but {first.name} has "
                    f"{first.depth.size} on {first.scale}; give models of one kind"
                )
        self.models = list(models)
        points = np.array([[getattr(model, axis) for axis in AXES] for model in models])
        free = np.ptp(points, axis=0) > [_TOLERANCE[axis] for axis in AXES]
        self.free = [axis for axis, is_free in zip(AXES, free, strict=True) if is_free]
        self.frozen = {axis: float(points[0, i]) for i, axis in enumerate(AXES) if not free[i]}
        self._low, self._span = points[:, free].min(axis=0), np.ptp(points[:, free], axis=0)
        # On the unit cube: Delaunay triangles in K and dex would be slivers.
        self._points = (points[:, free] - self._low) / self._span
        if len(np.unique(self._points.round(9), axis=0)) < len(models):
            raise DataError(
                f"{first.name} and others: two models have the same Teff, log g and [M/H]; remove one"
            )
        self._values: np.ndarray = np.array([_pack(model) for model in models])
        self._interpolator = self._make_interpolator()

    def at(self, teff: float, log_g: float, m_h: float) -> ModelAtmosphere:
        """Return the interpolated structure.

        Raises:
            DomainError: if the point is not between the models; names the label or the point.
        """
        wanted = {"teff": teff, "log_g": log_g, "m_h": m_h}
        for axis, value in self.frozen.items():
            if axis != "m_h" and abs(wanted[axis] - value) > _TOLERANCE[axis]:
                raise DomainError(
                    f"{axis} = {wanted[axis]:g}: all model atmospheres have {axis} = {value:g}; add models"
                )
        position = (np.array([wanted[axis] for axis in self.free]) - self._low) / self._span
        packed = self._interpolate(position)
        if not np.isfinite(packed).all():
            raise DomainError(
                f"teff = {teff:g}, log_g = {log_g:g}, m_h = {m_h:g}: not between the model atmospheres; "
                "add models"
            )
        return replace(_unpack(self.models[0], packed), teff=teff, log_g=log_g, m_h=m_h, name="interpolated")

    def _make_interpolator(self) -> LinearNDInterpolator | None:
        if len(self.free) < 2:
            return None
        try:
            return LinearNDInterpolator(self._points, self._values)
        except QhullError as error:
            raise DataError(
                f"{len(self.models)} model atmospheres do not span {', '.join(self.free)}; add models"
            ) from error

    def _interpolate(self, position: np.ndarray) -> np.ndarray:
        if not self.free:
            only: np.ndarray = self._values[0]
            return only
        if self._interpolator is not None:
            # A point on the hull may fall outside by rounding: pull it inwards by 1e-9 of the range.
            centre = self._points.mean(axis=0)
            between: np.ndarray = self._interpolator(position + 1e-9 * (centre - position))[0]
            return between
        order = np.argsort(self._points[:, 0])
        nodes = self._points[order, 0]
        if not -1e-9 <= position[0] <= 1 + 1e-9:
            return np.full(self._values.shape[1], np.nan)
        upper = int(np.clip(np.searchsorted(nodes, position[0]), 1, len(nodes) - 1))
        weight = (position[0] - nodes[upper - 1]) / (nodes[upper] - nodes[upper - 1])
        below, above = self._values[order[upper - 1]], self._values[order[upper]]
        mixed: np.ndarray = (1 - weight) * below + weight * above
        return mixed


def _pack(model: ModelAtmosphere) -> np.ndarray:
    columns = [model.depth, model.temperature]
    columns += [c for c in (model.gas_pressure, model.electron_pressure) if c is not None]
    # Pressures span eight decades over the layers: logarithms are what is nearly linear.
    packed: np.ndarray = np.log(np.concatenate(columns))
    return packed


def _unpack(like: ModelAtmosphere, packed: np.ndarray) -> ModelAtmosphere:
    columns = iter(np.exp(packed).reshape(-1, like.depth.size))
    return replace(
        like,
        depth=next(columns),
        temperature=next(columns),
        gas_pressure=None if like.gas_pressure is None else next(columns),
        electron_pressure=None if like.electron_pressure is None else next(columns),
    )
