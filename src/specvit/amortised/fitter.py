"""`AmortisedFitter`: networks where they can be trusted, the fit where they cannot.

Answers like `StarFitter`, star by star and in order. A spectrum gets the network's answer if it is like the spectra of its
training, and if on a sample of spectra of the same setup network and fit agree; else the fit's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice

import numpy as np

from specvit.amortised.agreement import CHECKED, FEWEST, Agreement, compared
from specvit.amortised.answers import Answered, answered, cut_off, parameters
from specvit.amortised.judging import MINDED, flagged, reason_of
from specvit.amortised.models import modelled
from specvit.amortised.networks import NetworkStore, SetupNetwork
from specvit.amortised.setup import Setup, grouped
from specvit.errors import ConfigError, DataError
from specvit.models.inputs import Progress
from specvit.observed import ObservedSpectrum
from specvit.stellar.fit import Outcome, StarFitter
from specvit.stellar.parameters import Refusal, StellarParameters
from specvit.stellar.pixels import FitPixels, fit_pixels

#: Spectra answered together.
POOL = 512


def _nobody(text: str) -> None:
    """Tell nobody."""


class AmortisedFitter:
    """Answers for spectra of any instrument, with a network per instrument; what is `known` of a star is not used.

    Args:
        fitter: answers where a network may not; has library and settings.
        store: gives the networks.
        say: told in a line what is about to be trained, and how network and fit agree.
        progress: told how far a training is.
        agreements: how network and fit agree, by setup, found before by `check`; other setups are left to the fit.
            None: it is found out on the way.

    Raises:
        ConfigError: if the settings have priors of the user, which a network does not know.
    """

    def __init__(
        self,
        fitter: StarFitter,
        store: NetworkStore,
        say: Callable[[str], None] = _nobody,
        progress: Progress | None = None,
        agreements: Mapping[Setup, Agreement] | None = None,
    ) -> None:
        if fitter.settings.priors:
            raise ConfigError("--prior: a network knows no priors of yours; take --method template")
        self.fitter, self.store, self.say, self.progress = fitter, store, say, progress
        self.emulator, self.settings = fitter.emulator, fitter.settings
        #: What was found of the setups so far.
        self.agreements: dict[Setup, Agreement] = dict(agreements or {})
        self._settled = agreements is not None
        self._networks: dict[Setup, SetupNetwork] = {}
        self._setups = list(self.agreements)

    def fit(self, spectra: Sequence[ObservedSpectrum]) -> list[Outcome]:
        """Return what is found for each spectrum, in their order: parameters and pixels, or a refusal."""
        return list(self.iter_fit(spectra))

    def iter_fit(self, spectra: Iterable[ObservedSpectrum]) -> Iterator[Outcome]:
        """Yield what is found for each spectrum, in their order; some hundreds are held at once."""
        left = iter(spectra)
        while pool := list(islice(left, POOL)):
            yield from self._pool(pool)

    def check(self, spectra: Iterable[ObservedSpectrum]) -> dict[Setup, Agreement]:
        """Return how network and fit agree on spectra that stand for all that are to come; networks are trained.

        What is found holds for what is fitted afterwards.
        """
        pixels = []
        for spectrum in spectra:
            with suppress(DataError):
                pixels.append(self._pixels(spectrum))
        for setup, rows in grouped(pixels, self.settings, self._setups):
            self._agreement(setup, [pixels[row] for row in rows])
        return dict(self.agreements)

    def _pixels(self, spectrum: ObservedSpectrum) -> FitPixels:
        return fit_pixels(spectrum, self.settings, self.emulator.grid.start, self.emulator.grid.stop)

    def _pool(self, spectra: list[ObservedSpectrum]) -> list[Outcome]:
        found: dict[int, Outcome] = {}
        numbers, pixels = [], []
        for number, spectrum in enumerate(spectra):
            try:
                pixels.append(self._pixels(spectrum))
                numbers.append(number)
            except DataError as error:
                found[number] = Refusal(spectrum.name, spectrum.source, str(error))
        for setup, rows in grouped(pixels, self.settings, self._setups):
            outcomes = self._setup(setup, [pixels[row] for row in rows])
            found |= {numbers[row]: outcome for row, outcome in zip(rows, outcomes, strict=True)}
        return [found[number] for number in range(len(spectra))]

    def _setup(self, setup: Setup, pixels: list[FitPixels]) -> list[Outcome]:
        if self._settled and setup not in self.agreements:
            return self.fitter.fit([one.spectrum for one in pixels])
        said, stars, agreement = self._agreement(setup, pixels)
        trusted = set(np.flatnonzero(said.in_domain).tolist()) if agreement.holds else set()
        network = self._network(setup)
        ours = sorted(trusted)
        spectra = modelled(
            [stars[row] for row in ours], [pixels[row] for row in ours], network.templates, self.settings
        )
        found: dict[int, Outcome] = {row: (stars[row], one) for row, one in zip(ours, spectra, strict=True)}
        others = [row for row in range(len(pixels)) if row not in trusted]
        fits = self.fitter.fit([pixels[row].spectrum for row in others])
        found |= {row: _judged(fit, said, row) for row, fit in zip(others, fits, strict=True)}
        return [found[row] for row in range(len(pixels))]

    def _agreement(
        self, setup: Setup, pixels: list[FitPixels]
    ) -> tuple[Answered, list[StellarParameters], Agreement]:
        """Return what the network says of spectra of a setup, and how it agrees with the fit."""
        network = self._network(setup)
        said = answered(network, pixels)
        largest = self.settings.velocity
        cut = cut_off(network, said.prediction)
        stars = [
            parameters(network, said, row, one, largest, bool(cut[row]), self.fitter.systematic)
            for row, one in enumerate(pixels)
        ]
        agreement = self.agreements.get(setup)
        if agreement is None or (agreement.checked < FEWEST and not self._settled):
            inside = np.flatnonzero(said.in_domain)
            agreement = self._checked([stars[row] for row in inside], [pixels[row] for row in inside])
            self.agreements[setup] = agreement
            self.say(f"{setup.describe()}: {agreement.describe()}")
        return said, stars, agreement

    def _network(self, setup: Setup) -> SetupNetwork:
        if setup not in self._networks:
            if not self.store.has(setup):
                minutes = self.store.minutes(setup)
                self.say(
                    f"{setup.describe()}: a network is trained for these spectra, about {minutes:.0f} minutes on two "
                    "cores, and kept; --updates makes it longer or shorter"
                )
            self._networks[setup] = self.store.network(setup, self.progress)
        return self._networks[setup]

    def _checked(self, stars: list[StellarParameters], pixels: list[FitPixels]) -> Agreement:
        """Return how network and fit agree on some of the spectra, spread evenly over them."""
        picked = np.unique(np.linspace(0, len(stars) - 1, min(CHECKED, len(stars))).astype(int))
        fits = self.fitter.fit([pixels[row].spectrum for row in picked])
        pairs = [
            (stars[row], fit[0]) for row, fit in zip(picked, fits, strict=True) if isinstance(fit, tuple)
        ]
        return compared([star for star, _ in pairs], [fit for _, fit in pairs])


def _judged(outcome: Outcome, said: Answered, row: int) -> Outcome:
    """Return the fit's answer with the verdict on its spectrum."""
    strange = said.prediction.diagnostics.strangeness
    assert strange is not None
    reason = reason_of(strange[row].where(MINDED, 0.0))
    if isinstance(outcome, Refusal) or not reason:
        return outcome
    return flagged(outcome[0], reason), outcome[1]
