"""Stars per second and core of `specvit predict --method network`, reading included, stage by stage.

Stars of the library as SDSS would see them, many in one FITS table of rows of arrays: 3,842 pixels each, of which some
1,050 are in the range of the library. Times are those of the processor, one thread, of the second of two passes; a
network is trained first, for what it costs and not for what it says (`--updates`), unless one is kept.

    python benchmarks/predict_network.py [--stars 2048] [--updates 50] [--networks FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy.io import fits

from _machine import heading
from specvit.amortised import Agreement, AmortisedFitter, NetworkStore, Setup, SetupNetwork, TrainingPlan
from specvit.amortised.answers import answered, cut_off, parameters, rest_frames
from specvit.amortised.models import modelled
from specvit.amortised.setup import grouped
from specvit.amortised.stars import star_flux
from specvit.library import Emulator
from specvit.observed import ReadOptions, iter_spectra
from specvit.stellar import StarFitSettings, StarFitter, StellarParameters
from specvit.stellar.pixels import fit_pixels
from specvit.stellar.systematic import SYSTEMATIC
from specvit.stellar.templates import WidthTemplates

#: Pixels and λ/FWHM of SDSS; S/N from and to.
START, STEP, PIXELS, RESOLUTION, SNR = 3.5798, 1e-4, 3842, 2000.0, (20.0, 80.0)
#: Spectra answered at once.
POOL = 512
SEED = 6


def write_stars(path: Path, emulator: Emulator, count: int) -> None:
    """Write `count` stars to one table; what lies outside the range of the library is flat."""
    rng = np.random.default_rng(SEED)
    wavelength = 10 ** (START + STEP * np.arange(PIXELS))
    space = emulator.label_space
    labels = np.array(space.low) + np.ptp([space.low, space.high], axis=0) * rng.random((count, len(space)))
    templates = WidthTemplates(emulator, RESOLUTION)
    inside = (wavelength > emulator.grid.start * 1.001) & (wavelength < emulator.grid.stop * 0.999)
    flux = np.ones((count, PIXELS), np.float32)
    log_pixels = np.log(wavelength[inside])
    velocity = rng.normal(0, 60, count)
    seen = star_flux(templates, labels, velocity, log_pixels, np.zeros((count, log_pixels.size)))
    flux[:, inside] = seen / np.median(seen, axis=1, keepdims=True)
    sigma = np.broadcast_to(1 / rng.uniform(*SNR, (count, 1)), flux.shape).astype(np.float32)
    flux += sigma * rng.standard_normal(flux.shape, dtype=np.float32)
    wide = f"{PIXELS}E"
    columns = [
        fits.Column("WAVELENGTH", f"{PIXELS}D", unit="Angstrom", array=np.tile(wavelength, (count, 1))),
        fits.Column("FLUX", wide, array=flux),
        fits.Column("IVAR", wide, array=1 / sigma**2),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what the second of two calls gives, and its processor seconds."""
    work()
    began = time.process_time()
    found = work()
    return found, time.process_time() - began


def stages(path: Path, network: SetupNetwork, emulator: Emulator, setups: list[Setup]) -> dict[str, float]:
    """Return milliseconds per star of every stage."""
    settings, options = StarFitSettings(), ReadOptions(medium="vacuum", resolution=RESOLUTION)
    low, high = emulator.grid.start, emulator.grid.stop
    spectra, reading = timed(lambda: list(iter_spectra(path, options)))
    pixels, preparing = timed(lambda: [fit_pixels(one, settings, low, high) for one in spectra])
    pools = [pixels[first : first + POOL] for first in range(0, len(pixels), POOL)]
    seen, moving = timed(lambda: [rest_frames(network, pool) for pool in pools])
    said, whole = timed(lambda: [answered(network, pool) for pool in pools])
    domain = network.estimator.origin.domain
    assert domain is not None
    _, judging = timed(lambda: [domain.judge(*pool) for pool in seen])

    def worded() -> list[StellarParameters]:
        cuts = [cut_off(network, one.prediction) for one in said]
        return [
            parameters(network, one, k, pool[k], settings.velocity, bool(cut[k]), SYSTEMATIC)
            for pool, one, cut in zip(pools, said, cuts, strict=True)
            for k in range(len(pool))
        ]

    stars, writing = timed(worded)
    _, grouping = timed(lambda: [grouped(pool, settings, setups) for pool in pools])
    _, modelling = timed(lambda: modelled(stars, pixels, network.templates, settings))
    seconds = {
        "reading the table": reading,
        "pixels, masks": preparing,
        "setups": grouping,
        "velocity and rest frame": moving,
        "network": whole - moving - judging,
        "verdict": judging,
        "answers with flags": writing,
        "template for pictures and residuals": modelling,
    }
    return {name: 1000 * value / len(spectra) for name, value in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stars", type=int, default=2048)
    parser.add_argument("--updates", type=int, default=50)
    parser.add_argument("--networks", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    emulator, settings = Emulator.builtin(), StarFitSettings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stars.fits")
        write_stars(path, emulator, options.stars)
        first = next(iter_spectra(path, ReadOptions(medium="vacuum", resolution=RESOLUTION)))
        setups: list[Setup] = []
        grouped([fit_pixels(first, settings, emulator.grid.start, emulator.grid.stop)], settings, setups)
        store = NetworkStore(emulator, settings, TrainingPlan(updates=options.updates), options.networks)
        began = time.process_time()
        network = store.network(setups[0])
        training = time.process_time() - began
        found = stages(path, network, emulator, setups)
        trusted = Agreement(24, {}, {}, {})
        fitter = AmortisedFitter(StarFitter(emulator, settings), store, agreements={setups[0]: trusted})
        few = ReadOptions(medium="vacuum", resolution=RESOLUTION)
        outcomes, seconds = timed(lambda: fitter.fit(list(iter_spectra(path, few))))
    by_network = np.mean([outcome[0].method != "template" for outcome in outcomes])
    total = sum(found.values())
    print(heading("cpu", 1, SEED, ("astropy", "numba")))
    print(f"{options.stars} stars, training of {options.updates} updates: {training:.0f} s\n")
    print("| stage | ms per star and core |\n|---|---|")
    for name, value in found.items():
        print(f"| {name} | {value:.3f} |")
    print(f"| all | {total:.3f} ({1000 / total:.0f} stars/s) |")
    without = total - found["template for pictures and residuals"]
    print(f"| all but the template | {without:.3f} ({1000 / without:.0f} stars/s) |")
    print(
        f"\n`AmortisedFitter.fit`, {100 * by_network:.0f} % answered by the network, the others by the fit: "
        f"{options.stars / seconds:.0f} stars/s"
    )
    if options.json:
        result = {"stages": found, "training": training, "stars": options.stars}
        options.json.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
