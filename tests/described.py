"""Instrument descriptions as people write them, for tests: a small valid one, what may differ, and mends applied."""

import re

import numpy as np

from specvit.documents import dump_toml, load_toml, parse_value
from specvit.errors import SpecvitError
from specvit.instrument import Instrument

#: A spectrograph inside the built-in library; tests replace tables of it.
PLAIN = {
    "format_version": 1,
    "name": "mine",
    "description": "a spectrograph",
    "grid": {"start": 8400.0, "step": 0.8, "pixels": 200},
    "lsf": {"kind": "gaussian", "resolving_power": 4000.0},
    "band": {"name": "i"},
    "object": {"area": 10.0, "throughput": 0.2},
    "sky": {"background": 0.2},
    "detector": {"read_noise": 3.0},
    "conditions": {"mag": {"low": 17.0, "high": 20.0}, "exposure_time": 1200.0, "exposure_count": 2},
}

#: How a refusing message spells its mend.
MEND = re.compile(r"set ([a-z_.]+) = (\{.*?\}|true|false|[-+0-9.eE]+)")


def written(folder, name="mine.toml", tables=None, without=(), **changes):
    """Write PLAIN with tables replaced; return the path of the file.

    `tables` are arrays to lie beside it, or the section that says where they lie.
    """
    described = {key: value for key, value in (PLAIN | changes).items() if key not in without}
    if tables and "file" in tables:
        described["tables"] = tables
    elif tables:
        np.savez(folder / f"{name}.npz", **tables)
        described["tables"] = {"file": f"{name}.npz"}
    path = folder / name
    path.write_text(dump_toml(described), encoding="utf-8")
    return path


def loaded(folder, *arguments, **changes):
    return Instrument.load(written(folder, *arguments, **changes))


def seen_through(path, emulator):
    """Return the instrument as a run uses it, and the library through it."""
    instrument = Instrument.load(path).clipped_to(emulator.grid)
    return instrument, instrument.observe(emulator)


def mended(path, message, folder):
    """Return a file that says what `message` says to set, beside its tables; None if it says nothing."""
    if (found := MEND.search(message)) is None:
        return None
    described, _ = load_toml(path)
    inner = described
    *section, key = found[1].split(".")
    for part in section:
        inner = inner.setdefault(part, {})
    inner[key] = parse_value(found[2])
    if "tables" in described:
        described["tables"]["file"] = str((path.parent / described["tables"]["file"]).absolute())
    mend = folder / path.name
    mend.write_text(dump_toml(described), encoding="utf-8")
    return mend


def works_or_is_mended(path, emulator, folder):
    """Return instrument, observed library and the refusals that were mended on the way, as they say."""
    refusals = []
    while len(refusals) < 5:
        try:
            return *seen_through(path, emulator), refusals
        except SpecvitError as error:
            message = str(error)
            assert message.isprintable()
            refusals.append(message)
            path = mended(path, message, folder)
            assert path is not None, f"no mend in: {message}"
    raise AssertionError(f"mends do not end: {refusals}")


def calculator_outputs(folder, name="ref", exposures=8):
    """Write files of the true form: README of Subaru-PFS/spt_ExposureTimeCalculator; formats of its example."""
    rows, noise = [], []
    for arm, first, step in ((0, 380.0, 0.083), (1, 840.0, 0.083), (3, 840.0, 0.04272)):
        for pixel in range(200):
            wavelength = first + step * pixel
            conversion = (2.5 + 0.3 * np.sin(pixel / 9)) * 1e29
            mag = 22.5 + 0.002 * pixel
            signal = conversion * 3.631e-20 * 10 ** (-0.4 * mag)
            variance, sky = 200.0 + pixel, 100.0 + pixel
            snr = np.sqrt(exposures) * signal / np.sqrt(signal + variance)
            rows.append(
                f"{arm:d} {pixel:4d} {wavelength:9.3f} {snr:8.4f} {signal:11.5E} {variance:11.5E} "
                f"{signal + variance:11.5E} {mag:11.5E} {conversion:11.5E} {1.0:11.5E} {sky:12.5E}"
            )
            noise.append(f"{arm:d} {pixel:4d} {wavelength:9.3f} {variance:11.5E} {sky:11.5E}")
    (folder / f"{name}.snc.dat").write_text("\n".join(rows) + "\n")
    (folder / f"{name}.noise.dat").write_text("\n".join(noise) + "\n")
