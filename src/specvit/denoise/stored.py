"""Saved denoisers: bundles like those of estimators, with a fingerprint of their answers and a card for humans."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from specvit.denoise.card import CARD, card_text
from specvit.denoise.protocol import Denoiser
from specvit.errors import DataError
from specvit.estimators.network_estimator import fingerprint_spectra
from specvit.models.bundle import Bundle, StoredBundle, save_bundle

#: Largest difference from the stored answers, in units of sigma: far above rounding on other processors.
FINGERPRINT_TOLERANCE = 2e-3
#: What the answers are called among the tensors.
FINGERPRINT = "fingerprint"


def content_of(name: str, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the digest that `Denoiser.digest` promises, of name, settings and tensors."""
    digest = hashlib.sha256(json.dumps([name, settings], sort_keys=True).encode())
    for key, value in sorted(tensors.items()):
        digest.update(f"{key} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_denoiser(
    denoiser: Denoiser,
    settings: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    about: str,
    folder: Path,
    metrics: Mapping[str, float] | None = None,
    answers: Tensor | None = None,
) -> None:
    """Write a denoiser into `folder`, all or nothing.

    Args:
        denoiser: fitted; its name is what `folder` says it holds.
        settings: entries by name, JSON-ready: what its class needs to make it again beside the tensors.
        tensors: by name.
        about: a sentence or two on what it does, for the card.
        folder: where; see `save_bundle`.
        metrics: score -> value on held-out stars, for the card; may be empty.
        answers: shape (F, L), what must come out the same after loading; None takes fixed spectra denoised. For a
            sampler these depend on the last digit of a product.

    Raises:
        DataError, RunError: see `save_bundle`.
    """
    held = dict(tensors) | {FINGERPRINT: _answers(denoiser) if answers is None else answers}
    told = dict(metrics or {})
    text = card_text(denoiser.name, denoiser.digest, denoiser.origin, about, told)
    stated = {**settings, "metrics": told}
    save_bundle(Bundle(denoiser.name, denoiser.origin, stated, held, {CARD: text}), folder)


def check_fingerprint(denoiser: Denoiser, bundle: StoredBundle, answers: Tensor | None = None) -> None:
    """Take the stored answers out of a bundle and compare; DataError if this installation gives others."""
    pixels = denoiser.origin.grid.size
    flux, sigma = fingerprint_spectra(denoiser.origin.grid)
    bundle.tensors.sizes["F"] = len(flux)
    expected = bundle.tensors.take(FINGERPRINT, "FL", torch.float32)
    found = _answers(denoiser) if answers is None else answers
    worst = float(((found - expected).abs() / sigma).max())
    # Written this way round, NaN is refused.
    if not worst <= FINGERPRINT_TOLERANCE:
        raise DataError(
            f"{bundle.where}: fixed spectra of {pixels} pixels are denoised otherwise than when it was saved (by "
            f"{worst:.1e} of sigma, allowed {FINGERPRINT_TOLERANCE}); check this installation of PyTorch"
        )


def _answers(denoiser: Denoiser) -> Tensor:
    """Return the fixed spectra denoised, shape (spectra, L), float32 on the CPU."""
    return denoiser.denoise(*fingerprint_spectra(denoiser.origin.grid)).mean.float().cpu()
