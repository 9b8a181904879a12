"""Downloads from a local server: resuming, verification, retries, and the plan of the BOSZ archive."""

import bz2
import gzip
import json
import threading
import urllib.parse
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from specvit.cli import main
from specvit.errors import ConfigError, DataError, RunError
from specvit.library import download as engine
from specvit.library.download import DownloadPlan, NotOnServer, RemoteFile, damage, download, fetch, read_url
from specvit.library.importers.bosz_archive import plan_bosz


class Archive:
    """A server of `files` (path -> bytes) that understands ranges and can be told to misbehave."""

    def __init__(self):
        self.files, self.requests, self.ranges = {}, Counter(), []
        self.ignore_ranges, self.cut, self.errors = False, {}, {}
        archive = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def answer(self, body):
                path = urllib.parse.unquote(self.path)
                archive.requests[self.command, path] += 1
                if archive.errors.get(path):
                    self.send_error(archive.errors[path].pop())
                    return
                if path not in archive.files:
                    self.send_error(404)
                    return
                content, start = archive.files[path], 0
                asked = self.headers.get("Range")
                if asked and not archive.ignore_ranges:
                    start = int(asked.removeprefix("bytes=").rstrip("-"))
                    archive.ranges.append((path, start))
                    if start >= len(content):
                        self.send_error(416)
                        return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                if body:
                    stop = archive.cut.pop(path, len(content))
                    self.wfile.write(content[start:stop])

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def archive(monkeypatch):
    monkeypatch.setattr(engine, "FIRST_PAUSE_S", 0.01)
    archive = Archive()
    yield archive
    archive.close()


def packed(seed=0, size=200_000):
    return gzip.compress(np.random.default_rng(seed).integers(0, 99, size, dtype=np.uint8).tobytes(), mtime=0)


def test_a_file_is_fetched_verified_and_named(archive, tmp_path):
    archive.files["/a.txt.gz"] = packed()
    received = fetch(RemoteFile(f"{archive.url}/a.txt.gz", tmp_path / "deep" / "a.txt.gz"))
    assert received == len(packed())
    assert (tmp_path / "deep" / "a.txt.gz").read_bytes() == packed()
    assert not list(tmp_path.rglob("*.partial"))


def test_half_a_file_is_continued_not_fetched_again(archive, tmp_path):
    archive.files["/a.txt.gz"] = packed()
    half = len(packed()) // 2
    (tmp_path / "a.txt.gz.partial").write_bytes(packed()[:half])
    received = fetch(RemoteFile(f"{archive.url}/a.txt.gz", tmp_path / "a.txt.gz"))
    assert archive.ranges == [("/a.txt.gz", half)]
    assert received == len(packed()) - half
    assert (tmp_path / "a.txt.gz").read_bytes() == packed()


def test_a_whole_partial_file_only_needs_its_name(archive, tmp_path):
    archive.files["/a.txt.gz"] = packed()
    (tmp_path / "a.txt.gz.partial").write_bytes(packed())
    assert fetch(RemoteFile(f"{archive.url}/a.txt.gz", tmp_path / "a.txt.gz")) == 0
    assert (tmp_path / "a.txt.gz").read_bytes() == packed()


def test_a_server_without_ranges_starts_the_file_again(archive, tmp_path):
    archive.files["/a.txt.gz"], archive.ignore_ranges = packed(), True
    (tmp_path / "a.txt.gz.partial").write_bytes(b"x" * 1000)
    fetch(RemoteFile(f"{archive.url}/a.txt.gz", tmp_path / "a.txt.gz"))
    assert (tmp_path / "a.txt.gz").read_bytes() == packed()


def test_a_broken_line_is_resumed_where_it_broke(archive, tmp_path):
    archive.files["/a.txt.gz"] = packed()
    archive.cut["/a.txt.gz"] = 50_000
    fetch(RemoteFile(f"{archive.url}/a.txt.gz", tmp_path / "a.txt.gz"))
    assert archive.ranges == [("/a.txt.gz", 50_000)]
    assert (tmp_path / "a.txt.gz").read_bytes() == packed()


