"""Speed of the simulator against a straightforward per-spectrum pipeline, in the same run on one core.

Two alternatives, both NumPy and SciPy, one spectrum at a time, everything they need already in memory:

- "reference": the steps of the reference pipeline, in its order.
  1. cubic spline through the models of one line of the library grid (labels on the lattice but for one);
  2. scaling to the i magnitude by synthetic photometry;
  3. convolution with the wavelength-dependent LSF: a mean kernel and five components, each one
     gaussian_filter1d;
  4. flux-conserving resampling by differences of the cumulative integral;
  5. counts per unit flux, sky and moon counts from tables, each interpolated linearly in zenith and field angle
     (the moon also in phase), then the exposure time calculator's variance;
  6. one draw of the noise, the S/N estimate (95th percentile over pixels), flux and sigma divided by the median.
- "five labels": the same, but all labels continuous, as specvit draws them: four-point cubic interpolation on
  each of the five axes (1024 library models per spectrum).

Both work at R = 50000, the resolution of the reference library. The reference itself also reads from disk, draws
again outside its grid, and needed 66 thread-seconds per spectrum. specvit does all of the above and states two
sigmas, the one the noise was drawn with and the one a pipeline could know. Times are CPU times of one thread
(also of NumPy's own), interleaved; batches of 512, as a training loop would take them.

    python benchmarks/simulate.py [--spectra 16384] [--instrument pfs_mr_reference]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import scipy
import torch
from scipy.interpolate import CubicSpline, RegularGridInterpolator, interp1d
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from specvit.instrument import Instrument
from specvit.library import Emulator
from specvit.simulate import LatticePrior, Simulator
from specvit.spectra import LOW_T_BOX, SPEED_OF_LIGHT_KM_S

C_KMS = SPEED_OF_LIGHT_KM_S
AB0 = 3.631e-20  # erg/s/cm²/Hz

RESOLUTION = 50_000.0
LSF_COMPONENTS = 5
BATCH = 512


class NoiseTables:
    """Counts of one instrument over zenith angle, field angle and moon phase, and the variance they give."""

    def __init__(self, instrument: Instrument) -> None:
        limits = instrument.conditions.limits
        highest_field = min(limits["field_angle"][1], 0.65)
        self.axes = [np.linspace(0, 60, 13), np.linspace(0, highest_field, 14)]
        phases = np.linspace(0, min(limits["moon"][1], 0.5), 5)
        one = {"mag": 0.0, "exposure_count": 1.0}
        angles = self._conditions(instrument, self.axes, ("zenith_angle", "field_angle"), one)
        terms = instrument.noise_terms(angles, torch.float64)
        shape = tuple(axis.size for axis in self.axes)
        self.detector, self.time = instrument.noise.detector, float(angles["exposure_time"][0])
        dark_sky = instrument.noise.sky_counts(angles | {"moon": torch.zeros_like(angles["moon"])})
        unit = instrument.band.flux_ab0
        self.counts_per_flux = self._table(self.axes, terms.response.reshape(*shape, -1) / unit)
        self.sky = self._table(self.axes, dark_sky.reshape(*shape, -1))
        axes = [*self.axes, phases]
        lit = self._conditions(instrument, axes, ("zenith_angle", "field_angle", "moon"), one)
        with_moon = instrument.noise.sky_counts(lit).reshape(*shape, phases.size, -1)
        self.moon = self._table(axes, with_moon - dark_sky.reshape(*shape, 1, -1))

    @staticmethod
    def _conditions(
        instrument: Instrument, axes: list[np.ndarray], names: tuple[str, ...], fixed: dict[str, float]
    ) -> dict[str, torch.Tensor]:
        mesh = np.meshgrid(*axes, indexing="ij")
        values = {name: torch.from_numpy(m.ravel()) for name, m in zip(names, mesh, strict=True)}
        drawn = instrument.fixed_conditions(mesh[0].size, **fixed, **values)
        return {name: value.double() for name, value in drawn.items()}

    @staticmethod
    def _table(axes: list[np.ndarray], values: torch.Tensor) -> RegularGridInterpolator:
        return RegularGridInterpolator(tuple(axes), values.numpy())

    def sigma(self, flux: np.ndarray, c: dict[str, float]) -> np.ndarray:
        """Return 1 σ of `flux`, erg/s/cm²/Å, shape (L,), after `exposure_count` exposures."""
        d, where = self.detector, (c["zenith_angle"], c["field_angle"])
        counts_per_flux = self.counts_per_flux(where)
        sky = self.sky(where) + self.moon((*where, c["moon"]))
        floor = d.sky_floor * np.sqrt(c["exposure_count"]) * maximum_filter1d(sky, 3)
        stray = d.stray * sky.mean() * d.width / d.trace_pitch_pix
        detector = (d.dark * self.time + d.read_noise**2) * d.width

        variance = flux * counts_per_flux + d.variance_factor * (sky + floor**2 + stray + detector)
        return np.sqrt(variance / c["exposure_count"]) / counts_per_flux


class PerSpectrumPipeline:
    """The clear version: one spectrum per call, float64, no batching."""

    def __init__(self, instrument: Instrument, emulator: Emulator) -> None:
        self.prior = LatticePrior.reference(LOW_T_BOX)
        native = emulator.grid.wavelength
        self.wavelength = np.exp(np.arange(np.log(native[0]), np.log(native[-1]), 0.5 / RESOLUTION))
        self.instrument, self.edges = instrument, instrument.grid.edges
        self.noise = NoiseTables(instrument)
        pixels = instrument.grid.wavelength
        fwhm = np.sqrt((1.35 / pixels[pixels.size // 2]) ** 2 - 1 / RESOLUTION**2)
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

    def on_a_line(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
        """Return a spectrum with one continuous label."""
        log_g = generator.uniform(self.log_g[0], self.log_g[-1])
        return self.observe(CubicSpline(self.log_g, self.line, axis=0)(log_g), generator)

    def in_five_labels(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
        """Return a spectrum with five continuous labels."""
        weights = np.ones(1)
        for nodes in self.axes:
            label = generator.uniform(nodes[1], nodes[2])
            weights = np.outer(weights, lagrange_weights(nodes, label)).ravel()
        return self.observe((weights.astype(np.float32) @ self.cell).astype(np.float64), generator)

    def observe(
        self, flux: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Return normalised noisy flux and sigma, shape (L,), and S/N, of library flux."""
        w = self.wavelength
        ranges = self.instrument.conditions.ranges
        conditions = {name: generator.uniform(low, high) for name, (low, high) in ranges.items()}
        band_flux = np.trapezoid(flux * self.band * w, w) / (C_KMS * 1e13 * np.trapezoid(self.band / w, w))
        flux = flux * 10 ** (-0.4 * conditions["mag"]) * AB0 / band_flux
        smooth = gaussian_filter1d(flux, self.lsf_samples)
        for order, weight in enumerate(self.lsf_weights, start=1):
            smooth += weight * gaussian_filter1d(flux, self.lsf_samples * (1 + 0.1 * order))
        cumulative = np.concatenate([[0], np.cumsum(0.5 * (smooth[1:] + smooth[:-1]) * np.diff(w))])
        flux = np.diff(np.interp(self.edges, w, cumulative)) / np.diff(self.edges)
        sigma = self.noise.sigma(flux, conditions)
        noisy = flux + sigma * generator.standard_normal(flux.size)
        level = np.median(noisy)
        return noisy / level, sigma / level, float(np.percentile(flux / sigma, 95))


