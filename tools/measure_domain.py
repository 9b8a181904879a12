"""What trained networks make of spectra they were not made for: how many are flagged, and what the others suffer.

    python tools/measure_domain.py                           # what comes trained: a few minutes
    python tools/measure_domain.py subspace --stars 200
    python tools/measure_domain.py --bosz DOWNLOADED_FOLDER  # also real BOSZ 2024 spectra, R = 5000

The first table is of good spectra, whose labels, brightness or noise are others than the survey's, with the share of
truths inside the stated 68 %; the second of spectra with something wrong, with the median bias of log g and [M/H], in
units of the stated error, of those that are not flagged. Stars are of the test split, so no network saw them.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.pretrained import load_pretrained, pretrained_names
from specvit.simulate import Simulator, Widening, World
from specvit.spectra import SPEED_OF_LIGHT_KM_S, SpectraBatch, WavelengthGrid, air_to_vacuum, vacuum_to_air

SHARE = 0.68
LABELS = ("log_g", "m_h")
SNRS = (5.0, 10.0, 30.0, 100.0)
#: Fewest unflagged spectra that say anything of their bias.
FEW = 10

#: Changes noise-free flux (N, L); its noise and sigma stay.
Distortion = Callable[[Tensor, WavelengthGrid, np.random.Generator], Tensor]


def seen_at(emitted: np.ndarray) -> Distortion:
    """Return the distortion that shows at every pixel what belongs to the wavelength `emitted`."""

    def distort(clean: Tensor, grid: WavelengthGrid, generator: np.random.Generator) -> Tensor:
        rows = [np.interp(emitted, grid.wavelength, flux) for flux in clean.numpy()]
        return torch.from_numpy(np.stack(rows)).float()

    return distort


def moved(velocity: float) -> Distortion:
    """Return a shift of all lines, km/s."""
    return lambda clean, grid, _: seen_at(grid.wavelength / (1 + velocity / SPEED_OF_LIGHT_KM_S))(
        clean, grid, _
    )


def in_air(clean: Tensor, grid: WavelengthGrid, generator: np.random.Generator) -> Tensor:
    """Return spectra whose wavelengths are taken for vacuum, though they are in air."""
    # The pixel of air wavelength w shows the light of the longer vacuum wavelength.
    air = vacuum_to_air(grid.wavelength)
    return seen_at(np.interp(grid.wavelength, air, grid.wavelength))(clean, grid, generator)


def broadened(share: float) -> Distortion:
    """Return a line-spread function that is wider by a share, Gaussian, R = 5000 before."""

    def distort(clean: Tensor, grid: WavelengthGrid, generator: np.random.Generator) -> Tensor:
        from scipy.ndimage import gaussian_filter1d

        middle, step = grid.wavelength[grid.size // 2], np.diff(grid.wavelength)[grid.size // 2]
        width = middle / 5000 / 2.3548 * np.sqrt((1 + share) ** 2 - 1) / step
        return torch.from_numpy(gaussian_filter1d(clean.numpy(), width, axis=1, mode="nearest"))

    return distort


def tilted(share: float) -> Distortion:
    """Return a continuum that rises by a share to either side of the middle."""
    return lambda clean, grid, _: clean * (1 + share * torch.linspace(-1, 1, grid.size))


def waves(share: float) -> Distortion:
    """Return a continuum with waves of 150 Å."""

    def distort(clean: Tensor, grid: WavelengthGrid, generator: np.random.Generator) -> Tensor:
        phase = generator.uniform(0, 2 * np.pi, (len(clean), 1))
        return clean * (
            1 + share * torch.from_numpy(np.sin(2 * np.pi * grid.wavelength / 150 + phase)).float()
        )

    return distort


def black_body(temperature: float) -> Distortion:
    """Return a star without lines."""

    def distort(clean: Tensor, grid: WavelengthGrid, generator: np.random.Generator) -> Tensor:
        return _planck(grid.wavelength, temperature).expand(len(clean), -1)

    return distort


def hot_star(clean: Tensor, grid: WavelengthGrid, generator: np.random.Generator) -> Tensor:
    """Return 9000 K with the Paschen lines 12 to 17, Gaussian, of random depth: no model of a star, but like one."""
    flux = _planck(grid.wavelength, 9000.0).repeat(len(clean), 1)
    for n in range(12, 18):
        line = 1 / (1.0973731568e-3 * (1 / 9 - 1 / n**2))  # Rydberg for hydrogen, Å⁻¹, times 1
        depth = torch.from_numpy(generator.uniform(0.05, 0.35, (len(clean), 1))).float()
        width = generator.uniform(8, 20)
        flux = flux * (
            1 - depth * torch.from_numpy(np.exp(-0.5 * ((grid.wavelength - line) / width) ** 2)).float()
        )
    return flux


def galaxy(clean: Tensor, grid: WavelengthGrid, generator: np.random.Generator) -> Tensor:
    """Return a weak continuum with H-beta and [O III] at redshifts 0.5 to 0.7, lines of 200 km/s."""
    flux = torch.ones_like(clean)
    for line, strength in ((4862.7, 0.4), (4960.3, 0.4), (5008.2, 1.2)):
        centre = line * (1 + generator.uniform(0.5, 0.7, (len(clean), 1)))
        width = centre * 200 / SPEED_OF_LIGHT_KM_S
        flux = (
            flux
            + strength * torch.from_numpy(np.exp(-0.5 * ((grid.wavelength - centre) / width) ** 2)).float()
        )
    return flux


def chromosphere(clean: Tensor, grid: WavelengthGrid, generator: np.random.Generator) -> Tensor:
    """Return stars with emission in the cores of the Ca II triplet: 10 to 30 % of the continuum."""
    strength = generator.uniform(0.1, 0.3, (len(clean), 1))
    cores = sum(np.exp(-0.5 * ((grid.wavelength - line) / 0.8) ** 2) for line in (8500.4, 8544.4, 8664.5))
    return clean + torch.from_numpy(strength * cores).float()


def backwards(clean: Tensor, grid: WavelengthGrid, generator: np.random.Generator) -> Tensor:
    """Return spectra with their pixels in the wrong order."""
    return clean.flip(1)


#: What a distortion of the noise, not of the star, does: flux and sigma (N, L) -> flux.
def sky_residuals(flux: Tensor, sigma: Tensor, generator: np.random.Generator) -> Tensor:
    """Add to pixels with sky lines (sigma above twice its median) a further two sigma, of one sign per spectrum."""
    lines = sigma > 2 * sigma.median(dim=1, keepdim=True).values
    sign = torch.from_numpy(generator.choice([-1.0, 1.0], (len(flux), 1))).float()
    return flux + 2 * sign * sigma * lines


def cosmic_rays(flux: Tensor, sigma: Tensor, generator: np.random.Generator) -> Tensor:
    """Add 8 sigma to three pixels."""
    pixels = torch.from_numpy(generator.integers(0, flux.shape[1], (len(flux), 3)))
    return flux.scatter_add(1, pixels, 8 * sigma.gather(1, pixels))


def larger_noise(flux: Tensor, sigma: Tensor, generator: np.random.Generator) -> Tensor:
    """Add noise of half of sigma: errors understated by 12 %."""
    return flux + 0.5 * sigma * torch.from_numpy(generator.standard_normal(tuple(flux.shape))).float()


STARS: dict[str, Distortion] = {
    "velocity 20 km/s": moved(20.0),
    "velocity 50 km/s": moved(50.0),
    "velocity -100 km/s": moved(-100.0),
    "velocity 300 km/s": moved(300.0),
    "wavelengths in air": in_air,
    "LSF 10 % wider": broadened(0.1),
    "LSF 30 % wider": broadened(0.3),
    "continuum tilted 3 %": tilted(0.03),
    "continuum tilted 10 %": tilted(0.1),
    "continuum waves 1 %": waves(0.01),
    "continuum waves 3 %": waves(0.03),
    "Ca II cores in emission": chromosphere,
    "hot star": hot_star,
    "black body 3000 K": black_body(3000.0),
    "galaxy": galaxy,
    "reversed": backwards,
}
NOISES = {
    "sky residuals": sky_residuals,
    "cosmic rays": cosmic_rays,
    "sigma 12 % too small": larger_noise,
}
#: Worlds of good spectra.
GOOD: dict[str, tuple[World, dict[str, float]]] = {
    "reference world": (World(), {}),
    **{f"i = {mag:g}": (World(), {"mag": mag}) for mag in (17.0, 18.0, 19.0)},
    "noise level 0.1": (World(noise_level=0.1), {}),
    "noise level 2": (World(noise_level=2.0), {}),
    "dwarfs, log g 4-5": (World(bounds={"log_g": (4.0, 5.0)}), {}),
    "lattice prior": (World(prior="lattice"), {}),
}


@dataclass(frozen=True)
class Outcome:
    """What a network makes of some spectra: share flagged; of the others, by label, bias over error and coverage."""

    flagged: float
    bias: tuple[float, ...]
    held: tuple[float, ...]

    @classmethod
    def of(
        cls, model: NetworkEstimator, flux: Tensor, sigma: Tensor, labels: Tensor, names: tuple[str, ...]
    ) -> Outcome:
        """Return the outcome for spectra (N, L) with labels (N, P) of these names."""
        found = model.predict(flux, sigma)
        inside, std, quantiles = found.in_domain, found.std, found.quantiles
        assert inside is not None
        assert std is not None
        assert quantiles is not None
        low, high = quantiles.interval(SHARE)
        bias, held = [], []
        for label in LABELS:
            ours = found.names.index(label)
            truth = labels[inside, names.index(label)].double()
            # Half a dozen spectra say nothing.
            known = len(truth) >= FEW
            pull = (found.mean[inside, ours] - truth) / std[inside, ours]
            covered = (low[inside, ours] <= truth) & (truth <= high[inside, ours])
            bias.append(float(pull.median()) if known else np.nan)
            held.append(float(covered.double().mean()) if known else np.nan)
        return cls(float((~inside).double().mean()), tuple(bias), tuple(held))

    def __str__(self) -> str:
        biases = "" if np.isnan(self.bias[0]) else f" ({', '.join(f'{one:+.1f}' for one in self.bias)})"
        return f"{100 * self.flagged:.0f}{biases}"


def at_snr(snr: float, stars: int, seed: int) -> tuple[Simulator, SpectraBatch]:
    """Return stars of one S/N, with their truth."""
    widening = Widening(share=1.0, snr=(snr, snr), noise_factor=(1.0, 1.0))
    simulator = World(widening=widening).build()
    return simulator, simulator.source("test", seed, stars, truth=True).draw(0, stars)


def good(model: NetworkEstimator, stars: int, seed: int) -> Iterator[str]:
    """Yield the rows of the first table."""
    for name, (world, fixed) in GOOD.items():
        simulator = world.build()
        batch = simulator.source("test", seed, stars, truth=True).draw(0, stars)
        if fixed:
            conditions = {**batch.conditions, **{k: torch.full((stars,), v) for k, v in fixed.items()}}
            noise = torch.randn(batch.flux.shape, generator=torch.Generator().manual_seed(seed))
            batch = simulator.observe(batch.known_labels(), conditions, noise)
        names = simulator.prior.label_space.names
        snr = float(batch.snr.median())
        outcome = Outcome.of(model, batch.flux, batch.sigma, batch.known_labels(), names)
        held = " | ".join(f"{100 * share:.0f}" for share in outcome.held)
        yield f"| {name} | {snr:.0f} | {100 * outcome.flagged:.1f} | {held} |"


def wrong(model: NetworkEstimator, stars: int, seed: int) -> Iterator[str]:
    """Yield the rows of the second table."""
    samples = [at_snr(snr, stars, seed) for snr in SNRS]
    for name in track([*STARS, *NOISES], model.name, console=Console(stderr=True)):
        generator = np.random.default_rng(seed)
        cells = []
        for simulator, batch in samples:
            clean, names = batch.known_truth().flux, simulator.prior.label_space.names
            if name in STARS:
                flux = STARS[name](clean, simulator.grid, generator) + batch.flux - clean
            else:
                flux = NOISES[name](batch.flux, batch.sigma, generator)
            cells.append(f"{Outcome.of(model, flux, batch.sigma, batch.known_labels(), names)}")
        yield f"| {name} | {' | '.join(cells)} |"


def bosz(model: NetworkEstimator, folder: Path, seed: int) -> Iterator[str]:
    """Yield a row per S/N of real BOSZ 2024 spectra of R = 5000 in `folder`, as this survey would see them."""
    wavelength = np.loadtxt(folder / "bosz2024_wave_r5000.txt.gz")
    red = wavelength > 6000
    # In air, unlike BOSZ 2017.
    wavelength = air_to_vacuum(wavelength[red])
    simulator = Simulator.build()
    for path in sorted(folder.glob("bosz2024_mp_*_r5000_resam.txt.gz")):
        with gzip.open(path) as text:
            flux = np.loadtxt(text)[:, 0]
        # Of the survey's resolution: nothing is convolved once more.
        seen = np.interp(simulator.grid.wavelength, wavelength, flux[red])
        seen = torch.from_numpy(seen / np.median(seen)).float()
        cells = []
        for snr in SNRS:
            _, batch = at_snr(snr, 64, seed)
            noise = batch.flux - batch.known_truth().flux
            found = model.predict(seen + noise, batch.sigma)
            assert found.in_domain is not None
            log_g = float(found.mean[:, found.names.index("log_g")].median())
            cells.append(f"{100 * float((~found.in_domain).double().mean()):.0f} (log g {log_g:.2f})")
        yield f"| {path.name.split('_a+')[0]} | {' | '.join(cells)} |"


def _planck(wavelength: np.ndarray, temperature: float) -> Tensor:
    flux = wavelength**-5 / np.expm1(1.438776877e8 / (wavelength * temperature))
    return torch.from_numpy(flux / np.median(flux)).float()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help="names that come trained, or folders; all shipped ones")
    parser.add_argument("--stars", type=int, default=500, help="per row")
    parser.add_argument("--seed", type=int, default=44)
    parser.add_argument("--bosz", type=Path, help="folder of downloaded BOSZ 2024 spectra")
    options = parser.parse_args()
    at = "".join(f" S/N {snr:g} |" for snr in SNRS)
    rule = "|---|" + "---|" * len(SNRS)
    for name in options.networks or pretrained_names():
        model = load_pretrained(name) if name in pretrained_names() else NetworkEstimator.load(Path(name))
        print(f"\n{name}, {4 * options.stars} stars a row, seed {options.seed}\n")
        print("| good spectra | S/N | flagged, % | log g in 68 % | [M/H] in 68 % |\n|---|---|---|---|---|")
        for row in good(model, 4 * options.stars, options.seed):
            print(row, flush=True)
        print(
            f"\nFlagged, % (of the others: bias of log g and of [M/H] over the stated error), {options.stars} stars each\n"
        )
        print(f"| what is wrong |{at}\n{rule}")
        for row in wrong(model, options.stars, options.seed):
            print(row, flush=True)
        if options.bosz:
            print(f"\n| BOSZ 2024 |{at}\n{rule}")
            for row in bosz(model, options.bosz, options.seed):
                print(row, flush=True)


if __name__ == "__main__":
    main()
