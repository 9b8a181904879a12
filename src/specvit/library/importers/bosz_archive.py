"""Where the BOSZ files lie in the MAST archive, and which of them make a library.

- 2024 (https://archive.stsci.edu/hlsp/bosz): `r<R>/m<metallicity>/<name>` under the base address, wavelengths
  in `wavelength_grids/bosz2024_wave_r<R>.txt`. The grid has holes, so the files that exist are taken from the
  archive's own lists, `download_scripts/hlsp_bosz_bosz2024_sim_r<R>_m<metallicity>_v1_bulkdl.sh`.
- 2017 (https://archive.stsci.edu/prepds/bosz/): `insbroad_<R>/metal_<m>/carbon_<c>/alpha_<a>/<name>`. There
  are no lists: every node of the published axes is asked for, and those the archive lacks are counted.

A `+` in a name must be sent as `%2B`.
"""

from __future__ import annotations

import itertools
import re
import urllib.parse
from pathlib import Path

import numpy as np

from specvit.errors import ConfigError, DataError
from specvit.library.download import DownloadPlan, NotOnServer, RemoteFile, read_url, size_of
from specvit.library.importers import bosz2017, bosz2024
from specvit.library.importers.nodes import Limits, check_limits
from specvit.spectra import LOW_T_BOX

