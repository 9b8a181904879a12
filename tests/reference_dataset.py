"""Dataset files as the reference work wrote them: its keys, and its 35-column pandas table."""

import h5py
import numpy as np
import pytest

from specvit.spectra import LOW_T_BOX

PIXELS = 200
EMPTY_COLUMNS = [
    "redshift_err",
    "ext",
    "fiberid",
    "cont_fit",
    "random_seed",
    "Fe_H",
    "Fe_H_err",
    "M_H_err",
    "a_M_err",
    "C_M_err",
    "O_M",
    "O_M_err",
    "T_eff_err",
    "log_g_err",
    "N_He",
    "v_turb",
    "L_H",
]


def write_shard(path, count=300, seed=0, noisy=False, wave=None):
    """A shard whose σ holds the star's lines, as in the reference work: depth of one line set by log g."""
    generator = np.random.default_rng(seed)
    box = LOW_T_BOX
    labels = generator.uniform(box.low, box.high, (count, 5))
    mag = generator.uniform(20.5, 22.5, count)
    wave = np.linspace(7100.2, 8849.8, PIXELS) if wave is None else wave
    depth = 0.1 + 0.1 * labels[:, 1]
    line = np.exp(-0.5 * ((np.arange(PIXELS) - 60) / 3.0) ** 2)
    flux = 0.5 * (1 - depth[:, None] * line)
    sky = 1 + 5 * (np.arange(PIXELS) % 17 == 0)
    sigma = 0.05 * np.sqrt(
        10 ** (0.8 * (mag - 21))[:, None] * sky + 10 ** (0.4 * (mag - 21))[:, None] * 2 * flux
    )
    sigma[:, [0, -1]] = np.nan
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {
            "id": np.arange(count),
            "redshift": 0.0,
            "exp_count": 12,
            "exp_time": 900.0,
            "seeing": generator.uniform(0.5, 1.5, count),
            "target_zenith_angle": generator.uniform(0, 45, count),
            "target_field_angle": generator.uniform(0, 0.65, count),
            "moon_zenith_angle": generator.uniform(30, 90, count),
            "moon_target_angle": generator.uniform(60, 180, count),
            "moon_phase": 0.0,
            "snr": generator.uniform(3, 20, count),
            "mag": mag,
            "M_H": labels[:, 2],
            "a_M": labels[:, 3],
            "C_M": labels[:, 4],
            "T_eff": labels[:, 0],
            "log_g": labels[:, 1],
        }
        | dict.fromkeys(EMPTY_COLUMNS, np.nan)
        | {"interp_param": ["log_g"] * count}
    )
    assert table.shape[1] == 35
    table.to_hdf(path, key="dataset/params", mode="w", format="table")
    with h5py.File(path, "a") as file:
        file["spectrumdataset/wave"] = wave
        for name, value in (("flux", flux), ("error", sigma), ("mask", np.zeros_like(flux, dtype=int))):
            file[f"dataset/arrays/{name}/value"] = value
        if noisy:
            file["dataset/arrays/noisy/value"] = flux + 0.01
    return labels, flux, sigma, mag
