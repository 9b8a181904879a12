"""A simulated star as a file of a real form: what to try `specvit predict` with before one has spectra.

The star, its noise and its velocity are known, so that an answer can be judged.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch

from specvit.errors import import_optional
from specvit.instrument import Instrument
from specvit.library import Emulator
from specvit.runs.atomic import write_atomic
from specvit.spectra import SPEED_OF_LIGHT_KM_S

#: The star: a giant of the thick disc, Teff (K), log g, [M/H], [α/M], [C/M] (dex).
EXAMPLE_LABELS = {"teff": 4800.0, "log_g": 2.4, "m_h": -0.6, "alpha_m": 0.2, "c_m": 0.0}
#: What the header says of where it is from.
MARK = "specvit, simulated"
#: km/s; S/N per pixel.
EXAMPLE_VELOCITY, EXAMPLE_SNR = 42.0, 60.0


def write_example(path: str | Path, seed: int = 1) -> None:
    """Write the star `EXAMPLE_LABELS` as Subaru PFS's red arm would see it, in the form of a pfsObject.

    Raises:
        RunError: if it cannot be written.
    """
    fits = import_optional("astropy.io.fits", None, "writing FITS files")
    instrument = Instrument.load("pfs_mr")
    observed = instrument.observe(Emulator.builtin())
    labels = torch.tensor([[EXAMPLE_LABELS[name] for name in observed.label_space.names]])
    flux = observed(labels)[0].double().numpy()
    wavelength = instrument.grid.wavelength * (1 + EXAMPLE_VELOCITY / SPEED_OF_LIGHT_KM_S)
    sigma = np.full(flux.size, float(np.median(flux)) / EXAMPLE_SNR)
    noisy = flux + sigma * np.random.default_rng(seed).standard_normal(flux.size)
    # nJy, as the survey gives it: flux per frequency.
    to_njy = 1000 * (wavelength / np.median(wavelength)) ** 2 / np.median(flux)
    columns = [
        fits.Column("wavelength", "D", unit="nm", array=wavelength / 10),
        fits.Column("flux", "E", unit="nJy", array=noisy * to_njy),
        fits.Column("error", "E", unit="nJy", array=sigma * to_njy),
        fits.Column("mask", "J", array=np.zeros(flux.size, np.int32)),
    ]
    primary = fits.PrimaryHDU()
    primary.header.update({"CATID": 1, "TRACT": 0, "PATCH": "0,0", "OBJID": seed, "ORIGIN": MARK})
    table = fits.BinTableHDU.from_columns(columns, name="FLUX_TABLE")
    stream = io.BytesIO()
    fits.HDUList([primary, table]).writeto(stream)
    write_atomic(Path(path), stream.getvalue())
