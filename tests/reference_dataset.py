"""Dataset files as the reference work wrote them: its keys, and its 35-column pandas table in either layout."""

import pickle

import h5py
import numpy as np

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


def write_shard(path, count=300, seed=0, noisy=False, wave=None, layout="table"):
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
    columns = {
        "id": np.arange(count),
        "redshift": np.zeros(count),
        "exp_count": np.full(count, 12),
        "exp_time": np.full(count, 900.0),
        "seeing": generator.uniform(0.5, 1.5, count),
        "target_zenith_angle": generator.uniform(0, 45, count),
        "target_field_angle": generator.uniform(0, 0.65, count),
        "moon_zenith_angle": generator.uniform(30, 90, count),
        "moon_target_angle": generator.uniform(60, 180, count),
        "moon_phase": np.zeros(count),
        "snr": generator.uniform(3, 20, count),
        "mag": mag,
        "M_H": labels[:, 2],
        "a_M": labels[:, 3],
        "C_M": labels[:, 4],
        "T_eff": labels[:, 0],
        "log_g": labels[:, 1],
    }
    columns |= {name: np.full(count, np.nan) for name in EMPTY_COLUMNS}
    columns |= {"interp_param": np.full(count, b"log_g")}
    assert len(columns) == 35
    with h5py.File(path, "w") as file:
        write_table[layout](file.create_group("dataset/params"), columns)
        file["spectrumdataset/wave"] = wave
        for name, value in (("flux", flux), ("error", sigma), ("mask", np.zeros_like(flux, dtype=int))):
            file[f"dataset/arrays/{name}/value"] = value
        if noisy:
            file["dataset/arrays/noisy/value"] = flux + 0.01
    return labels, flux, sigma, mag


def _blocks(columns):
    """The columns by type, in the order in which the types appear: what pandas calls blocks."""
    blocks = {}
    for name, values in columns.items():
        blocks.setdefault(values.dtype, {})[name] = values
    return list(blocks.values())


def _write_appendable(group, columns):
    """The layout of `to_hdf(format="table")`: one array of records, its columns named in pickled lists."""
    blocks = _blocks(columns)
    fields = [("index", np.int64)] + [
        (f"values_block_{i}", next(iter(block.values())).dtype, (len(block),))
        for i, block in enumerate(blocks)
    ]
    records = np.zeros(len(columns["id"]), fields)
    records["index"] = columns["id"]
    for i, block in enumerate(blocks):
        records[f"values_block_{i}"] = np.column_stack(list(block.values()))
    group.attrs["pandas_type"] = np.bytes_("frame_table")
    table = group.create_dataset("table", data=records, chunks=(64,), maxshape=(None,))
    for i, block in enumerate(blocks):
        table.attrs[f"values_block_{i}_kind"] = np.bytes_(pickle.dumps(list(block), 0))
        table.attrs[f"values_block_{i}_meta"] = np.bytes_("N.")
        table.attrs[f"values_block_{i}_dtype"] = np.bytes_(next(iter(block.values())).dtype.name)


def _write_fixed(group, columns):
    """The layout of `to_hdf(format="fixed")`: an array per block; text is one pickle of the whole column."""
    blocks = _blocks(columns)
    group.attrs["pandas_type"] = np.bytes_("frame")
    group.attrs["nblocks"] = len(blocks)
    for i, block in enumerate(blocks):
        group[f"block{i}_items"] = np.array([name.encode() for name in block])
        values = np.column_stack(list(block.values()))
        if values.dtype.kind == "S":
            write_pickle(group, f"block{i}_values", values.astype(object))
        else:
            group[f"block{i}_values"] = values
            group[f"block{i}_values"].attrs["transposed"] = np.uint8(1)


def write_pickle(group, key, content):
    """An array of one Python object, as PyTables stores it."""
    dataset = group.create_dataset(key, (1,), h5py.vlen_dtype(np.uint8))
    dataset[0] = np.frombuffer(pickle.dumps(content), np.uint8)
    dataset.attrs["PSEUDOATOM"] = np.bytes_("object")


write_table = {"table": _write_appendable, "fixed": _write_fixed}
