"""`ObservedSpectrum`: one spectrum of a real star as the rest of specvit needs it, and what was assumed of it.

Owns the checks that every form goes through: finite numbers, wavelengths in order and in vacuum, errors that are
errors. Knows no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from specvit.errors import DataError
from specvit.numerics import median
from specvit.observed.noise import estimated_sigma
from specvit.spectra import air_to_vacuum

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


#: FWHM in pixels where nobody says: spectrographs are built to have 2 to 4.
PIXELS_PER_FWHM = 3.0
#: A line-spread function with its pixel is about a pixel wide at least; half of one is a mistake.
FEWEST_PER_FWHM = 0.5
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
    wavelength = np.array(raw.wavelength, dtype=np.float64, copy=True).reshape(-1)
    flux = np.array(raw.flux, dtype=np.float64, copy=True).reshape(-1)
    _check_sizes(raw, wavelength, flux, source)
    columns = {"flux": flux}
    for key in ("sigma", "ivar", "bad", "fwhm"):
        values = getattr(raw, key)
        if isinstance(values, np.ndarray):
            columns[key] = np.array(values, copy=True).reshape(-1)
    wavelength, columns = _ordered(wavelength, columns, source, notes)
    flux = columns["flux"]
    if flux.size < FEWEST_PIXELS:
        raise DataError(
            f"{source}: {flux.size} pixels are no spectrum, at least {FEWEST_PIXELS} are needed; check --columns and --hdu"
        )
    dead = ~np.isfinite(flux) | columns.get("bad", np.zeros(flux.size, bool)).astype(bool)
    if not np.isfinite(flux).any():
        raise DataError(f"{source}: the flux is NaN in every pixel; choose other columns or another HDU")
    sigma = _sigma(flux, columns, dead, source, notes, assumed, raw.no_errors)
    if "bad" in columns:
        _judge_mask(columns, notes, assumed)
    chosen = _medium(raw, medium, notes, assumed)
    if chosen == "air":
        wavelength = np.where(wavelength > 2000, air_to_vacuum(wavelength.clip(2000.5)), wavelength)
    fwhm = _fwhm(columns.get("fwhm", raw.fwhm), wavelength, resolution, notes, assumed, source)
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
        wavelength,
        np.where(alive, flux, 0.0),
        sigma,
        fwhm,
        chosen,
        raw.frame,
        raw.to_observed,
        raw.ground,
        dict(raw.facts),
        tuple(notes),
        frozenset(assumed),
    )


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


def _ordered(
    wavelength: np.ndarray, columns: dict[str, np.ndarray], source: str, notes: list[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the pixels with a wavelength, in increasing order; refuse what has no order."""
    there = np.isfinite(wavelength) & (wavelength > 0)
    if not there.any():
        raise DataError(f"{source}: no wavelength is a positive number; choose the column with `--columns`")
    if not there.all():
        notes.append(f"{int((~there).sum())} pixels without a wavelength were left out")
        wavelength, columns = wavelength[there], {key: values[there] for key, values in columns.items()}
    step = np.diff(wavelength)
    if (step > 0).all():
        return wavelength, columns
    if step.size and (step < 0).all():
        notes.append("wavelengths decrease in the file; the spectrum was reversed")
        wavelength, columns = wavelength[::-1], {key: values[::-1] for key, values in columns.items()}
    elif (step == 0).any():
        at = int(np.argmax(step == 0))
        raise DataError(
            f"{source}: wavelength {wavelength[at]:.4f} Å stands twice (pixels {at} and {at + 1}); "
            "combine or remove the duplicates"
        )
    elif (step < 0).any():
        at = int(np.argmax(step < 0))
        raise DataError(
            f"{source}: wavelengths go back at pixel {at + 1} ({wavelength[at]:.3f} then {wavelength[at + 1]:.3f} Å); "
            "sort the spectrum, or merge its orders first"
        )
    return wavelength, columns


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
    if given is None or np.isnan(columns[given].astype(np.float64)).all():
        # Some archives give a column of errors and nothing in it.
        what = no_errors if given is None else f"the file has NaN for every {given}"
        notes.append(f"{what}: sigma is estimated from the spectrum, pixel to pixel")
        assumed.add("sigma")
        return np.where(dead, np.inf, estimated_sigma(flux, dead, source))
    values = columns[given].astype(np.float64)
    good = np.isfinite(values) & (values > 0)
    if not good.any():
        what = "inverse variance" if given == "ivar" else "error"
        raise DataError(f"{source}: no pixel has a positive {what}; choose another column, or give none")
    if (negative := int((np.isfinite(values) & (values < 0)).sum())) > 0:
        notes.append(f"{negative} pixels have a negative {given} and are taken for dead")
    size = np.where(good, values, 1.0)
    return np.where(good & ~dead, size if given == "sigma" else 1 / np.sqrt(size), np.inf)


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


def _fwhm(
    found: np.ndarray | float | None,
    wavelength: np.ndarray,
    resolution: float | None,
    notes: list[str],
    assumed: set[str],
    source: str,
) -> np.ndarray:
    """Return the FWHM per pixel, Å."""
    step = np.gradient(wavelength)
    if resolution is not None:
        return _seen_by_pixels(wavelength / resolution, wavelength, step, "--resolution", source)
    if found is None:
        notes.append(
            f"the resolution is not stated: {PIXELS_PER_FWHM:g} pixels per FWHM assumed "
            f"(R = {np.median(wavelength / (PIXELS_PER_FWHM * step)):.0f}); give it with --resolution"
        )
        assumed.add("resolution")
        # A constant number of Å: a gap between two arms is no wide pixel.
        return np.full(wavelength.size, PIXELS_PER_FWHM * median(step))
    fwhm = np.broadcast_to(np.asarray(found, dtype=np.float64), wavelength.shape).copy()
    good = np.isfinite(fwhm) & (fwhm > 0)
    if not good.any():
        return _fwhm(None, wavelength, None, notes, assumed, source)
    filled: np.ndarray = np.interp(wavelength, wavelength[good], fwhm[good])
    return _seen_by_pixels(filled, wavelength, step, "the file", source)


def _seen_by_pixels(
    fwhm: np.ndarray, wavelength: np.ndarray, step: np.ndarray, whose: str, source: str
) -> np.ndarray:
    """Return the FWHM if pixels can show it: a pixel widens every line to about itself."""
    pixels = median(fwhm / step)
    if pixels < FEWEST_PER_FWHM:
        stated, most = (float(np.median(wavelength / w)) for w in (fwhm, step))
        raise DataError(
            f"{source}: {whose} says R = {stated:.0f}, a FWHM of {pixels:.2g} pixels, but pixels of "
            f"{np.median(step):.3g} Å show no more than R = {most:.0f}; give the right one with --resolution"
        )
    return fwhm
