"""Simulated spectra of one small setup as observed ones, and a fit that knows the truth, for tests of networks."""

import itertools

import numpy as np

from specvit.amortised import NetworkStore, Setup, TrainingPlan
from specvit.library import Emulator
from specvit.observed.spectrum import RawSpectrum, checked_spectrum
from specvit.stellar import FittedSpectrum, StarFitSettings, StellarParameters
from specvit.stellar.systematic import SYSTEMATIC

PLAN = TrainingPlan(updates=160, options={"batch": 64, "validations": 4, "width": 64, "components": 24})
#: In the round numbers that are found again.
SETUP = Setup(8350.0, 8850.0, (1.1941, 1.1941), (3.3864, 3.3864), (), False)


def spectra(count, emission=0.0, first=0):
    """Simulated stars as observed spectra, their labels in the facts."""
    settings = StarFitSettings()
    store = NetworkStore(Emulator.builtin(), settings, PLAN)
    source = store.parts(SETUP)[0].other("test", 10**6)
    found = []
    for block in itertools.count(first):
        if len(found) >= count:
            break
        raw = source.raw(source.generator(block))
        pixels = np.exp(raw.log_pixels)
        for row in range(64):
            flux = raw.flux[row] + emission * np.exp(-0.5 * ((pixels - 8600) / 3) ** 2)
            one = RawSpectrum(f"star {row}", "test", pixels, flux.astype(float), raw.sigma[row].astype(float))
            one.medium, one.fwhm, one.ground = "vacuum", SETUP.fwhm_at(pixels), False
            one.facts = {f"true {k}": float(v) for k, v in enumerate(raw.labels[row])}
            one.facts["true rv"] = float(raw.velocity[row])
            if raw.snr[row] > 30:
                found.append(checked_spectrum(one, f"{block}-{row}.txt"))
    return found[:count]


class KnowingFitter:
    """Stands for the fit: says what is true, or what is `off` by some σ of it."""

    def __init__(self, off=0.0, settings=None, surer=1.0):
        self.emulator, self.settings, self.off = Emulator.builtin(), settings or StarFitSettings(), off
        self.asked, self.systematic = 0, dict(SYSTEMATIC)
        # About as little as a network knows that was trained for seconds.
        self.errors = [error / surer for error in (300.0, 0.7, 0.5, 0.1, 0.1)]

    def fit(self, spectra):
        self.asked += len(spectra)
        return [self._one(spectrum) for spectrum in spectra]

    def _one(self, spectrum):
        names = self.emulator.label_space.names
        errors = dict(zip(names, self.errors, strict=True))
        labels = {n: spectrum.facts[f"true {k}"] + self.off * errors[n] for k, n in enumerate(names)}
        rest = {
            "velocity": spectrum.facts["true rv"],
            "velocity_error": 1.0,
            "width": 1.0,
            "width_error": 0.1,
            "chi2": 1.0,
        }
        rest |= {"snr": 100.0, "pixels": 400, "covariance": np.eye(5), "minima": (), "flags": ()}
        rest |= {"resolution": 2500.0, "medium": "vacuum", "frame": "observed", "form": "test"}
        star = StellarParameters(spectrum.name, spectrum.source, labels, errors, **rest)
        nothing = np.zeros(0)
        return star, FittedSpectrum(spectrum, nothing, nothing, nothing, nothing, nothing)
