"""Many stars: nothing is lost or done twice, whatever ends a command, and memory does not grow with their number."""

import errno
import gc
import io
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import weakref
from dataclasses import replace

import pytest

import made_stars
import observed_files as files
from specvit.cli import main
from specvit.errors import ConfigError, DataError, RunError
from specvit.observed import ReadOptions, read_spectra
from specvit.starlist import FitRecipe, StarInput, StarListJob, work
from specvit.stellar import StarFitSettings


@pytest.fixture
def quick(monkeypatch):
    """No fits; parts of three stars."""
    monkeypatch.setattr("specvit.starlist.recipe.StarFitter", made_stars.QuickFitter)
    monkeypatch.setattr(work, "PART", 3)
    monkeypatch.setattr("specvit.starlist.recipe._FITTERS", {})
    monkeypatch.setattr("specvit.starlist.recipe.mask_costs", lambda *_: {})
    made_stars.QuickFitter.seen = []
    return made_stars.QuickFitter


def job_of(paths, folder, **settings):
    options = ReadOptions(medium="vacuum")
    recipe = FitRecipe(settings=StarFitSettings(**settings))
    return StarListJob([StarInput(str(path), options) for path in paths], recipe, folder)


def names(job):
    return [star["name"] for star in job.stars()]


def test_the_rows_are_in_the_order_of_the_list(quick, tmp_path):
    paths = made_stars.write_list(tmp_path / "a", 8)[::-1]
    paths.insert(3, tmp_path / "missing.txt")
    job = job_of(paths, tmp_path / "parts")
    told = []
    job.run(progress=lambda *numbers: told.append(numbers))
    assert names(job) == [path.name for path in paths]
    assert told == [(0, 9, 0), (3, 9, 3), (6, 9, 6), (9, 9, 9)]
    assert (job.counts().stars, job.counts().refused) == (9, 1)
    assert "no such file" in job.counts().reason


