"""Lists of small files, and a fitter that costs nothing, for tests of what is done with many stars."""

from typing import ClassVar

import numpy as np

import observed_files as files
from specvit.library import Emulator
from specvit.stellar import FittedSpectrum, Minimum, StellarParameters

LABELS = ("teff", "log_g", "m_h", "alpha_m", "c_m")


def write_list(folder, count):
    """Write `count` text spectra whose flux tells them apart."""
    folder.mkdir(exist_ok=True)
    paths = []
    for k in range(count):
        star = files.Star(step=20.0, seed=k)
        star.flux = star.flux * (k + 1)
        paths.append(files.ascii_three(folder / f"star{k:04d}.txt", star))
    return paths


def made_parameters(spectrum, **changes):
    """Parameters that follow from the spectrum by arithmetic."""
    teff = 4000 + float(np.median(spectrum.flux)) % 1000
    values = dict(zip(LABELS, (teff, 2.5, -0.5, 0.1, 0.0), strict=True))
    errors = dict(zip(LABELS, (50.0, 0.1, 0.05, 0.02, 0.02), strict=True))
    fields = {
        "name": spectrum.name,
        "source": spectrum.source,
        "labels": values,
        "errors": errors,
        "velocity": 12.0,
        "velocity_error": 0.5,
        "width": 1.0,
        "width_error": 0.01,
        "chi2": 1.1,
        "snr": spectrum.snr,
        "pixels": spectrum.wavelength.size,
        "covariance": np.diag(list(errors.values())) ** 2,
        "minima": (Minimum(values, 12.0, 100.0, 0.0),),
        "flags": ("ASSUMED_RESOLUTION",),
        "resolution": 2000.0,
        "medium": spectrum.medium,
        "frame": spectrum.frame,
        "form": spectrum.form,
        "assumptions": spectrum.assumptions,
        "facts": {"OBJECT": spectrum.name},
    }
    return StellarParameters(**(fields | changes))


class QuickFitter:
    """In the place of `StarFitter`: no fit at all; `seen` are the files it was given, in all its lives."""

    seen: ClassVar[list[str]] = []

    def __init__(self, emulator, settings, model_error=None):
        self.emulator, self.settings = emulator or Emulator.builtin(), settings

    def fit(self, spectra):
        QuickFitter.seen += [spectrum.source for spectrum in spectra]
        return [(made_parameters(one), fitted(one)) for one in spectra]


def fitted(spectrum, residual=0.0):
    size = spectrum.wavelength.size
    model = np.ones(size)
    flux = model * (1 + residual)
    return FittedSpectrum(spectrum, spectrum.wavelength, flux, np.full(size, 0.01), model, np.ones(size))
