"""Build the small tables that tests compare with, from the raw files they are parts of.

    python tools/build_check_tables.py RAW

The folder RAW holds `data/pfs/red_mr_noise.npz` (numbers of the Subaru PFS Exposure Time Calculator), and
`data/lte/lte_r20000.npz` with `tools/lte` (the spectra of the built-in library as they were computed, and the
programs and line list that computed them). Writes `etc_checks.npz` into `tests/instrument/data`, and
`lte_checks.npz` and `lte_window.npz` into `tests/library/data`; the README beside each says what is inside. The
same raw files give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np

from build_pfs_preset import write_reproducibly

TESTS = Path(__file__).parents[1] / "tests"

#: Every fifth pixel of the calculator's direct output: an odd step meets all phases of the sky-line forest.
PIXEL_STEP = 5
#: Scalars and short axes of the count formula, which the preset states in its TOML.
FORMULA = (
    *("geom_area_m2", "dispersion_A_per_pix", "fiber_radius_um", "field_node_deg", "vignet_node"),
    *("efl_node_m", "trace_width_pix", "dark_e_pix_s", "read_noise_e", "trace_sep_um", "pixel_um"),
    *("diffuse_stray", "sky_sub_floor", "adjust_noise"),
)
CONDITIONS = ("check_mag", "za_deg", "field_deg", "check_stats")
DIRECT = ("check_snr", "sky_e_900s", "var_nonobj_dark_900s_n12")
#: Magnitude at which the errors of the emulator are stated in units of the noise.
EMULATOR_MAG = 20.5

#: Rows and pixels of the computed spectra that are kept.
ROW_STEP, WAVE_STEP = 41, 7
#: One star in a short window: Ca II 8542 in vacuum, Å, and the lines that reach it.
STAR, WINDOW, LINE_MARGIN = 48, (8530.0, 8565.0), 160.0
LINE_COLUMNS = ("species", "wlcent", "excit", "gflog", "gamrad", "gamqst", "gamvw")


def etc_checks(path: Path) -> dict[str, np.ndarray]:
    """Return the calculator's direct output at some pixels and what the formula needs besides the preset's tables."""
    with np.load(path) as source:
        pixel = np.arange(0, source["wave_A"].size, PIXEL_STEP)
        faint = int(np.flatnonzero(source["check_mag"] == np.float32(EMULATOR_MAG))[0])
        arrays = {name: source[name] for name in (*FORMULA, *CONDITIONS)}
        arrays |= {name: source[name][..., pixel] for name in DIRECT}
        arrays |= {"pixel": pixel.astype(np.int16), "throughput": source["throughput"][pixel]}
        arrays |= {name: source[name] for name in ("lsf_pixel", "lsf_fwhm_A")}
        arrays["snr_i20_5"] = source["check_snr"][0, faint]
    arrays["source_sha256"] = np.array(hashlib.sha256(path.read_bytes()).hexdigest())
    return arrays


def lte_checks(path: Path) -> dict[str, np.ndarray]:
    """Return every 41st spectrum at every 7th wavelength, as computed."""
    with np.load(path) as source:
        return {
            "row": np.arange(0, len(source["params"]), ROW_STEP).astype(np.int16),
            "labels": source["params"][::ROW_STEP],
            "wavelength": source["wave"][::WAVE_STEP],
            "flux_u16": source["flux_u16"][::ROW_STEP, ::WAVE_STEP],
            "flux_scale": source["flux_scale"][::ROW_STEP],
        }


def lte_window(path: Path, programs: Path) -> dict[str, np.ndarray]:
    """Return one computed spectrum in the window, its model atmosphere and the lines it was computed with."""
    sys.path.insert(0, str(programs))
    from atmo import Atmo

    with np.load(path) as source:
        row = int(np.flatnonzero(source["index"] == STAR)[0])
        near = (source["wave"] > WINDOW[0]) & (source["wave"] < WINDOW[1])
        labels = source["params"][row]
        arrays = {"labels": labels, "wavelength": source["wave"][near]}
        arrays["flux"] = source["flux_u16"][row, near] * source["flux_scale"][row]
    model = Atmo()
    temperature, log_pressure = model(*labels[:2], labels[2])
    arrays |= {"log_tau": model.LT, "temperature": temperature, "log_pressure": log_pressure}
    with np.load(programs / "data" / "lines.npz") as lines:
        order = np.argsort(lines["wlcent"])
        reach = (WINDOW[0] - LINE_MARGIN, WINDOW[1] + LINE_MARGIN)
        order = order[(lines["wlcent"][order] > reach[0]) & (lines["wlcent"][order] < reach[1])]
        return arrays | {f"line_{name}": lines[name][order] for name in LINE_COLUMNS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("raw", type=Path, help="folder with data/pfs, data/lte and tools/lte")
    raw = parser.parse_args().raw
    spectra = raw / "data" / "lte" / "lte_r20000.npz"
    tables = {
        "instrument/data/etc_checks.npz": etc_checks(raw / "data" / "pfs" / "red_mr_noise.npz"),
        "library/data/lte_checks.npz": lte_checks(spectra),
        "library/data/lte_window.npz": lte_window(spectra, raw / "tools" / "lte"),
    }
    for name, arrays in tables.items():
        write_reproducibly(TESTS / name, arrays)
        print(f"tests/{name}: {(TESTS / name).stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
