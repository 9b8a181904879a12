"""How alike two layers are: centred kernel alignment of what they make of the same spectra. Works on arrays."""

from __future__ import annotations

import numpy as np

from specvit.errors import ShapeError

Values = np.ndarray

#: Fewest spectra of which the unbiased estimate exists.
LEAST = 4


def linear_cka(first: Values, second: Values) -> float:
    """Return the linear CKA of two layers, 1 for layers equal up to rotation and scale, about 0 for unrelated ones.

    HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)) with K = XXᵀ, L = YYᵀ and the unbiased estimate of HSIC: the plain one tends to
    1 where features outnumber spectra, whatever they are.

    Args:
        first, second: X (N, F) and Y (N, G) of the same spectra.

    Returns:
        NaN if a layer is constant.

    Raises:
        ShapeError: for other spectra, or fewer than four.

    Source: Kornblith et al. 2019, ICML (arXiv:1905.00414); unbiased HSIC: Song et al. 2012, J. Mach. Learn. Res. 13,
    1393, eq. 5; its use here: Nguyen, Raghu & Kornblith 2021, ICLR (arXiv:2010.15327).
    """
    if len(first) != len(second) or len(first) < LEAST or first.ndim != 2 or second.ndim != 2:
        raise ShapeError(
            f"cka: expected the same {LEAST} or more spectra, (N, F) and (N, G); got {first.shape} and {second.shape}"
        )
    k, el = _gram(first), _gram(second)
    own = _hsic(k, k) * _hsic(el, el)
    return float(_hsic(k, el) / np.sqrt(own)) if own > 0 else float("nan")


def _gram(values: Values) -> Values:
    """Return XXᵀ about the mean, with zeros on the diagonal, brought to order one."""
    centred = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    gram = centred @ centred.T
    np.fill_diagonal(gram, 0.0)
    scaled: Values = gram / max(float(np.abs(gram).max()), 1e-300)
    return scaled


def _hsic(k: Values, el: Values) -> float:
    count = len(k)
    sums = k.sum(axis=0) @ el.sum(axis=0)
    both = float((k * el).sum()) + float(k.sum()) * float(el.sum()) / ((count - 1) * (count - 2))
    return (both - 2 * float(sums) / (count - 2)) / (count * (count - 3))