BASE_2024 = "https://archive.stsci.edu/hlsps/bosz/bosz2024"
BASE_2017 = "https://archive.stsci.edu/missions/hlsp/bosz/ascii"
RESOLUTIONS_2024 = (500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
MICROTURBULENCES_2024 = (0, 1, 2, 4)
RESOLUTIONS_2017 = (200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 300_000)

#: Published axes of both grids (2017: Bohlin et al. 2017; 2024 has the same metallicities and abundances).
METALLICITIES = np.arange(-2.5, 0.76, 0.25)
CARBON = np.arange(-0.75, 0.51, 0.25)
ALPHA = np.arange(-0.25, 0.51, 0.25)
GRAVITIES = np.arange(0.0, 5.1, 0.5)
TEMPERATURES_2017 = np.concatenate(
    [np.arange(3500, 12_001, 250), np.arange(12_500, 20_000, 500), np.arange(20_000, 35_001, 1000)]
)

#: Files asked for their size, to estimate that of the whole.
SIZE_SAMPLES = 3


def plan_bosz(
    release: int,
    folder: Path,
    resolution: int = 50_000,
    limits: Limits | None = None,
    atmosphere: str = "mp,ms",
    microturbulence: int = 2,
    base_url: str | None = None,
) -> DownloadPlan:
    """Return the plan of downloading a part of BOSZ; asks the server for lists and sizes.

    Args:
        release: 2017 or 2024.
        folder: where the files go, in the archive's own sub-folders.
        resolution: one of the archive's.
        limits: label -> (low, high); labels left out have the limits of the low-temperature box.
        atmosphere: 2024 only: families to take, from mp, ms, ap.
        microturbulence: km/s; 2024 has 0, 1, 2 and 4, 2017 only 2.
        base_url: another address of the archive.

    Raises:
        ConfigError: for a release or resolution that does not exist.
        DataError: if no file lies inside the limits.
        RunError: if the server cannot be reached.
    """
    known = {2017: RESOLUTIONS_2017, 2024: RESOLUTIONS_2024}
    if release not in known:
        raise ConfigError(f"release: {release} is not known; choose 2017 or 2024")
    if resolution not in known[release]:
        raise ConfigError(
            f"resolution: BOSZ {release} has no R = {resolution}; "
            f"choose {', '.join(map(str, known[release]))}"
        )
    if release == 2017 and microturbulence != 2:
        raise ConfigError(f"microturbulence: BOSZ 2017 has 2 km/s only, got {microturbulence}")
    if release == 2024 and microturbulence not in MICROTURBULENCES_2024:
        raise ConfigError(
            f"microturbulence: BOSZ 2024 has {', '.join(map(str, MICROTURBULENCES_2024))} km/s, "
            f"got {microturbulence}"
        )
    check_limits(limits or {})
    default = zip(LOW_T_BOX.names, zip(LOW_T_BOX.low, LOW_T_BOX.high, strict=True), strict=True)
    box = dict(default) | dict(limits or {})
    title = f"BOSZ {release}, R = {resolution}"
    if release == 2017:
        base = base_url or BASE_2017
        names = _names_2017(box, resolution)
        places = {name: f"{_folder_2017(name, resolution)}/{name}" for name in names}
    else:
        base = base_url or BASE_2024
        places = _places_2024(base, box, resolution, set(atmosphere.split(",")), microturbulence)
    if not places:
        raise DataError(f"{title}: no spectrum inside the limits; widen them")
    urls = {name: f"{base}/{urllib.parse.quote(place)}" for name, place in places.items()}
    files = [RemoteFile(urls[name], Path(folder) / place) for name, place in places.items()]
    estimate = _mean_size([file.url for file in files])
    if release == 2024:
        wave = f"bosz2024_wave_r{resolution}.txt"
        # First: no spectrum is of use without it.
        files.insert(0, RemoteFile(f"{base}/wavelength_grids/{wave}", Path(folder) / wave))
    return DownloadPlan(title, files, estimate)


def _names_2017(box: Limits, resolution: int) -> list[str]:
    def inside(name: str, values: np.ndarray) -> list[float]:
        low, high = box[name]
        return [float(v) for v in values if low - 1e-9 <= v <= high + 1e-9]

    axes = itertools.product(
        inside("m_h", METALLICITIES),
        inside("c_m", CARBON),
        inside("alpha_m", ALPHA),
        inside("teff", TEMPERATURES_2017),
        inside("log_g", GRAVITIES),
    )
    return [
        f"am{_token(m)}c{_token(c)}o{_token(a)}t{t:.0f}g{10 * g:02.0f}v20modrt0b{resolution}rs.asc.bz2"
        for m, c, a, t, g in axes
    ]


def _token(value: float) -> str:
    """Return e.g. 'm03' for -0.25: sign and tenths, rounded half up as the archive does."""
    return f"{'m' if value < 0 else 'p'}{int(abs(value) * 10 + 0.5):02d}"


def _folder_2017(name: str, resolution: int) -> str:
    labels = bosz2017.parse_name(Path(name)).labels
    return (
        f"insbroad_{resolution:06d}/metal_{labels['m_h']:+.2f}/carbon_{labels['c_m']:+.2f}/"
        f"alpha_{labels['alpha_m']:+.2f}"
    )


def _places_2024(
    base: str, box: Limits, resolution: int, families: set[str], microturbulence: int
) -> dict[str, str]:
    unknown = families - set(bosz2024.ATMOSPHERES)
    if unknown:
        raise ConfigError(
            f"atmosphere: '{sorted(unknown)[0]}' is not known; choose from {', '.join(bosz2024.ATMOSPHERES)}"
        )
    low, high = box["m_h"]
    places = {}
    for m_h in METALLICITIES[(low - 1e-9 <= METALLICITIES) & (high + 1e-9 >= METALLICITIES)]:
        # + 0.0 turns -0.0 into 0.0: the archive has m+0.00 only.
        token = f"m{m_h + 0.0:+.2f}"
        script = f"hlsp_bosz_bosz2024_sim_r{resolution}_{token}_v1_bulkdl.sh"
        try:
            text = read_url(f"{base}/download_scripts/{urllib.parse.quote(script)}").decode(
                "utf-8", "replace"
            )
        except NotOnServer as error:
            raise DataError(
                f"{script}: the archive has no such list; check --base-url and --resolution"
            ) from error
        for name in sorted(set(re.findall(r"bosz2024_[\w+.-]+?_resam\.txt\.gz", urllib.parse.unquote(text)))):
            node = bosz2024.parse_name(Path(name))
            if (
                node.family in families
                and node.resolution == resolution
                and node.kind == f"microturbulence {microturbulence} km/s"
                and all(lo - 1e-9 <= node.labels[label] <= hi + 1e-9 for label, (lo, hi) in box.items())
            ):
                places[name] = f"r{resolution}/{token}/{name}"
    return places


def _mean_size(urls: list[str]) -> float | None:
    sampled = [urls[i] for i in sorted({0, len(urls) // 2, len(urls) - 1})][:SIZE_SAMPLES]
    sizes = [size for size in map(size_of, sampled) if size]
    return float(np.mean(sizes)) if sizes else None
