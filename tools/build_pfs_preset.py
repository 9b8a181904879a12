"""Build the table file of the PFS presets from the calculator's numbers.

    python tools/build_pfs_preset.py RAW/data/pfs/red_mr_noise.npz

Reads the noise components computed with the Subaru PFS Exposure Time Calculator and writes
`src/specvit/instrument/presets/pfs_red_mr.npz`: only the arrays that the presets name, with provenance. The
arrays written only for checks (direct calculator output) stay outside; see `build_check_tables.py`.
Prints the checksum that belongs into `[tables] sha256` of `pfs_mr.toml`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).parents[1] / "src/specvit/instrument/presets/pfs_red_mr.npz"

PIXELS = 4096
FIRST_EDGE, LAST_EDGE = 7100.0, 8850.0  # Å, vacuum

ARRAYS = (
    *("throughput", "throughput_edge", "trace_frac", "trace_frac_edge", "trace_frac_sky"),
    *("ext_k", "ext_k_edge", "telluric", "telluric_edge"),
    *("sky_line_rate", "sky_cont_phot", "moon_phot_unit"),
    *("n21_throughput", "n21_sky_line_rate", "n21_sky_cont_phot"),
    *("aperture_factor", "apf_offset_arcsec", "apf_seeing_arcsec", "apf_field_deg", "apf_wave_A"),
    *("lsf_wave_A", "lsf_x_pix", "lsf_optical"),
)

PROVENANCE = {
    "what": "numerical outputs of the Subaru PFS Exposure Time Calculator; red arm, medium resolution",
    "software": "Subaru-PFS/spt_ExposureTimeCalculator 2.0.0 (master, commit aac84fa, 2026-07-15)",
    "authors": "C. Hirata, K. Yabe et al.",
    "licence": "MIT (the calculator; no code of it is included here)",
    "configuration": (
        "mr_mode, throughput_model 20240714, spectrograph ave, sky_type 11006, obsc_fov_dep; "
        "throughput includes the on-sky factor 1.20. Arrays n21_*: throughput_model 20211220, sky 11005"
    ),
}


def wavelength_tables() -> dict[str, np.ndarray]:
    """Return pixel centres and left edges in float64: the source holds them rounded to float32."""
    edges = np.linspace(FIRST_EDGE, LAST_EDGE, PIXELS + 1)
    return {"wave_A": 0.5 * (edges[1:] + edges[:-1]), "wave_edge_A": edges[:-1]}


def write_reproducibly(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed npz whose bytes depend on the content only (fixed time stamps)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(arrays[name], order="C"), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, help="red_mr_noise.npz")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    with np.load(options.source) as source:
        arrays = {name: source[name] for name in ARRAYS} | wavelength_tables()
        worst = np.abs(arrays["wave_A"] - source["wave_A"]).max()
        if worst > 1e-3:
            raise SystemExit(f"{options.source}: wave_A differs from the expected grid by {worst:.4f} Å")
    digest = hashlib.sha256(options.source.read_bytes()).hexdigest()
    provenance = PROVENANCE | {"source_file": options.source.name, "source_sha256": digest}
    arrays["provenance"] = np.array(json.dumps(provenance))
    write_reproducibly(options.output, arrays)
    content = options.output.read_bytes()
    print(f"{options.output.name}: {len(content) / 1e3:.0f} kB, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
