"""`ObservedSpectrum`: one spectrum of a real star as the rest of specvit needs it, and what was assumed of it.

Owns the checks that every form goes through: finite numbers, wavelengths in order and in vacuum, errors that are
errors. Knows no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, ParamSpec, TypeVar

import numpy as np

from specvit.errors import DataError
from specvit.observed.noise import estimated_sigma
from specvit.observed.pixels import order_of, pixels_of

P = ParamSpec("P")
R = TypeVar("R")

Medium = Literal["air", "vacuum"]
#: In whose rest frame the wavelengths are: the telescope's, the Sun's (or the barycentre's), or the star's own.
Frame = Literal["observed", "barycentric", "rest"]

#: A spectrum has more than this many pixels with a flux and an error, or it is none.
FEWEST_PIXELS = 20
#: Far more pixels than any spectrograph gives: an image or a cube was taken for a spectrum.
MOST_PIXELS = 20_000_000


@dataclass(frozen=True)
class ObservedSpectrum:
    """One spectrum of one star.

    Args:
        name: of the star, as the file has it.
        source: the file, and the row or target in it.
        form: name of the form it was read as, see `form_names`.
        wavelength: pixel centres, shape (L,), Å in vacuum, strictly increasing, float64.
        flux: shape (L,), float64, in any unit of flux per wavelength; 0 where dead.
        sigma: 1 σ of `flux`, shape (L,); `inf` marks a dead pixel.
        fwhm: full width at half maximum of the line-spread function, pixel included, shape (L,), Å.
        medium: what the file's own wavelengths are in; `wavelength` is in vacuum whatever it was.
        frame: in whose rest frame the wavelengths are.
        to_observed: km/s; λ of the telescope's frame = `wavelength` · (1 + to_observed / c). 0 where unknown.
        ground: whether the light came through the atmosphere.
        facts: what the header says of star and observation.
        assumptions: what was not in the file and was taken for granted, one sentence each.
        assumed: those of "sigma", "resolution", "medium", "unit" and "mask" that are guesses, not the file's or the
            user's; a mask is one if it leaves out more than half of the pixels.
        known: label -> (mean, 1 σ), what is known of this star from elsewhere.
    """

    name: str
    source: str
    form: str
    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray
    fwhm: np.ndarray
    medium: Medium
    frame: Frame
    to_observed: float = 0.0
    ground: bool = True
    facts: dict[str, str | float] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    assumed: frozenset[str] = frozenset()
    known: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def usable(self) -> np.ndarray:
        """Which pixels have a flux and an error, shape (L,), bool."""
        usable: np.ndarray = np.isfinite(self.sigma)
        return usable

    @property
    def resolution(self) -> float:
        """λ/FWHM at the middle of the spectrum."""
        middle = self.wavelength.size // 2
        return float(self.wavelength[middle] / self.fwhm[middle])

    @property
    def snr(self) -> float:
        """Median of flux / sigma over the usable pixels, 0 if there are none."""
        usable = self.usable
        return float(np.median(self.flux[usable] / self.sigma[usable])) if usable.any() else 0.0


@dataclass
class RawSpectrum:
    """What a reader found, before it is checked; `None` is what the file does not say.

    Args:
        name, form, frame, to_observed, ground, facts: see `ObservedSpectrum`.
        wavelength: shape (L,), Å in `medium`.
        flux: shape (L,).
        sigma, ivar: shape (L,): one of them, or neither.
        bad: pixels that the file calls bad, shape (L,), bool.
        fwhm: shape (L,) or one number, Å.
        medium: None if the file does not say.
        medium_default: what is assumed then, and why.
        notes: assumptions made so far.
        fwhm_notes: those about the resolution, which say nothing where the user gave it.
        no_errors: how to say that neither `sigma` nor `ivar` was found.
        number: of the target in a file of several, from 0.
        alias: another name that selects it.
    """

    name: str
    form: str
    wavelength: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray | None = None
    ivar: np.ndarray | None = None
    bad: np.ndarray | None = None
    fwhm: np.ndarray | float | None = None
    medium: Medium | None = None
    medium_default: tuple[Medium, str] = ("air", "optical spectra from the ground usually are")
    frame: Frame = "observed"
    to_observed: float = 0.0
    ground: bool = True
    facts: dict[str, str | float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    assumed: set[str] = field(default_factory=set)
    fwhm_notes: list[str] = field(default_factory=list)
    no_errors: str = "the file has no errors"
    number: int = 0
    alias: str = ""


#: Shares of the pixels that a mask leaves out beyond which that is said, and beyond which it is called a guess.
MASK_SAID, MASK_DOUBTED = 0.2, 0.5


def checked_spectrum(
    raw: RawSpectrum, source: str, medium: Medium | None = None, resolution: float | None = None
) -> ObservedSpectrum:
    """Return the spectrum of what a reader found.

    Args:
        raw: what was found.
        source: for messages: the file, and the target in it.
        medium: the user's word, which counts more than the file's.
        resolution: λ/FWHM, the user's word.

    Raises:
        DataError: for arrays that are no spectrum; names the file, the pixel and the mend.
    """
    notes, assumed = list(raw.notes), set(raw.assumed)
    if resolution is None:
        notes += raw.fwhm_notes
    wavelength = np.asarray(raw.wavelength, dtype=np.float64).reshape(-1)
    flux = np.asarray(raw.flux, dtype=np.float64).reshape(-1)
    _check_sizes(raw, wavelength, flux, source)
    columns = {"flux": flux}
    for key in ("sigma", "ivar", "bad", "fwhm"):
        values = getattr(raw, key)
        if isinstance(values, np.ndarray):
            columns[key] = np.asarray(values).reshape(-1)
    order = _told(source, order_of, wavelength)
    notes += order.notes
    columns = {key: order.of(values) for key, values in columns.items()}
    flux = columns["flux"]
    if flux.size < FEWEST_PIXELS:
        raise DataError(
            f"{source}: {flux.size} pixels are no spectrum, at least {FEWEST_PIXELS} are needed; check --columns and --hdu"
        )
    dead = ~np.isfinite(flux)
    if dead.all():
        raise DataError(f"{source}: the flux is NaN in every pixel; choose other columns or another HDU")
    if "bad" in columns:
        dead |= columns["bad"].astype(bool)
    sigma = _sigma(flux, columns, dead, source, notes, assumed, raw.no_errors)
    if "bad" in columns:
        _judge_mask(columns, notes, assumed)
    chosen = _medium(raw, medium, notes, assumed)
    pixels = _told(
        source, pixels_of, order.wavelength, chosen == "air", columns.get("fwhm", raw.fwhm), resolution
    )
    notes += pixels.notes
    assumed |= pixels.assumed
    alive = np.isfinite(sigma)
    if alive.sum() < FEWEST_PIXELS:
        raise DataError(
            f"{source}: only {int(alive.sum())} of {flux.size} pixels have a finite flux, a positive error and no "
            f"bad flag, at least {FEWEST_PIXELS} are needed; check columns and masks"
        )
    return ObservedSpectrum(
        raw.name,
        source,
        raw.form,
        # Its own, whoever else has the same pixels.
        pixels.wavelength.copy(),
        np.where(alive, flux, 0.0),
        sigma,
        pixels.fwhm.copy(),
        chosen,
        raw.frame,
        raw.to_observed,
        raw.ground,
        dict(raw.facts),
        tuple(notes),
        frozenset(assumed),
    )


def _told(source: str, make: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Return what `make` makes; what it refuses is told of `source`."""
    try:
        return make(*arguments, **named)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def _check_sizes(raw: RawSpectrum, wavelength: np.ndarray, flux: np.ndarray, source: str) -> None:
    if flux.size == 0:
        raise DataError(f"{source}: the spectrum is empty")
    if flux.size > MOST_PIXELS:
        raise DataError(
            f"{source}: {flux.size:,} pixels are no one-dimensional spectrum; give extracted spectra"
        )
    for key in ("sigma", "ivar", "bad", "fwhm"):
        values = getattr(raw, key)
        if isinstance(values, np.ndarray) and values.size != flux.size:
            raise DataError(f"{source}: {key} has {values.size} pixels, the flux {flux.size}")
    if wavelength.size != flux.size:
        raise DataError(f"{source}: {wavelength.size} wavelengths for {flux.size} fluxes")


