"""Shared kernels on arrays: medians, products with fixed matrices, dropout masks. Knows no spectra."""

from specvit.numerics.dropout import Dropout
from specvit.numerics.medians import row_median
from specvit.numerics.products import FixedProduct, has_fast_products

__all__ = ["Dropout", "FixedProduct", "has_fast_products", "row_median"]
