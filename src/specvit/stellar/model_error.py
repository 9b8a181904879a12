"""What a library gets wrong, as found from stars of known parameters: a correction and an error per pixel, in a file.

The correction multiplies templates, the error enters sigma. Both are in the stars' rest frame. The library they were
found with is named in the file: for another one they mean nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from specvit.documents.opening import read_bytes
from specvit.documents.records import read_json, read_record
from specvit.errors import DataError
from specvit.library import Emulator
from specvit.runs.atomic import write_atomic
from specvit.spectra.resample import FWHM_PER_SIGMA
from specvit.stellar.label_calibration import LabelCalibration

FORM = 1
BUILTIN = "model_error.json"
MEND = "make it anew with `specvit calibrate-stars`"
#: Teff and log g at which the factor on the error is 1, and the range of that factor.
MIDDLE_TEFF, MIDDLE_LOG_G = 5000.0, 3.0
LOWEST_FACTOR, HIGHEST_FACTOR = 0.67, 1.5


@dataclass(frozen=True)
class ModelError:
    """Correction and error of a library's templates, per pixel of a logarithmic grid.

    Args:
        start, step: ln of the first wavelength (Å, vacuum, rest frame), and of the ratio of neighbours.
        resolution: λ/FWHM of the spectra it was found from, median.
        correction: flux of stars over that of templates, minus one, shape (n,).
        error: 1 σ of what is left, relative to the local flux, shape (n,).
        by_teff, by_log_g: change of ln(error) per 1000 K and per dex.
        stars: how many it was found from.
        library: digest of the emulator.
        sources: in words, where the stars are from.
        core_error: of the Ca II triplet's cores, as chosen by the stars (`stellar.cores`); None where it was not.
        systematic: label -> 1 σ that statistical errors lack, as its stars showed; {} where it was not measured.
        calibration: label -> what brings estimates to the scale of its stars; {} where there is none.
        form: of the file.
    """

    start: float
    step: float
    resolution: float
    correction: tuple[float, ...]
    error: tuple[float, ...]
    by_teff: float
    by_log_g: float
    stars: int
    library: str
    sources: str
    core_error: float | None = None
    systematic: dict[str, float] = field(default_factory=dict)
    calibration: dict[str, LabelCalibration] = field(default_factory=dict)
    form: int = FORM

    def __post_init__(self) -> None:
        if self.form != FORM:
            raise ValueError(f"form {self.form} is not known, {FORM} is")
        if len(self.correction) != len(self.error) or len(self.error) < 2:
            raise ValueError(f"{len(self.correction)} corrections and {len(self.error)} errors")
        if not (self.step > 0 and min(self.error) > 0 and max(np.abs(self.correction)) < 1):
            raise ValueError("step and errors must be positive, corrections below 1")
        if self.core_error is not None and not 0 <= self.core_error < 10:
            raise ValueError(f"core_error is {self.core_error}, expected 0 to 10")
        if min(self.systematic.values(), default=0.0) < 0:
            raise ValueError("systematic errors must not be negative")

    @property
    def log_wavelength(self) -> np.ndarray:
        """ln λ of the grid, shape (n,)."""
        return self.start + self.step * np.arange(len(self.error))

    def correction_at(self, log_wavelength: np.ndarray, resolution: float) -> np.ndarray:
        """Return the correction at ln λ (count,), evenly spaced, of templates seen at `resolution`; 0 outside."""
        found: np.ndarray = np.interp(
            log_wavelength, self.log_wavelength, self.correction, left=0.0, right=0.0
        )
        blur = resolution**-2 - self.resolution**-2
        if blur <= 0:
            return found
        sigma = np.sqrt(blur) / FWHM_PER_SIGMA / (log_wavelength[1] - log_wavelength[0])
        smoothed: np.ndarray = gaussian_filter1d(found, float(sigma))
        return smoothed

    def error_at(self, log_wavelength: np.ndarray, labels: dict[str, float]) -> np.ndarray:
        """Return the error relative to the flux at ln λ (L,), rest frame, of a star of about these labels."""
        exponent = self.by_teff * (labels.get("teff", MIDDLE_TEFF) - MIDDLE_TEFF) / 1000
        exponent += self.by_log_g * (labels.get("log_g", MIDDLE_LOG_G) - MIDDLE_LOG_G)
        factor = np.clip(np.exp(exponent), LOWEST_FACTOR, HIGHEST_FACTOR)
        error: np.ndarray = factor * np.interp(log_wavelength, self.log_wavelength, self.error)
        return error

    def save(self, path: Path) -> None:
        """Write it as JSON, atomically; RunError if that fails."""
        write_atomic(path, json.dumps(asdict(self)) + "\n")


def library_digest(emulator: Emulator) -> str:
    """Return what identifies the spectra of an emulator, however it was stored."""
    digest = hashlib.sha256()
    for tensor in (emulator.mean, emulator.basis):
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def load_model_error(path: Path) -> ModelError:
    """Return what `ModelError.save` wrote.

    Raises:
        DataError: if it cannot be read or is something else; names the file.
    """
    text = read_bytes(path, "model error", MEND)
    try:
        return read_record(ModelError, read_json(text, str(path), MEND), str(path), MEND)
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}; {MEND}") from error


@cache
def builtin_model_error() -> ModelError:
    """Return that of the built-in library."""
    return load_model_error(Path(str(resources.files("specvit.stellar") / "data" / BUILTIN)))
