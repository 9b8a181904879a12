"""Which files the words of a command line mean, and what a table of files says of each."""

import pytest

from specvit.errors import ConfigError, DataError
from specvit.observed import ReadOptions
from specvit.starlist import star_inputs
from specvit.starlist.inputs import parse_prior, parse_windows
from specvit.starlist.work import targets_of

OPTIONS = ReadOptions(medium="air")


def inputs(*words, lines=()):
    return star_inputs([str(word) for word in words], OPTIONS, lines)


def test_folders_lists_and_files(tmp_path):
    for name in ("b.fits", "a.csv", "notes.md", "deep/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("7000 1\n")
    found = inputs(tmp_path, "x.fits", "-", lines=["y.fits\n", "\n", " z.fits\n"])
    assert [one.path.removeprefix(f"{tmp_path}/") for one in found] == [
        *("a.csv", "b.fits", "deep/c.txt", "x.fits", "y.fits", "z.fits")
    ]
    assert all(one.options == OPTIONS for one in found)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "ID,File,Resolution,medium,prior\nHD 1,a.fits,2600,vacuum,teff=5000+-100 log_g=4+-0.2\n,b.fits,,,\n"),
        ("t.ecsv", '# %ECSV 1.0\n# ---\nid file resolution medium prior\n"HD 1" a.fits 2600 vacuum "teff=5000+-100 log_g=4+-0.2"\n"" b.fits "" "" ""\n'),
        ("t.csv", "star;path;R;medium;priors\nHD 1;a.fits;2600;vacuum;teff=5000+-100 log_g=4+-0.2\n;b.fits;;;\n"),
    ],
)  # fmt: skip
def test_a_table_of_files(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    first, second = inputs(path)
    assert first.path == str(tmp_path / "a.fits")
    assert (first.name, first.options.resolution, first.options.medium) == ("HD 1", 2600, "vacuum")
    assert first.priors == {"teff": (5000, 100), "log_g": (4, 0.2)}
    assert (second.name, second.options, second.priors) == (None, OPTIONS, {})


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.fits,hot,", "row 1: resolution 'hot' is no number"),
        ("a.fits,5,", "row 1: resolution: expected"),
        ("a.fits,,teff=hot", "row 1: prior teff=hot: expected label=mean"),
        ("a.fits,,teff=5000+-0", "positive sigma"),
        ("a.fits,,teff=nan+-1", "finite mean"),
        ("https://a.b/c.fits,,", "download it first"),
        (",2000,", "row 1: names no file"),
        ("a.fits,,age=1+-1", "'age' is no label; known are teff, log_g"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused_alone(tmp_path, row, words):
    path = tmp_path / "t.csv"
    path.write_text(f"file,resolution,prior\n{row}\nb.fits,,\n")
    bad, good = inputs(path)
    (target,) = targets_of(bad, ("teff", "log_g"))
    assert words in target.found.reason
    assert target.usage
    assert not good.problem


def test_a_spectrum_in_csv_is_no_table_of_files(tmp_path):
    path = tmp_path / "star.csv"
    path.write_text("wave,flux\n7000,1\n")
    assert [one.path for one in inputs(path)] == [str(path)]
    (tmp_path / "binary.csv").write_bytes(b"\x00\xff" * 100)
    (tmp_path / "empty.csv").write_bytes(b"")
    assert len(inputs(tmp_path / "binary.csv", tmp_path / "empty.csv", tmp_path / "no.csv")) == 3


def test_nothing_is_said_so(tmp_path):
    with pytest.raises(DataError, match="a folder without spectra"):
        inputs(tmp_path)
    with pytest.raises(DataError, match="standard input is empty"):
        inputs("-")
    (tmp_path / "t.csv").write_text("file,id\n")
    with pytest.raises(DataError, match="without a row"):
        inputs(tmp_path / "t.csv")
    with pytest.raises(ConfigError, match="download it first"):
        inputs("https://example.org/a.fits")


def test_priors_take_both_spellings():
    assert parse_prior("log_g=4.4±0.1") == parse_prior("log_g=4.4+-0.1") == ("log_g", (4.4, 0.1))


def test_windows_are_given_or_in_a_file(tmp_path):
    assert parse_windows("8740:8760") == [(8740, 8760)]
    path = tmp_path / "windows.txt"
    path.write_text("# low high\n8740:8760\n8100 8110.5  # a defect\n8200, 8210\n\n")
    assert parse_windows(str(path)) == [(8740, 8760), (8100, 8110.5), (8200, 8210)]
    for text, words in (("8740 8760 9\n", "line 1: expected low:high"), ("# none\n", "without windows")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            parse_windows(str(path))
    for wrong in ("8760:8740", "8000", "nan:1", "no.txt"):
        with pytest.raises(ConfigError, match=r"expected low:high in Å.*or the name of a file"):
            parse_windows(wrong)
