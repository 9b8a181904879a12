"""rvspecfit (Koposov 2019, ASCL 1907.013) on the stars of `predict.py`; run by the Python that has it, without specvit.

    python _rvspecfit.py FOLDER FILES     # FOLDER holds stars/*.csv and templates/; made by predict.py

Its own commands make its library of the same emulator; that is not timed. A fit is what its manual shows: a
cross-correlation for the start, then a maximum of the likelihood with errors.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

LOW, HIGH, STEP, RESOLUTION, CONTINUUM = 7025, 8925, 0.5, 3000, 13


def make_library(folder: Path) -> None:
    """Turn the templates into the files that rvspecfit interpolates."""
    out = folder / "library"
    out.mkdir(exist_ok=True)
    tool = Path(sys.executable).parent
    range_ = ["--lambda0", str(LOW), "--lambda1", str(HIGH), "--step", str(STEP)]
    templates = f"{folder / 'templates'}/"
    database = ["--templdb", str(folder / "files.db")]
    for words in (
        ["rvs_read_grid", "--prefix", templates, *database, "--glob_mask", "a/*.fits"],
        [
            "rvs_make_interpol",
            *("--setup", "red", *range_, "--resol", str(RESOLUTION), *database, "--templprefix", templates),
            *("--oprefix", str(out), "--wavefile", f"{templates}wave.fits", "--resolution0", "20000"),
            *("--nthreads", "1"),
        ],
        ["rvs_make_nd", "--setup", "red", "--prefix", str(out)],
        [
            *("rvs_make_ccf", "--setup", "red", "--prefix", str(out), "--oprefix", str(out)),
            *(
                "--lambda0",
                str(LOW + 5),
                "--lambda1",
                str(HIGH - 5),
                "--every",
                "20",
                "--step",
                str(STEP),
            ),
        ],
    ):
        subprocess.run([str(tool / words[0]), *words[1:]], check=True, capture_output=True)


def main() -> None:
    """Print CPU seconds per star as JSON."""
    from rvspecfit import fitter_ccf, spec_fit, utils, vel_fit

    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    make_library(folder)
    settings = {
        "template_lib": f"{folder / 'library'}/", "min_vel": -1000, "max_vel": 1000, "min_vel_step": 0.2,
        "vel_step0": 5, "min_vsini": 0.1, "max_vsini": 500, "second_minimizer": 1,
    }  # fmt: skip
    (folder / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    config = utils.read_config(str(folder / "config.yaml"))

    def fit(path: Path) -> None:
        wavelength, flux, sigma, _ = np.loadtxt(path, delimiter=",", skiprows=1).T
        used = (wavelength > LOW + 10) & (wavelength < HIGH - 10)
        data = [spec_fit.SpecData("red", wavelength[used], flux[used], sigma[used])]
        options = {"npoly": CONTINUUM}
        start = fitter_ccf.fit(data, config)["best_par"]
        vel_fit.process(data, start, fixParam=[], config=config, options=options)

    paths = sorted((folder / "stars").glob("*.csv"))[:count]
    fit(paths[0])
    began = time.process_time()
    for path in paths:
        fit(path)
    print(json.dumps({"seconds_per_star": (time.process_time() - began) / len(paths)}))


if __name__ == "__main__":
    main()
