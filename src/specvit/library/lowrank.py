"""Compression of a stack of similar spectra: principal components in 16 bits plus a sparse correction.

Owns encode and decode of one (N, L) array; knows nothing of files or labels.
"""

from __future__ import annotations

import numpy as np

INT16_MAX = 32767
#: One unit of a correction code, relative flux.
CORRECTION_STEP = 1e-4


def encode(flux: np.ndarray, components: int, tolerance: float) -> dict[str, np.ndarray]:
    """Return the arrays from which `decode` rebuilds `flux` (N, L), positive, to `tolerance` relative.

    Each spectrum is divided by its mean and expanded in `components` principal components, coefficients and
    basis rounded to 16 bits with one step per component. Pixels that miss by more than `tolerance` carry
    an 8-bit correction in units of 1e-4 (16-bit where 8 do not do).
    """
    scale = flux.mean(axis=1, dtype=np.float64)
    relative = (flux / scale[:, None]).astype(np.float32)
    mean = relative.mean(axis=0)
    centred = relative - mean
    count = min(components, *flux.shape)
    _, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    basis = vectors[:, ::-1][:, :count].T.astype(np.float32) @ centred
    basis /= np.maximum(np.linalg.norm(basis, axis=1, keepdims=True), 1e-30)
    basis_codes, basis_step = _quantise(basis, axis=1)
    # Coefficients are fitted to the rounded basis, so that its rounding does not add to the error.
    rounded = basis_codes * basis_step
    coefficients = np.linalg.lstsq(rounded.T.astype(np.float64), centred.T.astype(np.float64), rcond=None)[
        0
    ].T
    coefficient_codes, coefficient_step = _quantise(coefficients, axis=0)
    code = {
        "scale": scale,
        "mean": mean,
        "basis_codes": basis_codes,
        "basis_step": basis_step,
        "coefficient_codes": coefficient_codes,
        "coefficient_step": coefficient_step,
    }
    return code | _corrections(relative, _low_rank(code), tolerance)


def decode(code: dict[str, np.ndarray]) -> np.ndarray:
    """Return the flux (N, L), float32."""
    relative = _low_rank(code)
    at = np.cumsum(code["correction_gap"].astype(np.int64))
    relative.ravel()[at] *= (1 + CORRECTION_STEP * code["correction_codes"]).astype(np.float32)
    return (relative * code["scale"][:, None]).astype(np.float32)


def _low_rank(code: dict[str, np.ndarray]) -> np.ndarray:
    coefficients = code["coefficient_codes"] * code["coefficient_step"]
    basis = code["basis_codes"] * code["basis_step"]
    return coefficients.astype(np.float32) @ basis + code["mean"]


def _quantise(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    step = np.abs(values).max(axis=axis, keepdims=True) / INT16_MAX
    step = np.maximum(step, np.finfo(np.float32).tiny).astype(np.float32)
    return np.round(values / step).clip(-INT16_MAX, INT16_MAX).astype(np.int16), step


def _corrections(relative: np.ndarray, approximate: np.ndarray, tolerance: float) -> dict[str, np.ndarray]:
    # A low-rank value near zero cannot be mended by a factor; spectra of stars stay well above it.
    miss = relative / np.maximum(approximate, 1e-6) - 1
    at = np.flatnonzero(np.abs(miss) > tolerance)
    codes = np.round(miss.ravel()[at] / CORRECTION_STEP)
    narrow = np.int8 if at.size == 0 or np.abs(codes).max() <= 127 else np.int16
    return {
        "correction_gap": np.diff(at, prepend=0).astype(np.uint32),
        "correction_codes": codes.clip(-INT16_MAX, INT16_MAX).astype(narrow),
    }
