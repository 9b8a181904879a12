"""Speed of the simulator against a straightforward per-spectrum pipeline, in the same run on one core.

The alternative does what the reference pipeline does, with NumPy and SciPy, one spectrum at a time: a cubic
spline through the library models of one grid line (log g), scaling to the i magnitude, convolution with a
Gaussian LSF, flux-conserving resampling to the pixels, the exposure time calculator's noise, one noise draw,
division by the median. Its grid line is held in memory, which the reference (reading a 50000-resolution grid
from disk) does not have, so the ratio is a lower limit for it.

    python benchmarks/simulate.py [--spectra 4096] [--instrument pfs_mr_reference]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from specvit.instrument import Instrument
from specvit.library import Emulator
from specvit.simulate import LatticePrior, Simulator
from specvit.spectra import LOW_T_BOX, SPEED_OF_LIGHT_KM_S

LIBRARY_STEP_KM_S = 6.0


class PerSpectrumPipeline:
    """The clear version: one spectrum per call, float64, no batching."""

    def __init__(self, instrument: Instrument, emulator: Emulator) -> None:
        prior = LatticePrior.reference(LOW_T_BOX)
        self.log_g = prior.nodes("log_g")
        line = torch.tensor([[5000.0, g, -0.5, 0.0, 0.0] for g in self.log_g])
        self.models = emulator(line).double().numpy()
        self.wavelength = emulator.grid.wavelength
        self.instrument = instrument
        self.edges = instrument.grid.edges
        middle = instrument.grid.wavelength[instrument.grid.size // 2]
        fwhm_km_s = SPEED_OF_LIGHT_KM_S * np.sqrt((1.35 / middle) ** 2 - (1 / emulator.resolution) ** 2)
        self.lsf_pixels = fwhm_km_s / 2.3548 / LIBRARY_STEP_KM_S

    def __call__(self, generator: np.random.Generator) -> np.ndarray:
        """Return one normalised noisy spectrum, shape (L,)."""
        log_g = generator.uniform(self.log_g[0], self.log_g[-1])
        flux = CubicSpline(self.log_g, self.models, axis=0)(log_g)
        flux = gaussian_filter1d(flux, self.lsf_pixels)
        cumulative = np.concatenate([[0], np.cumsum(0.5 * (flux[1:] + flux[:-1]) * np.diff(self.wavelength))])
        flux = np.diff(CubicSpline(self.wavelength, cumulative)(self.edges)) / np.diff(self.edges)
        flux /= np.median(flux)
        seed = torch.Generator().manual_seed(int(generator.integers(2**31)))
        conditions = self.instrument.sample_conditions(1, seed)
        sigma = self.instrument.noise_sigma(torch.from_numpy(flux)[None], conditions)[0].numpy()
        noisy = flux + sigma * generator.standard_normal(flux.size)
        return noisy / np.median(noisy)


def seconds_per_spectrum(job: Callable[[], int], repeats: int) -> float:
    """Return the median over repeats of seconds per spectrum; `job` returns how many it made."""
    job()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        made = job()
        times.append((time.perf_counter() - began) / made)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--spectra", type=int, default=4096, help="spectra per repeat of the batched simulator"
    )
    parser.add_argument("--per-spectrum", type=int, default=40, help="spectra per repeat of the alternative")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--instrument", default="pfs_mr_reference")
    options = parser.parse_args()
    torch.set_num_threads(1)

    simulator = Simulator.build(options.instrument)
    clear = PerSpectrumPipeline(simulator.instrument, Emulator.builtin())
    generator = np.random.default_rng(1)
    position = 0

    def batched() -> int:
        nonlocal position
        simulator.draw("train", 1, position, position + options.spectra)
        position += options.spectra
        return options.spectra

    def one_by_one() -> int:
        for _ in range(options.per_spectrum):
            clear(generator)
        return options.per_spectrum

    # Interleaved, so that both meet the same machine.
    fast, slow = [], []
    for _ in range(options.repeats):
        slow.append(seconds_per_spectrum(one_by_one, 1))
        fast.append(seconds_per_spectrum(batched, 1))
    ratio = statistics.median(s / f for s, f in zip(slow, fast, strict=True))
    print(f"per-spectrum pipeline  {1 / statistics.median(slow):12,.0f} spectra/s per core")
    print(f"specvit simulator      {1 / statistics.median(fast):12,.0f} spectra/s per core")
    print(
        f"ratio                  {ratio:12,.0f} (median of {options.repeats} interleaved repeats, one thread)"
    )
    print(f"10^6 spectra           {1e6 * statistics.median(fast) / 60:12.1f} core-minutes")


if __name__ == "__main__":
    main()
