"""The reference work's Fisher table, as published, for comparison beside our own. Numbers only.

BOSZ spectra, PFS red arm in medium resolution, 12 x 900 s, seeing 1.0 arcsec, zenith angle 22.5 deg, field
angle 0.325 deg; R²_max with a prior variance of 1.6667 (nodes of equal weight). The work is named in
docs/architecture.md.
Stars are the grid nodes: 1260 of solar-scaled chemistry for 3 labels, 30155 with all chemistry for 5.
Values that are placeholders in the publication (5 labels at i = 21.5) or not given are None.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRow:
    """One magnitude of the published table."""

    mag: float
    snr: float
    r2_median: float
    r2_mean: float | None
    r2_p10: float | None
    r2_p90: float
    schur_median: float
    sigma_p10: float | None = None
    sigma_median: float | None = None
    sigma_p90: float | None = None


#: Label and prior variance of the published table (nodes of equal weight).
PUBLISHED_LABEL, PUBLISHED_VARIANCE = "log_g", 1.6667

#: Number of free labels -> rows.
PUBLISHED: dict[int, tuple[PublishedRow, ...]] = {
    3: (
        PublishedRow(18.0, 87.0, 0.9994, None, 0.9946, 0.9999, 0.6641, 0.0140, 0.0328, 0.0945),
        PublishedRow(20.0, 24.0, 0.9906, None, 0.9192, 0.9983, 0.6842, 0.0530, 0.1249, 0.3669),
        PublishedRow(21.5, 7.1, 0.8914, 0.7369, 0.0480, 0.9804, 0.6906, 0.181, 0.4255, 1.260),
        PublishedRow(22.0, 4.6, 0.7396, None, 0.0, 0.9530, 0.6921, 0.280, 0.6588, 1.953),
        PublishedRow(22.5, 3.0, 0.3658, None, 0.0, 0.8854, 0.6922, 0.437, 1.028, 3.048),
        PublishedRow(23.0, 1.9, 0.0, None, 0.0, 0.7180, 0.6923, 0.686, 1.613, 4.780),
    ),
    5: (
        PublishedRow(18.0, 87.0, 0.9993, 0.9976, 0.9939, 0.9999, 0.5505),
        PublishedRow(20.0, 24.0, 0.9892, 0.9653, 0.9109, 0.9980, 0.5696),
        PublishedRow(21.5, 7.1, 0.8742, None, None, 0.9768, 0.5778),
        PublishedRow(22.0, 4.6, 0.6983, 0.5467, 0.0, 0.9445, 0.5791),
        PublishedRow(22.5, 3.0, 0.2647, 0.3570, 0.0, 0.8650, 0.5801),
        PublishedRow(23.0, 1.9, 0.0, 0.1762, 0.0, 0.6678, 0.5806),
    ),
}


def published_row(labels: int, mag: float) -> PublishedRow | None:
    """Return the published row of a magnitude, or None."""
    return next((row for row in PUBLISHED.get(labels, ()) if abs(row.mag - mag) < 1e-9), None)
