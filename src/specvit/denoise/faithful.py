"""Whether a denoised spectrum is still that of its star: equivalent widths, velocities, sharpness, and what is made up.

All functions compare with the noise-free flux, which only simulated stars have; none of them fits anything.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from specvit.denoise.regions import WIDTH
from specvit.instrument import ObservedEmulator
from specvit.models.continuum import running_median
from specvit.spectra import LabelSpace, SpectraBatch, WavelengthGrid
from specvit.spectra.lines import FEATURES

#: Elements whose lines are measured -> half width of the window, Å; side bands are as wide on both sides.
ELEMENTS = {"Ca II": 12.0, "Na I": 5.0, "Mg I": 5.0, "Fe I": 3.0}

#: Scales, in pixels, between which a spectrum's structure is compared.
SCALES = {"2 to 8 pixels": (2, 8), "8 to 64 pixels": (8, 64)}

#: Depth and width (σ, pixels) of a line that is put in: a deep one of the instrument's own width.
MADE_DEPTH, MADE_WIDTH = 0.3, 2.5

#: Factor by which the lines of a star beyond the box are deeper than those of its deepest corner.
DEEPER = 1.5

#: Places for such lines, in one spectrum at once.
MADE_LINES = 8

SPEED_OF_LIGHT = 299_792.458

#: Flux and sigma (B, L) -> denoised flux (B, L).
Denoise = Callable[[Tensor, Tensor], Tensor]


def equivalent_widths(flux: Tensor, grid: WavelengthGrid) -> dict[str, Tensor]:
    """Return Å per spectrum (B, L) and element, the lines of each that lie on the grid summed, shape (B,)."""
    wavelength, step = torch.tensor(grid.wavelength), torch.tensor(grid.wavelength).diff().mean()
    found = {}
    for name, half in ELEMENTS.items():
        total = torch.zeros(len(flux), dtype=torch.float64)
        lines = [feature.wavelength for feature in FEATURES if feature.name == name]
        inside = [at for at in lines if wavelength[0] + 2 * half < at < wavelength[-1] - 2 * half]
        for at in inside:
            distance = (wavelength - at).abs()
            side = flux[:, (distance > half) & (distance <= 2 * half)].double().mean(dim=1, keepdim=True)
            total += ((1 - flux[:, distance <= half].double() / side) * step).sum(dim=1)
        if inside:
            found[name] = total
    return found


def velocity_shift(flux: Tensor, clean: Tensor, sigma: Tensor, grid: WavelengthGrid) -> Tensor:
    """Return the shift, km/s, that the difference to the noise-free flux looks like, shape (B,), all (B, L).

    Least squares, each pixel by its noise: to first order that of a template's velocity.
    """
    log = torch.tensor(grid.wavelength).log()
    slope = torch.gradient(clean.double(), spacing=(log,), dim=1)[0]
    weight = torch.where(torch.isfinite(sigma), sigma.double() ** -2, 0.0)
    difference = torch.where(weight > 0, flux.double() - clean.double(), 0.0)
    # A line moved to the red by v looks as - v / c · dx / d ln λ.
    return -SPEED_OF_LIGHT * (weight * slope * difference).sum(dim=1) / (weight * slope.square()).sum(dim=1)


def kept_structure(flux: Tensor, clean: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return by scale what of the star's structure is in the spectra, and how much there is, each (B,).

    Σ Re(F X*) over Σ |X|² is 1 where all is kept, below where it was smoothed away. F and X are Fourier transforms.
    """
    window = torch.hann_window(flux.shape[1], periodic=False, dtype=torch.float64)
    both = [
        torch.fft.rfft(window * (part.double() - part.double().mean(dim=1, keepdim=True)))
        for part in (flux, clean)
    ]
    period = flux.shape[1] / torch.arange(both[0].shape[1]).clamp(min=1)
    found = {}
    for name, (low, high) in SCALES.items():
        band = (period >= low) & (period < high)
        cross = (both[0] * both[1].conj()).real[:, band].sum(dim=1)
        found[name] = (cross, both[1].abs().square()[:, band].sum(dim=1))
    return found


