"""Shared kernels on arrays: medians, products with fixed matrices, Cholesky factors, dropout masks, copies to a device, results that are kept.

Knows no spectra.
"""

from specvit.numerics.cholesky import steady_cholesky, triangular_inverse
from specvit.numerics.dropout import Dropout
from specvit.numerics.medians import median, row_median
from specvit.numerics.products import FixedProduct, has_fast_products
from specvit.numerics.remembered import locked, remembered
from specvit.numerics.transfer import to_device

__all__ = [
    "Dropout",
    "FixedProduct",
    "has_fast_products",
    "locked",
    "median",
    "remembered",
    "row_median",
    "steady_cholesky",
    "to_device",
    "triangular_inverse",
]
