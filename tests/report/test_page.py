"""The page of a run: whole in itself, all that must be said, and nothing known of estimators but their facts."""

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

from own_estimators import own_choice
from specvit import report
from specvit.cli import main
from specvit.cli.report import find_run
from specvit.errors import DataError
from specvit.estimators import TABLE
from specvit.estimators.architectures import ARCHITECTURES
from specvit.report import load_contents, run_tables, write_report
from specvit.report.drawings import drawings
from specvit.report.page import _facts, _render
from specvit.runs import Family

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
    scores = run_folder.summary["scores"].values()
    best = max(labels["log_g"]["all"]["r2"]["value"] for labels in scores)
    assert f"R² = {best:.2f}" in text
    for needed in (
        "300 test spectra",
        "median over pixels",
        "seed 42",
        "Bayes ceiling",
        "numpy",
        "[simulate]",
        "library builtin, instrument pfs_mr",
        "alpha 1000, validation R² 0.3278",
        "train 1\u202f000, validation 100, test 300",
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
        "labels",
        "mae_bins",
        "models",
        "residuals",
        "rmse_bins",
        "slices",
        "snr_bins",
        "true_label",
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


def test_an_own_estimator_is_shown_as_it_calls_itself(make_run):
    """Braces, HTML and dollars in title and meaning are text: on the page, in figures and in tables."""
    odd = own_choice("odd", "<b>Mine {0}</b> $", "A {w} <script>sum</script> of {target}. It is {{mine}}.")
    folder = make_run(models=("ridge", odd), ceiling=False, examples=False).path
    text = write_report(folder).read_text()
    words = " ".join(Page(text).words)
    assert "<b>Mine" not in text
    assert "<script" not in text
    assert "<b>Mine {0}</b> $" in words
    assert "A {w} <script>sum</script> of log g. It is {{mine}}." in words
    assert r"$<$b$>$Mine \{0\}$<$/b$>$ \$" in (folder / "tables" / "models.tex").read_text()


def test_a_training_gets_a_page_without_ceilings(training_run, tmp_path):
    folder = shutil.copytree(training_run.path, tmp_path / "demo")
    text = write_report(folder).read_text()
    assert len(Page(text).images) == 2
    assert "specvit training" in text
    # What a network's curve means is said by the network, whether or not there is a ceiling.
    assert not re.search(r"Cramér|Bayes", text.replace(ARCHITECTURES["vit"].meaning.split(". ")[1], ""))


def page_of(run, **parts):
    """Return the words of the page of a run, without its figures."""
    contents = load_contents(run.path)
    return " ".join(Page(_render(contents, [], run_tables(contents))).words), contents


def test_three_labels_have_a_table_and_the_target_the_headline(three_labels):
    words, contents = page_of(three_labels)
    assert "How well can log g be measured?" in words
    assert "Every label" in words
    for label in ("Teff [K]", "[M/H] [dex]"):
        assert label in words
    assert f"{contents.summary.score('ridge', 'mae', 'teff').value:.2f}" in words


@pytest.mark.parametrize("library", [("teff", "log_g", "alpha_m"), ("log_g", "m_h"), ("log_g",)])
def test_a_library_without_teff_or_metallicity_has_a_report_without_the_plane_of_both(make_run, library):
    run = make_run(library=library)
    words, contents = page_of(run)
    assert contents.cells is None
    assert [drawing.name for drawing in drawings(contents)] == [
        *("r2_versus_snr", "residuals", "predicted_versus_true", "example_spectra"),
    ]
    for drawing in drawings(contents):
        assert drawing.draw(contents).axes
    assert ("metal-poor" in contents.summary.slices) == ("m_h" in library)
    assert "Bayes ceiling" in words


def test_a_leak_is_said_first(leaky):
    contents = load_contents(leaky.path)
    text = _render(contents, [], run_tables(contents))
    assert text.index('role="alert"') < text.index("leak is above the Bayes ceiling: leakage or a bug")
    assert "leak, above the Bayes ceiling: leakage or a bug" in text


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"alpha": 1000.0, "trained with library": "a, not b"}, "alpha 1000, trained with library a, not b"),
        (
            {"log_g": {"alpha": 2.0}, "teff": {"alpha": 3.0}, "trained with prior": "x"},
            "alpha 2, trained with prior x",
        ),
        ({"log_g": 0.5, "rounds": [1, 2]}, "log g 0.5, rounds [1, 2]"),
    ],
)
def test_what_a_fit_chose_is_that_of_the_target_and_of_all(run_folder, facts, words):
    """Whatever an own estimator calls its facts, and with the differences of the world it was made in."""
    run = load_contents(run_folder.path)
    ridge = run.summary.estimators["ridge"].model_copy(update={"facts": facts})
    estimators = {**run.summary.estimators, "ridge": ridge}
    changed = replace(run, summary=run.summary.model_copy(update={"estimators": estimators}))
    assert _facts(changed, "ridge") == words


def names_in(text, names):
    """Return those of the names that stand in a text as words of their own."""
    return {name for name in names if re.search(rf"(?<![A-Za-z]){re.escape(name)}(?![A-Za-z])", text)}


def test_the_report_knows_no_estimator_by_name():
    """What there is, how it is called and what it means is in the summary; only families are known here."""
    known = {*TABLE, *(spec.title for spec in TABLE.values()), *(spec.saved_as for spec in TABLE.values())}
    # A probe is also what a record and its page are of.
    known -= {*get_args(Family), "probe"}
    assert names_in("a Ridge and an mlp-nano of specvit", known) == {"Ridge", "mlp"}
    folder = Path(report.__file__).parent
    files = [path for path in folder.rglob("*") if path.suffix in (".py", ".j2", ".mplstyle")]
    assert len(files) > 20
    found = {path.name: names_in(path.read_text(encoding="utf-8"), known) for path in files}
    assert {name: words for name, words in found.items() if words} == {}


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