def lagrange_weights(nodes: np.ndarray, at: float) -> np.ndarray:
    """Return the weights of the cubic through four nodes."""
    others = [np.delete(nodes, k) for k in range(4)]
    return np.array([np.prod((at - o) / (nodes[k] - o)) for k, o in enumerate(others)])


def check_noise(pipeline: PerSpectrumPipeline) -> None:
    """Raise unless the alternative's noise is that of the instrument, to 1 % in every pixel."""
    instrument = pipeline.instrument
    drawn = instrument.sample_conditions(1, torch.Generator().manual_seed(1))
    conditions = {name: float(value) for name, value in drawn.items()}
    unit = instrument.band.flux_ab0 * 10 ** (-0.4 * conditions["mag"])
    flux = torch.ones(1, instrument.grid.size, dtype=torch.float64)
    expected = instrument.noise_sigma(flux, drawn)[0].numpy()
    np.testing.assert_allclose(
        pipeline.noise.sigma(unit * flux[0].numpy(), conditions) / unit, expected, 0.01
    )


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
        "--spectra", type=int, default=16384, help="spectra per repeat of the batched simulator"
    )
    parser.add_argument("--per-spectrum", type=int, default=30, help="spectra per repeat of the alternatives")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--instrument", default="pfs_mr_reference")
    options = parser.parse_args()
    torch.set_num_threads(1)

    simulator = Simulator.build(options.instrument)
    emulator, generator = Emulator.builtin(), np.random.default_rng(1)
    pipeline = PerSpectrumPipeline(simulator.instrument, emulator)
    check_noise(pipeline)
    alternatives = {"reference": pipeline.on_a_line, "five labels": pipeline.in_five_labels}
    position = 0

    def batched(truth: bool) -> int:
        nonlocal position
        end = position + options.spectra
        for start in range(position, end, BATCH):
            simulator.draw("train", 1, start, min(start + BATCH, end), truth=truth)
        position = end
        return options.spectra

    def one_by_one(job: Callable[[np.random.Generator], object]) -> int:
        for _ in range(options.per_spectrum):
            job(generator)
        return options.per_spectrum

    ours: dict[str, list[float]] = {"specvit": [], "  with truth": []}
    theirs: dict[str, list[float]] = {name: [] for name in alternatives}
    batched(False)
    for _ in range(options.repeats):
        for name, job in alternatives.items():
            theirs[name].append(cpu_seconds(lambda j=job: one_by_one(j)))
        for name, times in ours.items():
            times.append(cpu_seconds(lambda t="truth" in name: batched(t)))
    print(f"simulator, {options.instrument}: one thread, CPU time, median of {options.repeats} repeats")
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    print(f"  {versions}, NumPy {np.__version__}, SciPy {scipy.__version__}")
    for name, times in (ours | theirs).items():
        each = statistics.median(times)
        ratio = statistics.median(s / f for s, f in zip(times, ours["specvit"], strict=True))
        print(
            f"  {name:14s} {1e6 * each:10,.1f} µs per spectrum {1 / each:10,.1f} per s   ratio {ratio:6.1f}"
        )
    print(f"  10^6 spectra: {1e6 * statistics.median(ours['specvit']) / 60:.2f} core-minutes")


if __name__ == "__main__":
    # NumPy's BLAS reads its thread count when it is loaded; idle threads of its own would count as CPU time.
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if not one_thread.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | one_thread)
    main()
