"""Compression of a stack of similar spectra: principal components in 16 bits plus the pixels they miss.

Owns encode and decode of one (N, L) array; knows nothing of files or labels.
"""

from __future__ import annotations

import numpy as np

INT16_MAX = 32767


def encode(flux: np.ndarray, components: int, tolerance: float) -> dict[str, np.ndarray]:
    """Return the arrays from which `decode` rebuilds `flux` (N, L), positive, to `tolerance` relative.

    Each spectrum is divided by its mean and expanded in `components` principal components, coefficients and
    basis rounded to 16 bits with one step per component. Pixels that miss by more than `tolerance` are
    kept as they are.
    """
    scale = flux.mean(axis=1, dtype=np.float64)
    relative = (flux / scale[:, None]).astype(np.float32)
    mean = relative.mean(axis=0)
    centred = relative - mean
    count = min(components, *flux.shape)
    # Through the (N, N) Gram matrix, as there are fewer spectra than pixels; `eigh` sorts upwards, hence the
    # reversal below.
    _, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    basis = vectors[:, ::-1][:, :count].T.astype(np.float32) @ centred
    basis /= np.maximum(np.linalg.norm(basis, axis=1, keepdims=True), 1e-30)
    basis_codes, basis_step = _quantise(basis, axis=1)
    # Coefficients are fitted to the rounded basis, so that its rounding does not add to the error.
    rounded = basis_codes * basis_step
    coefficients = np.linalg.lstsq(rounded.T.astype(np.float64), centred.T.astype(np.float64))[0]
    coefficient_codes, coefficient_step = _quantise(coefficients.T, axis=0)
    code = {
        "scale": scale,
        "mean": mean,
        "basis_codes": basis_codes,
        "basis_step": basis_step,
        "coefficient_codes": coefficient_codes,
        "coefficient_step": coefficient_step,
    }
    missed = np.flatnonzero(np.abs(_low_rank(code) - relative) > tolerance * relative)
    # Gaps rather than positions: small numbers compress.
    return code | {
        "exact_gap": np.diff(missed, prepend=0).astype(np.uint32),
        "exact_value": relative.ravel()[missed],
    }


def forms(spectra: int, pixels: int, components: int) -> dict[str, tuple[tuple[int | None, ...], str]]:
    """Return shape (None: any length) and kind of number of each array that `encode` makes."""
    return {
        "scale": ((spectra,), "f"),
        "mean": ((pixels,), "f"),
        "basis_codes": ((components, pixels), "i"),
        "basis_step": ((components, 1), "f"),
        "coefficient_codes": ((spectra, components), "i"),
        "coefficient_step": ((1, components), "f"),
        "exact_gap": ((None,), "u"),
        "exact_value": ((None,), "f"),
    }


def decode(code: dict[str, np.ndarray]) -> np.ndarray:
    """Return the flux (N, L), float32.

    Raises:
        IndexError: if the pixels that are kept exactly lie outside (N, L), or have another number of values.
    """
    relative = _low_rank(code)
    exact = np.cumsum(code["exact_gap"].astype(np.int64))
    if len(exact) != len(code["exact_value"]) or (len(exact) and not 0 <= exact.max() < relative.size):
        raise IndexError(f"{len(exact)} positions for {len(code['exact_value'])} values of {relative.size}")
    relative.ravel()[exact] = code["exact_value"]
    flux: np.ndarray = relative * code["scale"][:, None]
    return flux.astype(np.float32)


def _low_rank(code: dict[str, np.ndarray]) -> np.ndarray:
    coefficients = code["coefficient_codes"] * code["coefficient_step"]
    basis = code["basis_codes"] * code["basis_step"]
    relative: np.ndarray = coefficients.astype(np.float32) @ basis + code["mean"]
    return relative


def _quantise(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    step = np.abs(values).max(axis=axis, keepdims=True) / INT16_MAX
    # A row of zeros has no step; any positive one decodes to zeros.
    step = np.maximum(step, np.finfo(np.float32).tiny).astype(np.float32)
    return np.round(values / step).clip(-INT16_MAX, INT16_MAX).astype(np.int16), step
