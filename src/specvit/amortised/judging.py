"""`JudgedFitter`: the answers of the fit, with a verdict on the spectra: are they what library and spectrograph make?

A fit gives an answer to whatever it is given. `models.domain` judges spectra of networks; here it judges those of the
fit, in the rest frame that the fit found, by simulated spectra of the setup. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from specvit.amortised.draws import SetupSpectra
from specvit.amortised.networks import OURS, emulator_digest, velocities_left
from specvit.amortised.nuisances import Nuisances
from specvit.amortised.quick_velocity import QuickVelocity
from specvit.amortised.rest_frame import RestFrame
from specvit.amortised.setup import Setup, grouped
from specvit.documents.opening import read_bytes
from specvit.documents.tensors import Tensors
from specvit.errors import DataError
from specvit.library import Emulator
from specvit.models.domain import InputDomain
from specvit.models.prediction import REASONS
from specvit.observed import ObservedSpectrum
from specvit.runs.atomic import write_atomic
from specvit.runs.identity import content_digest
from specvit.runs.user_cache import user_cache
from specvit.simulate import splits
from specvit.stellar.fit import Outcome, StarFitter
from specvit.stellar.flags import FLAGS
from specvit.stellar.parameters import Refusal, StellarParameters
from specvit.stellar.pixels import FitPixels, fit_pixels
from specvit.stellar.settings import StarFitSettings
from specvit.stellar.templates import WidthTemplates

#: Raised when the same inputs make other domains.
DOMAINS = 1
#: Simulated spectra by which a setup's are judged.
COUNTED = 1_536
#: What a fit minds: pixels that are missing are not among it.
MINDED = torch.tensor([reason != "too many dead pixels" for reason in REASONS])
#: Fewest pixels that are judged.
FEWEST_PIXELS = 128
MEND = "delete it, it is made again"


class DomainStore:
    """Domains by setup, of one library and with the same settings of the fit.

    Args:
        emulator: of the library.
        settings: of the fit.
        folder: where they are kept; None takes the user's cache.
    """

    def __init__(self, emulator: Emulator, settings: StarFitSettings, folder: Path | None = None) -> None:
        self.emulator, self.settings = emulator, settings
        self.folder = user_cache("domains") if folder is None else folder
        self._emulator_digest = emulator_digest(emulator)
        self._found: dict[Setup, tuple[RestFrame, InputDomain]] = {}

    def domain(self, setup: Setup) -> tuple[RestFrame, InputDomain]:
        """Return the rest frame of a setup and its domain: the one that is kept, or one that is made now and kept.

        Raises:
            DataError: if the one that is kept is damaged; names the file.
            RunError: if it cannot be written.
        """
        if setup not in self._found:
            frame, path = RestFrame(setup, self.settings), self._path(setup)
            if not path.is_file():
                made = self._made(frame).to_tensors()
                write_atomic(path, save({name: value.contiguous() for name, value in made.items()}))
            tensors = Tensors.parse(read_bytes(path, "domain", MEND), str(path), MEND)
            self._found[setup] = frame, InputDomain.read(tensors, frame.grid)
        return self._found[setup]

    def _path(self, setup: Setup) -> Path:
        inputs = {
            "domains": DOMAINS,
            "setup": setup.to_dict(),
            "emulator": self._emulator_digest,
            "settings": {name: getattr(self.settings, name) for name in OURS},
        }
        return self.folder / f"{content_digest(inputs)}.safetensors"

    def _made(self, frame: RestFrame) -> InputDomain:
        templates = WidthTemplates(self.emulator, frame.setup.resolution)
        source = SetupSpectra(frame, templates, Nuisances(), count=COUNTED)
        source.left = velocities_left(source, QuickVelocity(frame, templates, self.settings.velocity))
        domain = InputDomain.fit(source, source.other(splits.VALIDATION, COUNTED))
        assert domain is not None
        return domain


class JudgedFitter:
    """Fits stars and flags those whose spectra are out of the domain.

    Args:
        fitter: of the stars.
        store: gives the domains.
    """

    def __init__(self, fitter: StarFitter, store: DomainStore) -> None:
        self.fitter, self.store = fitter, store
        self.emulator, self.settings = fitter.emulator, fitter.settings
        self._setups: list[Setup] = []

    def fit(self, spectra: Sequence[ObservedSpectrum]) -> list[Outcome]:
        """Return what is found for each spectrum, in their order: parameters and fitted pixels, or a refusal."""
        return self.judged(self.fitter.fit(spectra))

    def judged(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Return what was found, with the flag where a spectrum is out of the domain."""
        outcomes = list(outcomes)
        rows, stars, pixels = [], [], []
        grid = self.emulator.grid
        for row, outcome in enumerate(outcomes):
            if isinstance(outcome, Refusal):
                continue
            try:
                one = fit_pixels(outcome[1].spectrum, self.settings, grid.start, grid.stop)
            except DataError:
                # A spectrum without the pixels that were clipped, of which too few are left to judge.
                continue
            if one.wavelength.size >= FEWEST_PIXELS:
                rows.append(row)
                stars.append(outcome)
                pixels.append(one)
        for setup, members in grouped(pixels, self.settings, self._setups):
            reasons = self._reasons(setup, [pixels[k] for k in members], [stars[k][0] for k in members])
            for k, reason in zip(members, reasons, strict=True):
                if reason:
                    outcomes[rows[k]] = (flagged(stars[k][0], reason), stars[k][1])
        return outcomes

    def _reasons(self, setup: Setup, pixels: list[FitPixels], stars: list[StellarParameters]) -> list[str]:
        """Return why each spectrum is out of the domain; "" if it is inside."""
        frame, domain = self.store.domain(setup)
        found = []
        for one, star in zip(pixels, stars, strict=True):
            seen = frame.see(
                np.log(one.wavelength), one.flux[None], one.sigma[None], np.array([star.velocity])
            )
            strange = domain.judge(seen.flux, seen.sigma).strangeness
            assert strange is not None
            found.append(reason_of(strange[0].where(MINDED, 0.0)))
        return found


def reason_of(strangeness: torch.Tensor) -> str:
    """Return in a sentence why a spectrum of this strangeness (R,) is out of the domain; "" if it is inside."""
    order = strangeness.argsort(descending=True)[:2].tolist()
    reasons = [REASONS[k] for k in order if not bool(strangeness[k] <= 1)]
    return f"unlike simulated spectra: {'; '.join(reasons)}" if reasons else ""


def flagged(star: StellarParameters, reason: str) -> StellarParameters:
    """Return the answer with the flag and the reason."""
    flags = tuple(name for name in FLAGS if name in {*star.flags, "OUT_OF_DOMAIN"})
    return replace(star, flags=flags, assumptions=(*star.assumptions, reason))
