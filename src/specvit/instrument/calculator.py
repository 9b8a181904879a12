"""The text outputs of the Subaru PFS Exposure Time Calculator, as the tables of an instrument file.

Columns as its README lists them (github.com/Subaru-PFS/spt_ExposureTimeCalculator, "Descriptions on the output file"):
noise files have arm, pixel, wavelength, variance without the object, sky; S/N files have arm, pixel, wavelength, S/N,
signal, variance without and with the object, input AB magnitude, electrons per flux density, sampling factor, sky.
Wavelengths are vacuum, nm; counts are per pixel and exposure.
"""

from __future__ import annotations

import io
import re

import numpy as np

from specvit.errors import DataError

_NAME = re.compile(r"\.(snc|noise)(\.[^/\\]+)?$")
NOISE_COLUMNS, SNC_COLUMNS = 5, 11
ANGSTROM_PER_NM = 10.0
#: erg/s/cm²/Hz of AB magnitude 0.
FLUX_AB0 = 3.631e-20


def is_output(name: str) -> bool:
    """Return whether a file has the name of such an output, e.g. ref.snc.dat or dark.noise."""
    return _NAME.search(name) is not None


def parse_output(content: bytes, name: str, arm: int | None) -> dict[str, np.ndarray]:
    """Return the tables of one arm of an output.

    `wavelength` (Å), `variance` (e², without the star) and `sky` (e) of both kinds; of S/N files also `electrons`
    (of a star of AB magnitude 0), `snr` and `mag` (as it was computed).

    Args:
        content: of the file.
        name: of the file, for messages.
        arm: number of the arm; None where the file has only one.

    Raises:
        DataError: if it is not such a table, or has not that arm.
    """
    if not content.strip():
        raise DataError(f"{name}: holds nothing; give an output of the PFS calculator")
    try:
        rows = np.loadtxt(io.BytesIO(content), ndmin=2, comments="#")
    except (ValueError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(
            f"{name}: not a table of numbers ({reason}); give an output of the PFS calculator"
        ) from error
    if rows.shape[1] not in (NOISE_COLUMNS, SNC_COLUMNS):
        raise DataError(
            f"{name}: has {rows.shape[1]} columns, expected {NOISE_COLUMNS} (noise) or {SNC_COLUMNS} (S/N): give an "
            "output of the PFS calculator"
        )
    arms = sorted({int(number) for number in rows[:, 0]})
    if arm is None and len(arms) > 1:
        raise DataError(
            f"{name}: has arms {', '.join(map(str, arms))}; choose one, set tables.arm = {arms[-1]}"
        )
    if arm is not None:
        if arm not in arms:
            raise DataError(
                f"{name}: has arms {', '.join(map(str, arms))}, not {arm}; set tables.arm = {arms[-1]}"
            )
        rows = rows[rows[:, 0] == arm]
    column = dict(enumerate(rows.T, start=1))
    tables = {"wavelength": column[3] * ANGSTROM_PER_NM}
    if rows.shape[1] == NOISE_COLUMNS:
        return {**tables, "variance": column[4], "sky": column[5]}
    return {
        **tables,
        "snr": column[4],
        "variance": column[6],
        "mag": column[8],
        "electrons": column[9] * FLUX_AB0,
        "sky": column[11],
    }
