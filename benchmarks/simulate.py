"""Speed of the simulator against a straightforward per-spectrum pipeline, in the same run on one core.

Two alternatives, both NumPy and SciPy, one spectrum at a time, with the library in memory:

- "reference": what the reference pipeline does. A cubic spline through the models of one grid line,
  scaling to the i magnitude, convolution with the wavelength-dependent LSF (a mean kernel and five
  components, each one gaussian_filter1d), flux-conserving resampling, the exposure time calculator's noise,
  one draw, division by the median. Labels lie on the lattice but for one.
- "five labels": the same, but all labels continuous, as specvit draws them: four-point cubic interpolation on
  each of the five axes (1024 library models per spectrum).

Both at R = 50000, the resolution of the reference library. The reference itself also reads from disk and
needed 66 thread-seconds per spectrum. Times are CPU times of one thread, interleaved, so that other work on
the machine disturbs them little.

    python benchmarks/simulate.py [--spectra 4096] [--instrument pfs_mr_reference]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.interpolate import CubicSpline, interp1d
from scipy.ndimage import gaussian_filter1d

from specvit.instrument import Instrument
from specvit.library import Emulator
from specvit.simulate import LatticePrior, Simulator
from specvit.spectra import LOW_T_BOX, SPEED_OF_LIGHT_KM_S

C_KMS = SPEED_OF_LIGHT_KM_S
H_C = 1.98644586e-8  # erg Å
AB0 = 3.631e-20  # erg/s/cm²/Hz


RESOLUTION = 50_000.0
LSF_COMPONENTS = 5


class PerSpectrumPipeline:
    """The clear version: one spectrum per call, float64, no batching."""

    def __init__(self, instrument: Instrument, emulator: Emulator) -> None:
        self.prior = LatticePrior.reference(LOW_T_BOX)
        native = emulator.grid.wavelength
        self.wavelength = np.exp(np.arange(np.log(native[0]), np.log(native[-1]), 0.5 / RESOLUTION))
        self.instrument, self.edges = instrument, instrument.grid.edges
        self.pixels = instrument.grid.wavelength
        fwhm = np.sqrt((1.35 / self.pixels[self.pixels.size // 2]) ** 2 - 1 / RESOLUTION**2)
        self.lsf_samples = fwhm / 2.3548 * 2 * RESOLUTION
        position = np.linspace(-1, 1, self.wavelength.size)
        self.lsf_weights = [0.01 * position**k for k in range(1, LSF_COMPONENTS + 1)]
        self.band = np.interp(self.wavelength, [6900, 7000, 8400, 8500], [0, 1, 1, 0])
        self.log_g = self.prior.nodes("log_g")
        line = torch.tensor([[5000.0, g, -0.5, 0.0, 0.0] for g in self.log_g])
        self.line = self._models(emulator, line)
        #: four nodes per axis around one lattice cell
        self.axes = [self.prior.nodes(name)[1:5] for name in LOW_T_BOX.names[:3]]
        self.axes += [self.prior.nodes(name)[:4] for name in LOW_T_BOX.names[3:]]
        cell = np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1).reshape(-1, len(self.axes))
        self.cell = self._models(emulator, torch.from_numpy(cell).float()).astype(np.float32)

    def _models(self, emulator: Emulator, labels: torch.Tensor) -> np.ndarray:
        flux = emulator(labels).numpy()
        return interp1d(emulator.grid.wavelength, flux, kind="cubic", axis=1)(self.wavelength)

    def on_a_line(self, generator: np.random.Generator) -> np.ndarray:
        """Return a spectrum with one continuous label."""
        log_g = generator.uniform(self.log_g[0], self.log_g[-1])
        return self.observe(CubicSpline(self.log_g, self.line, axis=0)(log_g), generator)

    def in_five_labels(self, generator: np.random.Generator) -> np.ndarray:
        """Return a spectrum with five continuous labels."""
        weights = np.ones(1)
        for nodes in self.axes:
            label = generator.uniform(nodes[1], nodes[2])
            weights = np.outer(weights, lagrange_weights(nodes, label)).ravel()
        return self.observe((weights.astype(np.float32) @ self.cell).astype(np.float64), generator)

    def observe(self, flux: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return one normalised noisy spectrum, shape (L,), of library flux."""
        w = self.wavelength
        seed = torch.Generator().manual_seed(int(generator.integers(2**31)))
        conditions = self.instrument.sample_conditions(1, seed)
        band_flux = np.trapezoid(flux * self.band * w, w) / (C_KMS * 1e13 * np.trapezoid(self.band / w, w))
        flux = flux * 10 ** (-0.4 * float(conditions["mag"])) * AB0 / band_flux
        smooth = gaussian_filter1d(flux, self.lsf_samples)
        for order, weight in enumerate(self.lsf_weights, start=1):
            smooth += weight * gaussian_filter1d(flux, self.lsf_samples * (1 + 0.1 * order))
        cumulative = np.concatenate([[0], np.cumsum(0.5 * (smooth[1:] + smooth[:-1]) * np.diff(w))])
        flux = np.diff(np.interp(self.edges, w, cumulative)) / np.diff(self.edges)
        sigma = self.noise(flux, conditions)
        noisy = flux + sigma * generator.standard_normal(flux.size)
        return noisy / np.median(noisy)

    def noise(self, flux: np.ndarray, conditions: dict[str, torch.Tensor]) -> np.ndarray:
        """Return 1 σ of `flux` (erg/s/cm²/Å): the count formula, evaluated for one spectrum."""
        terms = self.instrument.noise_terms({k: v.double() for k, v in conditions.items()}, torch.float64)
        unit = self.instrument.band.flux_ab0 * 10 ** (-0.4 * float(conditions["mag"]))
        response, variance = terms.response[0].numpy() / unit, terms.variance[0].numpy()
        return np.sqrt(variance + flux * response) / response


