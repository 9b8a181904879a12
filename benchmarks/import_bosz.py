"""How long one BOSZ file of full length takes to import: CPU seconds per file, median of three.

Usage: python benchmarks/import_bosz.py
"""

import bz2
import gzip
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from specvit.library.importers import import_bosz2017, import_bosz2024

RESOLUTION = 50_000
FILES = 2


def write_2017(folder):
    wavelength = np.exp(np.arange(np.log(1e3), np.log(3.2e5), 0.5 / RESOLUTION))
    for k in range(FILES):
        flux = 1e6 * (1 - 0.5 * np.random.default_rng(k).random(wavelength.size))
        text = "\n".join(f"{w:.3f} {f:.5E} 1.00000E+06" for w, f in zip(wavelength, flux, strict=True))
        name = f"amp00cp00op00t{4000 + 250 * k}g45v20modrt0b{RESOLUTION}rs.asc.bz2"
        (folder / name).write_bytes(bz2.compress(text.encode()))


def write_2024(folder):
    count = 15 * RESOLUTION
    wavelength = np.exp(np.log(500) + np.arange(count) * np.log(640) / count)
    (folder / f"bosz2024_wave_r{RESOLUTION}.txt").write_text("\n".join(f"{w:.7E}" for w in wavelength))
    for k in range(FILES):
        flux = 1e6 * (1 - 0.5 * np.random.default_rng(k).random(count))
        name = f"bosz2024_mp_t{4000 + 250 * k}_g+4.5_m+0.00_a+0.00_c+0.00_v2_r{RESOLUTION}_resam.txt.gz"
        text = "\n".join(f"{f:.5E} 1.00000E+06" for f in flux)
        (folder / name).write_bytes(gzip.compress(text.encode(), 6))


def main():
    for name, write, read in (("2017", write_2017, import_bosz2017), ("2024", write_2024, import_bosz2024)):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            seconds = []
            for _ in range(3):
                began = time.process_time()
                read(folder)
                seconds.append((time.process_time() - began) / FILES)
        print(f"BOSZ {name}, R = {RESOLUTION}: {statistics.median(seconds):.2f} CPU s per file")


if __name__ == "__main__":
    main()
