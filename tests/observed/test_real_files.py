"""All real files that are here are read, or refused for the right reason; skipped where the folder is absent."""

import csv
import re
from pathlib import Path

import pytest

from specvit.errors import DataError
from specvit.observed import ReadOptions, read_spectra

FOLDER = Path(__file__).resolve().parents[3] / "shared/data/real"
ROWS = []
for parent in Path(__file__).resolve().parents:
    if (parent / "shared/data/real/manifest.csv").exists():
        FOLDER = parent / "shared/data/real"
        with (FOLDER / "manifest.csv").open(encoding="utf-8") as stream:
            ROWS = list(csv.DictReader(stream))
        break

#: What their files do not say and only their makers know.
UNSAID = {"kesseli/K2_+0.0_Dwarf.fits": {"medium": "vacuum", "resolution": 2000}}
FRAMES = {"rest frame": "rest", "rest frame +-40 km/s": "rest", "heliocentric": "barycentric"}
#: The five targets of this file were hardly observed; three have no pixel at all.
EMPTY = "other/coadd-5-169-thru20210419.fits"
DUMMY = "other/pfsObject.fits"

pytestmark = pytest.mark.skipif(not ROWS, reason="there are no real spectra here")


def plain(text):
    return re.sub(r"[^a-z0-9]", "", text.lower().replace("spec-", "").replace(".fits", "")).replace("0", "")


@pytest.mark.parametrize("row", [row for row in ROWS if row["file"] != EMPTY], ids=lambda row: row["file"])
def test_a_real_file_is_read_as_its_makers_made_it(row):
    (spectrum,) = read_spectra(FOLDER / row["file"], ReadOptions(**UNSAID.get(row["file"], {})))
    assert spectrum.medium == row["medium"].split()[0]
    if row["file"] in (DUMMY, "kesseli/K2_+0.0_Dwarf.fits"):
        return  # noise in a star's form, and a template whose frame nothing in the file says
    frame = row["rv_state"]
    assert spectrum.frame == FRAMES.get(frame, frame)
    # Three stars have other names in their files: a source number, a solar reflector, a catalogue's spelling.
    star = row["star"].split("(")[0]
    if row["instrument"] not in ("Gaia RVS", "AAT/HERMES CCD4", "VLT/MUSE"):
        assert plain(star) in plain(spectrum.name) or plain(spectrum.name) in plain(star), spectrum.name
    assert 5 < spectrum.snr < 1000
    assert spectrum.usable.mean() > 0.5
    stated = re.match(r"~?(\d+)", row["R"])
    if "resolution" not in spectrum.assumed:
        assert spectrum.resolution == pytest.approx(float(stated.group(1)), rel=0.2)


def test_a_file_without_light_is_refused_target_by_target():
    if not (FOLDER / EMPTY).exists():
        pytest.skip("not here")
    told = []
    found = read_spectra(FOLDER / EMPTY, refused=lambda name, error: told.append(str(error)))
    assert len(found) + len(told) == 5
    assert len(told) == 4
    assert all("no pixel has a positive inverse variance" in line for line in told)
    assert all(abs(spectrum.snr) < 0.6 for spectrum in found)
    with pytest.raises(DataError, match="no pixel has a positive inverse variance"):
        read_spectra(FOLDER / EMPTY)