def lagrange_weights(nodes: np.ndarray, at: float) -> np.ndarray:
    """Return the weights of the cubic through four nodes."""
    others = [np.delete(nodes, k) for k in range(4)]
    return np.array([np.prod((at - o) / (nodes[k] - o)) for k, o in enumerate(others)])


def cpu_seconds(job: Callable[[], int]) -> float:
    """Return CPU seconds per spectrum; `job` returns how many it made."""
    began = time.process_time()
    made = job()
    return (time.process_time() - began) / made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--spectra", type=int, default=4096, help="spectra per repeat of the batched simulator"
    )
    parser.add_argument("--per-spectrum", type=int, default=20, help="spectra per repeat of the alternative")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--instrument", default="pfs_mr_reference")
    options = parser.parse_args()
    torch.set_num_threads(1)

    simulator = Simulator.build(options.instrument)
    emulator, generator = Emulator.builtin(), np.random.default_rng(1)
    pipeline = PerSpectrumPipeline(simulator.instrument, emulator)
    alternatives = {"reference": pipeline.on_a_line, "five labels": pipeline.in_five_labels}
    position = 0

    def batched() -> int:
        nonlocal position
        simulator.draw("train", 1, position, position + options.spectra, truth=False)
        position += options.spectra
        return options.spectra

    def one_by_one(job: Callable[[np.random.Generator], np.ndarray]) -> int:
        for _ in range(options.per_spectrum):
            job(generator)
        return options.per_spectrum

    batched()
    fast: list[float] = []
    slow: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(options.repeats):
        for name, job in alternatives.items():
            slow[name].append(cpu_seconds(lambda j=job: one_by_one(j)))
        fast.append(cpu_seconds(batched))
    print(f"simulator, {options.instrument}: one thread, CPU time, median of {options.repeats} repeats")
    print(f"  specvit                  {1 / statistics.median(fast):10,.0f} spectra/s per core")
    for name, times in slow.items():
        ratio = statistics.median(s / f for s, f in zip(times, fast, strict=True))
        rate = 1 / statistics.median(times)
        print(f"  {name:12s}             {rate:10,.1f} spectra/s per core   ratio {ratio:,.0f}")
    print(f"  10^6 spectra             {1e6 * statistics.median(fast) / 60:10.1f} core-minutes")


if __name__ == "__main__":
    main()