def test_a_damaged_partial_file_is_fetched_anew(archive, tmp_path):
    archive.files["/a.txt.gz"] = packed()
    (tmp_path / "a.txt.gz.partial").write_bytes(b"x" * 1000)
    fetch(RemoteFile(f"{archive.url}/a.txt.gz", tmp_path / "a.txt.gz"))
    assert (tmp_path / "a.txt.gz").read_bytes() == packed()
    assert archive.requests["GET", "/a.txt.gz"] == 2


def test_a_file_damaged_on_the_server_is_refused(archive, tmp_path):
    content = bytearray(packed())
    content[len(content) // 2] ^= 0xFF
    archive.files["/a.txt.gz"] = bytes(content)
    with pytest.raises(RunError, match="arrives damaged"):
        fetch(RemoteFile(f"{archive.url}/a.txt.gz", tmp_path / "a.txt.gz"), retries=1)
    assert not (tmp_path / "a.txt.gz").exists()


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(archive, tmp_path):
    archive.files["/a.txt.gz"] = packed()
    archive.errors["/a.txt.gz"] = [503, 500]
    fetch(RemoteFile(f"{archive.url}/a.txt.gz", tmp_path / "a.txt.gz"))
    archive.errors["/b.txt.gz"] = [403]
    with pytest.raises(RunError, match="answers 403"):
        fetch(RemoteFile(f"{archive.url}/b.txt.gz", tmp_path / "b.txt.gz"))
    assert archive.requests["GET", "/b.txt.gz"] == 1


def test_no_server_is_one_clear_line():
    with pytest.raises(RunError, match=r"cannot be reached.*needs the internet") as caught:
        read_url("http://127.0.0.1:9/list.sh", retries=0)
    assert "\n" not in str(caught.value)


def test_many_files_are_fetched_and_missing_ones_counted(archive, tmp_path):
    for k in range(6):
        archive.files[f"/{k}.txt.gz"] = packed(k, 2000)
    files = [RemoteFile(f"{archive.url}/{k}.txt.gz", tmp_path / f"{k}.txt.gz") for k in range(8)]
    seen = []
    report = download(DownloadPlan("test", files, 1000.0), progress=lambda *a: seen.append(a))
    assert (report.fetched, sorted(report.missing)) == (6, ["6.txt.gz", "7.txt.gz"])
    assert seen[-1] == (8, 8)
    again = DownloadPlan("test", files[:6], 1000.0)
    assert again.remaining == []
    assert again.bytes_needed == 0
    before = sum(archive.requests.values())
    assert download(again).fetched == 0
    assert sum(archive.requests.values()) == before


def test_a_disk_that_is_too_small_stops_before_the_first_file(archive, tmp_path):
    files = [RemoteFile(f"{archive.url}/a.txt.gz", tmp_path / "a.txt.gz")]
    with pytest.raises(RunError, match="choose another folder"):
        download(DownloadPlan("test", files, 1e18))
    assert not archive.requests


def test_damage_is_found_at_the_last_byte(tmp_path):
    path = tmp_path / "a"
    for content, suffix, good in (
        (packed(), ".gz", True),
        (packed()[:-1], ".gz", False),
        (b"", ".txt", False),
        (b"x", ".txt", True),
        (b"x", ".bz2", False),
    ):
        path.write_bytes(content)
        assert (damage(path, suffix) is None) == good


# --- the BOSZ archive

NAME = "bosz2024_{family}_t{teff}_g+4.5_m{m_h}_a+0.00_c+0.00_v{v}_r20000_resam.txt.gz"


def fill_2024(archive):
    """Lists and files for two metallicities as the archive lays them out."""
    for m_h in ("-0.25", "+0.00"):
        names = [
            NAME.format(family=family, teff=teff, m_h=m_h, v=v)
            for family, teff, v in (
                ("mp", 4500, 2),
                ("mp", 4750, 2),
                ("mp", 4750, 1),
                ("ap", 4750, 2),
                ("mp", 7000, 2),
            )
        ]
        urls = [f"wget https://archive.stsci.edu/hlsps/bosz/bosz2024/r20000/m{m_h}/{name}" for name in names]
        script = "#!/bin/bash\n" + "\n".join(url.replace("+", "%2B") for url in urls)
        archive.files[f"/download_scripts/hlsp_bosz_bosz2024_sim_r20000_m{m_h}_v1_bulkdl.sh"] = (
            script.encode()
        )
        for name in names:
            archive.files[f"/r20000/m{m_h}/{name}"] = packed(len(archive.files), 3000)
    archive.files["/wavelength_grids/bosz2024_wave_r20000.txt"] = b"8000.0\n8000.2\n"


def test_the_2024_plan_takes_what_the_archive_lists_inside_the_limits(archive, tmp_path):
    fill_2024(archive)
    plan = plan_bosz(2024, tmp_path, 20_000, {"m_h": (-0.25, 0.0)}, base_url=archive.url)
    names = [file.path.relative_to(tmp_path).as_posix() for file in plan.files]
    assert names == [
        "bosz2024_wave_r20000.txt",
        *(
            f"r20000/m{m}/{NAME.format(family='mp', teff=t, m_h=m, v=2)}"
            for m in ("-0.25", "+0.00")
            for t in (4500, 4750)
        ),
    ]
    assert all("+" not in file.url for file in plan.files)
    assert plan.bytes_per_file == pytest.approx(len(packed(0, 3000)), rel=0.05)
    report = download(plan)
    assert (report.fetched, report.missing) == (5, [])
    assert plan_bosz(2024, tmp_path, 20_000, {"m_h": (-0.25, 0.0)}, base_url=archive.url).remaining == []


def test_the_2017_plan_asks_for_every_node_and_counts_holes(archive, tmp_path):
    limits = {
        "teff": (4000, 4250),
        "log_g": (1.5, 2.0),
        "m_h": (-0.25, -0.25),
        "alpha_m": (0, 0),
        "c_m": (-0.75, -0.75),
    }
    folder = "/insbroad_050000/metal_-0.25/carbon_-0.75/alpha_+0.00"
    for teff in (4000, 4250):
        archive.files[f"{folder}/amm03cm08op00t{teff}g15v20modrt0b50000rs.asc.bz2"] = bz2.compress(b"1 2 3\n")
    plan = plan_bosz(2017, tmp_path, 50_000, limits, base_url=archive.url)
    assert len(plan.files) == 4
    report = download(plan)
    assert report.fetched == 2
    assert sorted(report.missing)[0] == "amm03cm08op00t4000g20v20modrt0b50000rs.asc.bz2"


def test_the_command_says_what_it_takes_and_waits_for_consent(archive, tmp_path, capsys):
    fill_2024(archive)
    options = [
        "--folder",
        str(tmp_path),
        "--resolution",
        "20000",
        "--limit",
        "m_h=0",
        "--base-url",
        archive.url,
    ]
    command = ["library", "download", "bosz", *options]
    assert main(command) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "BOSZ 2024, R = 20000: 3 files into" in error
    assert "3 to fetch, 0.00 GB" in error
    assert "add --yes to start" in error
    assert not list(tmp_path.rglob("*.gz"))
    assert main([*command, "--yes", "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["fetched"], outcome["not_on_server"]) == (3, 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"release": 2020}, ConfigError, "choose 2017 or 2024"),
        ({"release": 2024, "resolution": 300_000}, ConfigError, "has no R = 300000"),
        ({"release": 2017, "microturbulence": 1}, ConfigError, "2 km/s only"),
        ({"release": 2024, "atmosphere": "xx"}, ConfigError, "'xx' is not known"),
        ({"release": 2024, "resolution": 20_000, "limits": {"m_h": (0.5, 0.5)}}, DataError, "no such list"),
        (
            {"release": 2024, "resolution": 20_000, "limits": {"m_h": (0, 0), "teff": (8000, 8001)}},
            DataError,
            "widen",
        ),
    ],
)
def test_plans_that_cannot_be_made(archive, tmp_path, options, error, message):
    fill_2024(archive)
    with pytest.raises(error, match=message):
        plan_bosz(folder=tmp_path, base_url=archive.url, **options)


def test_what_is_not_there_is_told_apart(archive, tmp_path):
    with pytest.raises(NotOnServer, match="not on the server"):
        fetch(RemoteFile(f"{archive.url}/none.gz", Path(tmp_path) / "none.gz"))