def test_a_job_that_ends_anywhere_is_continued_without_doing_anything_twice(quick, tmp_path, monkeypatch):
    paths = made_stars.write_list(tmp_path / "a", 10)
    write = work.PartsFolder.write
    left = [2]

    def failing(self, *arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(self, *arguments)

    monkeypatch.setattr(work.PartsFolder, "write", failing)
    with pytest.raises(KeyboardInterrupt):
        job_of(paths, tmp_path / "parts").run()
    left[0] = 100
    first = len(quick.seen)
    assert first == 9  # two parts were kept, the third was lost
    job = job_of(paths, tmp_path / "parts")
    job.run()
    assert len(quick.seen) - first == 4
    assert names(job) == [path.name for path in paths]
    job.run()
    assert len(quick.seen) == first + 4


def test_a_file_of_many_targets_is_continued_within(quick, tmp_path, monkeypatch):
    path = files.desi(tmp_path / "a.fits", files.Star(step=5.0), targets=8, dead=(1, 7))
    whole = job_of([path], tmp_path / "whole")
    whole.run()
    expected = names(whole)
    assert len(expected) == 8
    write, calls = work.PartsFolder.write, []

    def failing(self, *arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(self, *arguments)

    monkeypatch.setattr(work.PartsFolder, "write", failing)
    with pytest.raises(KeyboardInterrupt):
        job_of([path], tmp_path / "parts").run()
    quick.seen.clear()
    job = job_of([path], tmp_path / "parts")
    job.run()
    assert len(quick.seen) == 4  # targets 3 to 7, one of them dead
    assert names(job) == expected


def test_what_was_asked_otherwise_or_has_changed_is_done_again(quick, tmp_path):
    paths = made_stars.write_list(tmp_path / "a", 4)
    job_of(paths, tmp_path / "parts").run()
    quick.seen.clear()
    os.utime(paths[1], ns=(1, 1))
    job_of(paths, tmp_path / "parts").run()
    assert quick.seen == [f"{paths[1]} ({paths[1].name})"]
    quick.seen.clear()
    job_of(paths, tmp_path / "parts", model_error=0.01).run()
    assert len(quick.seen) == 4
    quick.seen.clear()
    longer = [*made_stars.write_list(tmp_path / "b", 1), *paths]
    job = job_of(longer, tmp_path / "parts")
    job.run()
    assert len(quick.seen) == 1
    assert names(job) == [path.name for path in longer]


def test_what_could_not_be_opened_is_tried_again(quick, tmp_path):
    paths = made_stars.write_list(tmp_path / "a", 2)
    job = job_of([*paths, tmp_path / "c.txt"], tmp_path / "parts")
    job.run()
    assert job.counts().refused == 1
    made_stars.write_list(tmp_path / "b", 1)[0].rename(tmp_path / "c.txt")
    again = job_of([*paths, tmp_path / "c.txt"], tmp_path / "parts")
    quick.seen.clear()
    again.run()
    assert again.counts().refused == 0
    assert len(quick.seen) == 1


def test_a_damaged_part_is_named(quick, tmp_path):
    job = job_of(made_stars.write_list(tmp_path / "a", 4), tmp_path / "parts")
    job.run()
    part = next((tmp_path / "parts").glob("*.jsonl"))
    for content in (b"", b"{}\n", b'{"entries": [["a", 0, 1, "odd"]]}\n', b"\xff\xfe"):
        part.write_bytes(content)
        with pytest.raises(DataError, match=f"{part.name}.*move it away"):
            job.index()
    part.unlink()
    job.run()
    assert job.counts().stars == 4


def test_two_commands_do_not_write_the_same_table(quick, tmp_path):
    job = job_of(made_stars.write_list(tmp_path / "a", 1), tmp_path / "parts")
    with job.parts.locked(), pytest.raises(RunError, match="another process is at work"):
        job.run()


def test_no_workers_are_none(quick, tmp_path):
    job = job_of(made_stars.write_list(tmp_path / "a", 1), tmp_path / "parts")
    with pytest.raises(ConfigError, match="--workers"):
        job.run(workers=0)


def test_memory_does_not_grow_with_the_number_of_stars(quick, tmp_path, monkeypatch):
    """Of spectra no more are alive than a part has; of all else a file costs less than a kilobyte."""
    alive, most = weakref.WeakSet(), [0]
    replaced = work.replace

    def counted(spectrum, **changes):
        found = replaced(spectrum, **changes)
        alive.add(found)
        most[0] = max(most[0], len(alive))
        return found

    monkeypatch.setattr(work, "replace", counted)
    # A spectrum is a dataclass with arrays: equal by content, it has no hash.
    monkeypatch.setattr("specvit.observed.ObservedSpectrum.__hash__", object.__hash__)
    monkeypatch.setattr("specvit.observed.ObservedSpectrum.__eq__", object.__eq__)
    peaks = []
    paths = made_stars.write_list(tmp_path / "a", 160)
    for count in (20, 40, 160):
        job = job_of(paths[:count], tmp_path / f"parts{count}")
        gc.collect()
        tracemalloc.start()
        job.run()
        assert sum(1 for _ in job.stars()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # One more is read before the part is closed.
    assert most[0] <= work.PART + 1
    assert peaks[2] - peaks[1] < 120 * 1500, peaks


SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
import made_stars
from specvit.starlist import recipe, work

class SlowFitter(made_stars.QuickFitter):
    def fit(self, spectra):
        time.sleep(0.3)
        return super().fit(spectra)

work.PART, recipe.StarFitter = 2, SlowFitter
sys.argv = ["specvit", *sys.argv[1:]]
from specvit.cli import main
sys.exit(main())
"""


def started(words, parts):
    """Return a command that has kept at least one part."""
    script = SLOW.format(tests=os.path.dirname(made_stars.__file__))
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not list(parts.glob("*.jsonl")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    return process


def test_a_killed_command_goes_on(quick, tmp_path):
    """kill -9 while stars are fitted; the same command then does the rest, and the table is that of one command."""
    made_stars.write_list(tmp_path / "a", 12)
    out, parts = tmp_path / "stars.csv", tmp_path / "stars.csv.parts"
    words = ["predict", str(tmp_path / "a"), "--medium", "vacuum", "--out", str(out)]
    process = started(words, parts)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    done = sum(len(path.read_text().splitlines()) - 1 for path in parts.glob("*.jsonl"))
    assert 2 <= done < 12
    assert main(words) == 0
    assert len(quick.seen) == 12 - done
    assert not parts.exists()
    whole = tmp_path / "whole.csv"
    assert main([*words[:-1], str(whole)]) == 0
    assert out.read_text() == whole.read_text()
    assert len(whole.read_text().splitlines()) == 13


def test_ctrl_c_says_how_to_go_on(tmp_path):
    made_stars.write_list(tmp_path / "a", 12)
    out = tmp_path / "with blank.csv"
    process = started(["predict", str(tmp_path / "a"), "--out", str(out)], tmp_path / "with blank.csv.parts")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    line, last = said.splitlines()[-2:]
    assert "of 12 files are done" in line
    assert line.endswith(f"specvit predict {tmp_path / 'a'} --out '{out}'")
    assert last.startswith("interrupted: the same command continues")


@pytest.mark.slow
def test_workers_find_what_one_process_finds(tmp_path):
    example = tmp_path / "0.fits"
    assert main(["predict", "--example", str(example)]) == 0
    paths = [example, tmp_path / "1.fits", tmp_path / "no.fits"]
    paths[1].write_bytes(example.read_bytes())
    alone = job_of(paths, tmp_path / "alone")
    alone.run()
    together = job_of(paths, tmp_path / "together")
    together.run(workers=2)
    for one, other in zip(alone.stars(), together.stars(), strict=True):
        assert one["file"] == other["file"]
        # Batches of other sizes round otherwise.
        assert one.get("log_g") == pytest.approx(other.get("log_g"), abs=1e-3)


def test_json_holds_every_star(quick, tmp_path, capsys):
    made_stars.write_list(tmp_path / "a", 5)
    assert main(["predict", str(tmp_path / "a"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["stars"]) == 5


def test_a_star_of_which_something_is_known_is_fitted_where_networks_answer(quick, tmp_path):
    class Networks:
        def fit(self, spectra):
            return [("network", spectrum.name) for spectrum in spectra]

    fitter = FitRecipe().fitter()
    fitter._networks = Networks()
    paths = made_stars.write_list(tmp_path / "a", 3)
    plain = [read_spectra(path, ReadOptions(medium="vacuum"))[0] for path in paths]
    spectra = [plain[0], replace(plain[1], known={"teff": (5000.0, 10.0)}), plain[2]]
    first, known, last = fitter.fit(spectra)
    assert (first, last) == (("network", plain[0].name), ("network", plain[2].name))
    assert known[0].name == plain[1].name


def test_a_cluster_does_the_list(quick, tmp_path):
    distributed = pytest.importorskip("distributed")
    job = job_of(made_stars.write_list(tmp_path / "a", 7), tmp_path / "parts")
    told = []
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        job.run(dask=cluster.scheduler_address, progress=lambda *numbers: told.append(numbers))
    assert names(job) == [f"star{k:04d}.txt" for k in range(7)]
    assert told[-1][:2] == (7, 7)
    assert len(quick.seen) == 7


def test_no_scheduler_is_one_line(quick, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("specvit.runs.cluster.DASK_TIMEOUT", "0.2s")
    job = job_of(made_stars.write_list(tmp_path / "a", 1), tmp_path / "parts")
    with pytest.raises(RunError, match="no scheduler answers there"):
        job.run(dask="tcp://127.0.0.1:1")


def test_a_full_disk_is_named_and_the_same_command_goes_on(quick, tmp_path, monkeypatch, capsys):
    made_stars.write_list(tmp_path / "a", 7)
    out = tmp_path / "stars.csv"
    words = ["predict", str(tmp_path / "a"), "--medium", "vacuum", "--out", str(out)]
    replaced, left = os.replace, [1]

    def full(source, target):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        replaced(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert main(words) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "cannot write" in line
    assert "the disk is full; free some space and give the same command again, it continues" in line
    assert not list((tmp_path / "stars.csv.parts").glob("*.partial"))
    monkeypatch.undo()
    monkeypatch.setattr("specvit.starlist.recipe.StarFitter", made_stars.QuickFitter)
    quick.seen.clear()
    assert main(words) == 0
    assert len(quick.seen) == 4
    assert len(out.read_text().splitlines()) == 8


def test_a_place_that_cannot_be_written_is_said_before_anything_is_read(quick, tmp_path, capsys):
    paths = made_stars.write_list(tmp_path / "a", 1)
    assert main(["predict", str(paths[0]), "--out", str(paths[0] / "stars.csv")]) == 1
    assert "a file stands where a folder is needed" in capsys.readouterr().err
    assert quick.seen == []


def test_a_list_on_standard_input(quick, tmp_path, monkeypatch, capsys):
    paths = made_stars.write_list(tmp_path / "a", 2)
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{path}\n" for path in paths)))
    assert main(["predict", "-", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["stars"]) == 2


def test_a_spectrum_that_breaks_the_fit_is_refused_alone(quick, tmp_path, monkeypatch):
    paths = made_stars.write_list(tmp_path / "a", 5)
    fit = made_stars.QuickFitter.fit

    def breaking(self, spectra):
        if any(spectrum.name == paths[3].name for spectrum in spectra):
            raise RuntimeError("linalg.inv: the\nmatrix is singular")
        return fit(self, spectra)

    monkeypatch.setattr(made_stars.QuickFitter, "fit", breaking)
    job = job_of(paths, tmp_path / "parts")
    job.run()
    reasons = [star.get("reason", "") for star in job.stars()]
    assert [bool(reason) for reason in reasons] == [False, False, False, True, False]
    assert "star0003.txt" in reasons[3]
    assert "the fit failed (RuntimeError: linalg.inv: the matrix is singular)" in reasons[3]


def test_a_mistake_of_the_command_ends_it(quick, tmp_path, monkeypatch):
    def mistaken(self, spectra):
        raise ConfigError("priors: 'age' is no label")

    monkeypatch.setattr(made_stars.QuickFitter, "fit", mistaken)
    with pytest.raises(ConfigError, match="age"):
        job_of(made_stars.write_list(tmp_path / "a", 2), tmp_path / "parts").run()
