"""Turn the merged LTE spectra (see docs/library.md) into the compressed library shipped as package data.

python tools/build_builtin_library.py SPECTRA.npz [--out FILE] [--components N]
"""

from __future__ import annotations

import argparse
import platform
from datetime import date
from pathlib import Path

import h5py
import numpy as np

from specvit import __version__
from specvit.library import SyntheticLibrary
from specvit.library.builtin import BUILTIN_LIBRARY
from specvit.spectra import LOW_T_BOX, WavelengthGrid

HERE = Path(__file__).resolve().parents[1]
OUT = HERE / "src" / "specvit" / "library" / "data" / BUILTIN_LIBRARY
#: The box the design fills: the working box plus a margin, so that the emulator does not end at a data edge.
DESIGN_BOX = LOW_T_BOX.replace(
    teff=(3700, 6100), log_g=(0.9, 5.1), m_h=(-2.6, 0.85), alpha_m=(-0.3, 0.55), c_m=(-0.8, 0.55)
)
METHOD = (
    "LTE, plane parallel, vmic 2 km/s. T(tau5000) from a polynomial regression on published models (MARCS "
    "giants, Stagger <3D>, ATLAS9), 1-D-like branch; pressure from hydrostatic equilibrium with SMElib's "
    "equation of state and continuous opacity for the actual mix; Asplund et al. 2009 mix, alpha = O "
    "Ne Mg Si S Ca Ti; transfer with SMElib on 2.5 km/s, 4 Gauss angles; Gaussian to R = 20000, in vacuum. "
    "Lines: Kurucz atomic with laboratory gf of linemake, ABO damping, CN, FeH, Paschen, TiO from molecular "
    "constants. See docs/library.md."
)


def read_merged(path: Path) -> SyntheticLibrary:
    """Return the spectra of a merged file as a library in flux units of erg/s/cm2/Å at the surface."""
    raw = np.load(path)
    flux = raw["flux_u16"].astype(np.float32) * raw["flux_scale"][:, None]
    provenance = {
        "name": "specvit built-in LTE library",
        "method": METHOD,
        "software": "PySME 1.2.0 (SMElib)",
        "flux_unit": "erg/s/cm2/Å at the stellar surface",
        "design_index": raw["index"].tolist(),
        "hydrostatic_residual_dex": [round(float(value), 5) for value in raw["hse_err"]],
    }
    return SyntheticLibrary(
        raw["params"],
        flux,
        WavelengthGrid(raw["wave"]),
        20000.0,
        DESIGN_BOX,
        provenance,
        raw["cont"].astype(np.float32),
        raw["wave_cont"],
    )


def compression_errors(original: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """Return rms, median, 99th percentile and maximum of |decoded/original - 1|."""
    error = np.abs(decoded / original - 1)
    return {
        "rms": float(np.sqrt(np.mean(error.astype(np.float64) ** 2))),
        "median": float(np.median(error)),
        "p99": float(np.quantile(error, 0.99)),
        "max": float(error.max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spectra", type=Path, help="merged spectra (lte_r20000.npz)")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--components", type=int, default=300)
    parser.add_argument("--tolerance", type=float, default=5e-4, help="largest relative flux error")
    options = parser.parse_args()
    if not options.spectra.is_file():
        parser.error(f"{options.spectra}: no such file; give the merged spectra as the first argument")
    library = read_merged(options.spectra)
    print(f"{len(library)} spectra, {library.grid.describe()}", flush=True)
    trial = options.out.with_name(options.out.name + ".trial")
    library.save(trial, options.components, options.tolerance)
    errors = compression_errors(library.flux, SyntheticLibrary.load(trial).flux)
    trial.unlink()
    library.provenance.update(  # type: ignore[attr-defined]
        compression={"components": options.components, "relative_error": errors},
        built={
            "date": date.today().isoformat(),
            "specvit": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "h5py": h5py.__version__,
        },
    )
    library.save(options.out, options.components, options.tolerance)
    print(f"{options.out.name}: {options.out.stat().st_size / 1e6:.2f} MB")
    print("relative error  " + "  ".join(f"{name} {value:.1e}" for name, value in errors.items()))


if __name__ == "__main__":
    main()
