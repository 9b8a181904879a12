"""What a network says of stars, in the words of the fit: `StellarParameters` with the same flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from specvit.amortised.judging import reason_of
from specvit.amortised.networks import SetupNetwork
from specvit.amortised.rest_frame import median_of
from specvit.models.prediction import Prediction
from specvit.stellar.flags import (
    FEWEST_ANGSTROMS,
    FLAGS,
    LARGEST_CHI2,
    LARGEST_SIGMA,
    LINES_MATTER,
    covered,
    lines_seen,
)
from specvit.stellar.parameters import StellarParameters
from specvit.stellar.pixels import FitPixels

#: A distribution that is cut off by the edge of the box has its 16 % quantile nearer to the edge than this share of the
#: way from there to its median, and is narrower than this share of the box.
CUT, NARROW = 0.45, 0.15


@dataclass(frozen=True)
class Answered:
    """What the network of a setup says of N spectra.

    Args:
        prediction: labels, errors, quantiles and the verdict on the spectra.
        velocity, gain: km/s, and by how much lines improve χ² over the continuum, shape (N,).
        snr: per pixel, shape (N,).
    """

    prediction: Prediction
    velocity: np.ndarray
    gain: np.ndarray
    snr: np.ndarray

    @property
    def in_domain(self) -> np.ndarray:
        """Whether each spectrum is like those of the training, shape (N,), bool."""
        inside = self.prediction.in_domain
        assert inside is not None
        return inside.numpy()

    @cached_property
    def told(self) -> _Told:
        """The same as plain numbers, star by star."""
        known = self.prediction.diagnostics
        assert self.prediction.std is not None
        assert known.chi2 is not None
        assert known.degrees_of_freedom is not None
        return _Told(
            self.prediction.names,
            self.prediction.mean.tolist(),
            self.prediction.std.tolist(),
            (known.chi2 / known.degrees_of_freedom.clamp(min=1)).tolist(),
            self.velocity.tolist(),
            self.gain.tolist(),
            self.snr.tolist(),
            self.in_domain.tolist(),
        )


class _Told(NamedTuple):
    """Labels and errors of N stars (N lists of P), χ² per degree of freedom, and what `Answered` has; N numbers each."""

    names: tuple[str, ...]
    labels: list[list[float]]
    errors: list[list[float]]
    reduced: list[float]
    velocity: list[float]
    gain: list[float]
    snr: list[float]
    in_domain: list[bool]


def answered(network: SetupNetwork, pixels: Sequence[FitPixels]) -> Answered:
    """Return what a network says of spectra of its setup."""
    found = _found(network, pixels)
    return Answered(network.estimator.predict(found.flux, found.sigma), *found.measured)


def rest_frames(network: SetupNetwork, pixels: Sequence[FitPixels]) -> tuple[Tensor, Tensor]:
    """Return flux and sigma of spectra as the network is given them, shapes (N, M)."""
    found = _found(network, pixels)
    return found.flux, found.sigma


class _Found(NamedTuple):
    """Flux and sigma in the rest frame (N, M); velocity, gain and S/N (3, N)."""

    flux: Tensor
    sigma: Tensor
    measured: np.ndarray


def _found(network: SetupNetwork, pixels: Sequence[FitPixels]) -> _Found:
    frame, velocities = network.frame, network.velocities
    plain = velocities.frame
    order, measured, seen_flux, seen_sigma = [], [], [], []
    for rows, log_pixels, flux, sigma in _alike(pixels):
        still = np.zeros(len(rows))
        plainly, error, _ = plain.flattened(*plain.resampled(log_pixels, flux, sigma, still))
        velocity, gain = velocities.find(plainly, error)
        seen = frame.see(log_pixels, flux, sigma, velocity)
        order.append(rows)
        measured.append(np.stack([velocity, gain, median_of(flux / sigma, np.isfinite(sigma))]))
        seen_flux.append(seen.flux)
        seen_sigma.append(seen.sigma)
    back = np.argsort(np.concatenate(order))
    return _Found(
        torch.cat(seen_flux)[back], torch.cat(seen_sigma)[back], np.concatenate(measured, axis=1)[:, back]
    )


def parameters(
    network: SetupNetwork,
    said: Answered,
    row: int,
    pixels: FitPixels,
    largest: float,
    cut: bool,
    systematic: Mapping[str, float],
) -> StellarParameters:
    """Return the answer for one spectrum.

    Args:
        network: that gave it.
        said: of the spectra, of which this is number `row`.
        pixels: of the spectrum.
        largest: km/s, the largest velocity that was looked for.
        cut: whether the edge of the box cuts off what is stated of it, see `cut_off`.
        systematic: label -> 1 σ that statistical errors lack.
    """
    spectrum, told = pixels.spectrum, said.told
    labels = dict(zip(told.names, told.labels[row], strict=True))
    errors = dict(zip(told.names, told.errors[row], strict=True))
    reduced, velocity, inside = told.reduced[row], told.velocity[row], told.in_domain[row]
    raised = {
        "LABEL_ON_FACE": cut,
        "CHI2": reduced > LARGEST_CHI2,
        "SIGMA_LARGE": any(errors[name] > most for name, most in LARGEST_SIGMA.items() if name in errors),
        "RV_EDGE": abs(velocity) > 0.98 * largest,
        "NO_CAT": lines_seen(pixels, velocity) < 2,
        "LOW_COVERAGE": covered(pixels) < FEWEST_ANGSTROMS,
        "NOT_A_STAR": told.gain[row] < LINES_MATTER * max(1.0, reduced),
        "OUT_OF_DOMAIN": not inside,
        "ASSUMED_SIGMA": "sigma" in spectrum.assumed,
        "ASSUMED_RESOLUTION": "resolution" in spectrum.assumed,
    }
    strange = said.prediction.diagnostics.strangeness
    assert strange is not None
    notes = () if inside else (reason_of(strange[row]),)
    return StellarParameters(
        name=spectrum.name,
        source=spectrum.source,
        labels=labels,
        errors=errors,
        velocity=velocity,
        velocity_error=float(network.velocity_error(said.snr[row])),
        width=np.nan,
        width_error=np.nan,
        chi2=reduced,
        snr=told.snr[row],
        pixels=int(np.count_nonzero(pixels.usable)),
        # Marginal distributions are all it states.
        covariance=np.diag(np.square(list(errors.values()))),
        minima=(),
        flags=tuple(name for name in FLAGS if raised.get(name)),
        resolution=pixels.resolution,
        medium=spectrum.medium,
        frame=spectrum.frame,
        form=spectrum.form,
        assumptions=(*spectrum.assumptions, *pixels.notes, *notes),
        facts=dict(spectrum.facts),
        method=network.estimator.name,
        systematic=systematic,
    )


def _alike(
    pixels: Sequence[FitPixels],
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Return spectra by their pixels: numbers (N,), ln λ (L,), flux and sigma (N, L)."""
    groups: dict[bytes, list[int]] = {}
    for row, one in enumerate(pixels):
        groups.setdefault(one.wavelength.tobytes(), []).append(row)
    return [
        (
            np.array(rows),
            np.log(pixels[rows[0]].wavelength),
            np.stack([pixels[row].flux for row in rows]),
            np.stack([pixels[row].sigma for row in rows]),
        )
        for rows in groups.values()
    ]


def cut_off(network: SetupNetwork, prediction: Prediction) -> np.ndarray:
    """Return of which spectra the edge of the box cuts off what is stated of Teff, log g or [M/H], shape (N,), bool."""
    assert prediction.quantiles is not None
    assert prediction.std is not None
    space = network.estimator.label_space
    lower, middle, upper = (prediction.quantiles.at(p).numpy() for p in (0.16, 0.5, 0.84))
    low, high = np.array(space.low), np.array(space.high)
    near = (lower - low < CUT * (middle - lower)) | (high - upper < CUT * (upper - middle))
    narrow = prediction.std.numpy() <= NARROW * (high - low)
    minded = np.array([name in LARGEST_SIGMA for name in space.names])
    found: np.ndarray = (near & narrow & minded).any(axis=1)
    return found