@dataclass(frozen=True)
class MadeUp:
    """What a denoiser makes of spectra that no star of the library has; one value per star, (B,).

    Args:
        line_put_in: share that is left of deep narrow lines where no star has any; 1 keeps what was observed.
        line_taken_out: share of Ca II 8544 that comes back where the spectrum has none; 0 keeps what was observed.
        blend: squared error over that of the noisy spectrum, of the light of two stars in one.
        outside: the same, of a star beyond the box of labels.
    """

    line_put_in: Tensor
    line_taken_out: Tensor
    blend: Tensor
    outside: Tensor


def made_up(
    denoise: Denoise, stars: SpectraBatch, grid: WavelengthGrid, continuum: Tensor, outside: Tensor
) -> MadeUp:
    """Return what a denoiser makes of spectra unlike those of any star.

    Args:
        denoise: flux and sigma to denoised flux.
        stars: with their truth.
        grid: their pixels.
        continuum: pixels without strong lines or sky lines, (L,): where lines are put in.
        outside: noise-free spectrum of a star that no library has, (L,), see `star_outside`.
    """
    clean, plain = stars.known_truth().flux, denoise(stars.flux, stars.sigma)
    profile = _made_lines(continuum)
    changed = -MADE_DEPTH * profile * clean
    response = denoise(stars.flux + changed, stars.sigma) - plain
    put_in = (response * changed).sum(dim=1) / changed.square().sum(dim=1)
    calcium = next(f.wavelength for f in FEATURES if f.name == "Ca II" and f.wavelength > 8540)
    distance = (torch.tensor(grid.wavelength) - calcium).abs()
    inside, side = distance <= 12, (distance > 12) & (distance <= 24)
    level = clean[:, side].mean(dim=1, keepdim=True)
    without = torch.where(inside, level - clean, 0.0)
    filled = denoise(stars.flux + without, stars.sigma)
    depth = (filled[:, side].mean(dim=1, keepdim=True) - filled)[:, inside].sum(dim=1)
    back = depth / without[:, inside].sum(dim=1)
    # The other star of a pair is the next in the list, at its own brightness in the common unit.
    blended = 0.5 * (clean + clean.roll(1, dims=0))
    noise, live = stars.flux - clean, torch.isfinite(stars.sigma)

    def left(spectra: Tensor) -> Tensor:
        """Return the squared error of noise-free spectra that were given the noise of the stars, over the noisy one's."""
        found = denoise(spectra + noise, stars.sigma)
        error, least = (torch.where(live, part, 0.0).square().sum(dim=1) for part in (found - spectra, noise))
        return error / least

    foreign = outside * clean.median(dim=1, keepdim=True).values
    return MadeUp(put_in, back, left(blended), left(foreign))


def star_outside(observed: ObservedEmulator, space: LabelSpace) -> Tensor:
    """Return the noise-free spectrum (L,) of a star beyond the box of labels, relative to its median.

    Emulators know no labels beyond their box: of all its corners that with the deepest lines is taken, and these are made
    `DEEPER` times as deep about the running median, as those of a cooler star of more metals would be.
    """
    labels = torch.tensor(list(itertools.product(*zip(space.low, space.high, strict=True))))
    coverage = observed.coverage
    if coverage is not None and (there := torch.from_numpy(coverage.covers(labels))).any():
        labels = labels[there]
    with torch.no_grad():
        flux = observed(labels, check=False).float()
    flux = flux / flux.median(dim=1, keepdim=True).values
    level = running_median(flux, torch.ones_like(flux, dtype=torch.bool), WIDTH)
    deepest = int((flux / level - 1).abs().mean(dim=1).argmax())
    lines = flux[deepest] / level[deepest] - 1
    # Between the bands of molecules the flux is above the running median, and stays where it is.
    deeper = torch.where(lines < 0, DEEPER * lines, lines)
    spectrum: Tensor = (level[deepest] * (1 + deeper)).clamp(min=0)
    return spectrum


def _made_lines(continuum: Tensor) -> Tensor:
    """Return narrow lines of depth one at evenly spread pixels of the continuum, shape (L,)."""
    places = continuum.nonzero()[:, 0]
    chosen = places[(torch.arange(1, MADE_LINES + 1) * len(places)) // (MADE_LINES + 1)]
    pixel = torch.arange(len(continuum))
    distance = (pixel - chosen[:, None]) / MADE_WIDTH
    return torch.exp(-0.5 * distance.square()).amax(dim=0)