def _sigma(
    flux: np.ndarray,
    columns: dict[str, np.ndarray],
    dead: np.ndarray,
    source: str,
    notes: list[str],
    assumed: set[str],
    no_errors: str,
) -> np.ndarray:
    """Return the errors, `inf` where a pixel is dead."""
    given = next((key for key in ("sigma", "ivar") if key in columns), None)
    values = np.full(flux.size, np.nan) if given is None else columns[given].astype(np.float64)
    good = np.isfinite(values) & (values > 0)
    if not good.any() and np.isnan(values).all():
        # Some archives give a column of errors and nothing in it.
        what = no_errors if given is None else f"the file has NaN for every {given}"
        notes.append(f"{what}: sigma is estimated from the spectrum, pixel to pixel")
        assumed.add("sigma")
        return np.where(dead, np.inf, estimated_sigma(flux, dead, source))
    alive = good & ~dead
    if alive.all():
        # Most often; what follows makes the same of it, in twice the time.
        return values if given == "sigma" else 1 / np.sqrt(values)
    if not good.any():
        what = "inverse variance" if given == "ivar" else "error"
        raise DataError(f"{source}: no pixel has a positive {what}; choose another column, or give none")
    if (negative := int((np.isfinite(values) & (values < 0)).sum())) > 0:
        notes.append(f"{negative} pixels have a negative {given} and are taken for dead")
    size = np.where(good, values, 1.0)
    return np.where(alive, size if given == "sigma" else 1 / np.sqrt(size), np.inf)


def _judge_mask(columns: dict[str, np.ndarray], notes: list[str], assumed: set[str]) -> None:
    """Say if a mask leaves out many of the pixels that have a flux and an error."""
    error = next((columns[key] for key in ("sigma", "ivar") if key in columns), None)
    there = np.isfinite(columns["flux"])
    if error is not None and not np.isnan(error.astype(np.float64)).all():
        there &= np.isfinite(error) & (error > 0)
    share = float(columns["bad"].astype(bool)[there].mean()) if there.any() else 0.0
    if share > MASK_SAID:
        notes.append(
            f"the mask leaves out {100 * share:.0f} % of the pixels that have a flux and an error; if it marks good "
            "ones, give another with --columns mask=NAME, or the spectrum without it"
        )
    if share > MASK_DOUBTED:
        assumed.add("mask")


def _medium(raw: RawSpectrum, wanted: Medium | None, notes: list[str], assumed: set[str]) -> Medium:
    if wanted is not None:
        if raw.medium is not None and raw.medium != wanted:
            notes.append(
                f"the file says its wavelengths are in {raw.medium}; taken to be in {wanted}, as asked"
            )
        return wanted
    if raw.medium is not None:
        return raw.medium
    medium, reason = raw.medium_default
    notes.append(f"wavelengths taken to be in {medium} ({reason}); say otherwise with --medium")
    assumed.add("medium")
    return medium
