"""The count formula of data/README.md in plain numpy, one spectrum at a time.

Written from that page alone, an implementation independent of the product's. Scalars and axes come from the
calculator, not from the preset's TOML; the tables per pixel are the preset's, whose output is compared with the
calculator's own.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from specvit.instrument.description import INSTRUMENT

CHECKS = Path(__file__).parent / "data" / "etc_checks.npz"

C_A_S = 2.99792458e18
HC = 1.98644586e-8


def flat_ab(mag, wavelength):
    """F_λ of a flat-AB source, erg/s/cm²/Å."""
    return 3.631e-20 * 10 ** (-0.4 * mag) * C_A_S / wavelength**2


@dataclass
class Etc:
    """Counts of the current set (`n21=False`) or the nominal set, at pixel centres or left edges."""

    arrays: dict
    n21: bool = False
    edge: bool = False

    @classmethod
    def load(cls, **options):
        arrays = {}
        for path in (INSTRUMENT.presets / "pfs_red_mr.npz", CHECKS):
            with np.load(path) as z:
                numbers = [k for k in z.files if z[k].dtype.kind == "f" and k not in arrays]
                arrays |= {k: z[k].astype(float) for k in numbers}
        edges = np.linspace(7100.0, 8850.0, 4097)
        arrays["wave_A"], arrays["wave_edge_A"] = 0.5 * (edges[1:] + edges[:-1]), edges[:-1]
        return cls(arrays, **options)

    def _star(self, name):
        return self.arrays[name + "_edge" if self.edge else name]

    @property
    def wavelength(self):
        return self.arrays["wave_edge_A" if self.edge else "wave_A"]

    def geometry(self, theta):
        a = self.arrays
        vignet = np.interp(theta, a["field_node_deg"], a["vignet_node"])
        obscuration = 1.0 if self.n21 else (1 - (0.27 + 0.09 / 0.675 * theta)) / 0.81
        focal = np.interp(theta, a["field_node_deg"], a["efl_node_m"])
        return vignet * obscuration, np.pi * (0.206264806 * a["fiber_radius_um"] / focal) ** 2

    def object_counts(self, f_lambda, seeing, z, theta, t):
        a = self.arrays
        axes = [a["apf_offset_arcsec"], a["apf_seeing_arcsec"], a["apf_field_deg"], a["apf_wave_A"]]
        table = RegularGridInterpolator(axes, a["aperture_factor"], bounds_error=False, fill_value=None)
        at = np.empty((self.wavelength.size, 4))
        at[:, 0], at[:, 1], at[:, 2] = 0.0 if self.n21 else 0.1, seeing, theta
        at[:, 3] = self.wavelength
        throughput = self._star("n21_throughput" if self.n21 else "throughput")
        area = a["geom_area_m2"] * self.geometry(theta)[0] * throughput
        transmission = 10 ** (-0.4 * self._star("ext_k") / np.cos(np.radians(z))) * self._star("telluric")
        photons = f_lambda * self.wavelength / HC * 1e4 * area * table(at) * self._star("trace_frac")
        return photons * transmission * a["dispersion_A_per_pix"] * t

    def sky_counts(self, z, theta, t, moon=None):
        """`moon`: None for dark, or the index of a moon case."""
        a, pre = self.arrays, "n21_" if self.n21 else ""
        g, omega = self.geometry(theta)
        x = 1 / np.sqrt(1 - 0.96 * np.sin(np.radians(z)) ** 2)
        area = a["geom_area_m2"] * g * a[pre + "throughput"]
        transmission = 10 ** (-0.4 * a["ext_k"] / np.cos(np.radians(z))) * a["telluric"]
        lines = a[pre + "sky_line_rate"] * g * omega * x / 1.1 * np.exp(-a["ext_k"] * x / 1.086)
        glow = a[pre + "sky_cont_phot"] * x * transmission
        if moon is not None:
            glow = glow + a["moon_phot_unit"][moon] * (1 - 10 ** (-0.4 * 0.12 * x))
        nm_per_pixel = a["dispersion_A_per_pix"] / 10
        return t * (lines + glow * nm_per_pixel * area * omega * a["trace_frac_sky"])

    def variance(self, z, theta, t, n, moon=None):
        """All but the star, e² per pixel per exposure."""
        a = self.arrays
        sky = self.sky_counts(z, theta, t, moon)
        padded = np.pad(sky, 1, mode="edge")
        largest = np.max([padded[:-2], padded[1:-1], padded[2:]], axis=0)
        stray = a["diffuse_stray"] * sky.mean() * a["trace_width_pix"] * a["pixel_um"] / a["trace_sep_um"]
        detector = a["trace_width_pix"] * (a["dark_e_pix_s"] * t + a["read_noise_e"] ** 2)
        total = sky + a["sky_sub_floor"] ** 2 * n * largest**2 + stray + detector
        return (1.0 if self.n21 else a["adjust_noise"]) * total

    def snr(self, f_lambda, seeing=0.8, z=30.0, theta=0.0, t=900.0, n=12, moon=None):
        """S/N per pixel after n exposures."""
        counts = self.object_counts(f_lambda, seeing, z, theta, t)
        return np.sqrt(n) * counts / np.sqrt(counts + self.variance(z, theta, t, n, moon))
