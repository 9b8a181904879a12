import re
import shutil
from html.parser import HTMLParser

import pytest

from specvit.cli import main
from specvit.cli.report import find_run
from specvit.errors import DataError
from specvit.report import write_report

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects what a browser would fetch and checks that tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.open, self.images, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.addresses += [values[key] for key in ("src", "href") if key in values]
        if tag == "img":
            self.images.append(values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def written(run_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "demo"
    shutil.copytree(run_folder.path, folder)
    return write_report(folder)


def test_the_page_holds_everything_in_itself(written):
    text = written.read_text()
    page = Page(text)
    assert page.open == []
    assert all(address.startswith("data:") for address in page.addresses)
    assert "@import" not in text
    assert "url(" not in text
    assert "<script" not in text


def test_the_page_shows_every_figure_with_words_for_those_who_cannot_see_them(written):
    images = Page(written.read_text()).images
    assert len(images) == 5
    assert all(len(image["alt"]) > 50 for image in images)


def test_the_page_says_numbers_captions_and_provenance(written, run_folder):
    text = " ".join(Page(written.read_text()).words)
    best = max(m["overall"]["r2"]["value"] for m in run_folder.summary["models"].values())
    assert f"R² = {best:.2f}" in text
    for needed in (
        "300 test spectra",
        "median over pixels",
        "seed 42",
        "Bayes ceiling",
        "numpy",
        "[simulate]",
    ):
        assert needed in text


def test_figures_and_tables_lie_beside_the_page(written):
    folder = written.parent
    assert len(list((folder / "figures").glob("*.pdf"))) == len(list((folder / "figures").glob("*.png"))) == 5
    names = (
        "cells",
        "cost",
        "efficiency",
        "efficiency_expected",
        "mae_bins",
        "models",
        "residuals",
        "rmse_bins",
        "snr_bins",
    )
    assert sorted(p.name for p in (folder / "tables").iterdir()) == [
        f"{name}.{kind}" for name in names for kind in ("csv", "tex")
    ]


def test_the_page_says_what_each_curve_means_in_two_sentences(written):
    text = " ".join(Page(written.read_text()).words)
    for beginning in (
        "The smallest error an unbiased",
        "The R² of the exact posterior mean",
        "A weighted sum",
    ):
        assert beginning in text


def test_names_from_the_run_are_escaped(make_run):
    run = make_run(examples=False)
    summary = run.summary
    summary["models"]["ridge"]["title"] = "<b>Ridge</b>"
    run.write_summary(summary)
    text = write_report(run.path).read_text()
    assert "<b>Ridge</b>" not in text
    assert "&lt;b&gt;Ridge" in text


def test_a_run_with_models_only_gets_a_page(make_run):
    run = make_run(ceiling=False, examples=False, models=("ridge",))
    text = write_report(run.path).read_text()
    assert len(Page(text).images) == 2
    assert not re.search(r"Cramér|Bayes", text)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a run folder"):
        write_report(tmp_path)


def test_the_verb_finds_runs_by_path_by_name_and_the_newest(make_run, tmp_path, capsys):
    run = make_run(ceiling=False, examples=False, models=("ridge",))
    for name in (str(run.path), run.name, ""):
        assert find_run(name, tmp_path) == run.path
    assert main(["report", "--folder", str(tmp_path)]) == 0
    assert str(run.path / "report.html") in capsys.readouterr().out
    assert (run.path / "report.html").exists()


def test_the_verb_lists_runs_with_their_scores(make_run, tmp_path, capsys):
    make_run(ceiling=False, examples=False)
    assert main(["report", "--list", "--folder", str(tmp_path)]) == 0
    line = capsys.readouterr().out
    assert "demo" in line
    assert "ridge R²" in line


@pytest.mark.parametrize("arguments", [["nothing-there"], ["--list", "--folder", "nowhere"]])
def test_the_verb_fails_in_one_line(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
