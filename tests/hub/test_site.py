"""The site: whole in itself, every link leads somewhere, every statement to its study and its runs."""

import json
import re

import pytest

from made_results import made_result, write_results
from page_checks import Markup, css_problems, markdown_problems, page_problems, site_problems
from specvit.hub import read_knowledge, write_hub
from specvit.hub.blocks import HubPage
from specvit.hub.site import write_site
from specvit.runs.study_result import write_study_result


@pytest.fixture(scope="module")
def site(knowledge, tmp_path_factory):
    return write_hub(knowledge, tmp_path_factory.mktemp("site") / "hub").parent


def words_of(path):
    return " ".join(" ".join(Markup(path.read_text(encoding="utf-8")).words).split())


def test_every_page_is_sound_and_every_link_leads_somewhere(site):
    assert site_problems(site) == []
    assert len(list(site.rglob("*.html"))) > 40


def test_markdown_has_the_same_pages_and_its_links_lead_somewhere(site):
    html = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    markdown = site / "markdown"
    assert {path.relative_to(markdown).with_suffix("").as_posix() for path in markdown.rglob("*.md")} == html
    assert markdown_problems(markdown) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<p>", "never closed"),
        ('<a href="https://example.org">a</a>', "leads outside"),
        ('<img src="//example.org/a.png" alt="a">', "leads outside"),
        ("<script>1</script>", "a script"),
        ('<b onclick="a()">a</b>', "inline handler"),
        ('<b id="a"></b><b id="a"></b>', "ids twice"),
        ("<style>a { b: c</style>", "never closed"),
        ("<style>a { b }</style>", "no declaration"),
        ("<h3>deep</h3>", "leaves out a level"),
    ],
)
def test_what_is_wrong_is_seen(text, problem):
    whole = (
        '<!doctype html><html><head><meta name="viewport" content="width=device-width"></head><body><h1>a</h1>'
        f"{text}</body></html>"
    )
    assert any(problem in found for found in page_problems(whole))
    assert page_problems(whole.replace(text, "")) == []
    assert css_problems("a { b: c } @media (x) { d { e: f; } }") == []


def test_every_statement_with_a_verdict_names_its_runs(site, knowledge):
    """Wherever a page says what a study found, a link to its runs stands beside it."""
    for page in ("index", "findings"):
        text = (site / f"{page}.html").read_text(encoding="utf-8")
        for known in knowledge.judged:
            if f'href="studies/{known.id}"' in text or f'href="studies/{known.id}.html"' in text:
                assert f'href="studies/{known.id}.html#runs"' in text, f"{page}: {known.id}"


def test_the_page_of_a_study_holds_every_digest_and_score(site, knowledge):
    known = knowledge.studies["classical"]
    words = words_of(site / "studies" / "classical.html")
    for facts in known.result.variants.values():
        assert all(digest in words for digest in facts.runs.values())
        assert facts.spectra in words
    for claim in known.result.claims:
        assert claim.text in words
    assert "−0.020 −0.030 to −0.010" in words
    assert known.result.sentence in words


def test_texts_of_studies_are_text(studies, tmp_path):
    """Whatever a study says: no markup, neither in HTML nor in Markdown."""
    odd = "<script>alert(1)</script> | a_b [x](y) & {{ 7 * 7 }} `c`"
    write_study_result(
        tmp_path / "r",
        made_result(studies["kernel"], "refuted", source={"work": "w", "claim": odd, "number": "1"}),
    )
    folder = write_hub(read_knowledge(tmp_path / "r", "laptop"), tmp_path / "hub").parent
    assert site_problems(folder) == []
    assert odd in words_of(folder / "findings.html")
    markdown = (folder / "markdown" / "findings.md").read_text(encoding="utf-8")
    assert r"\<script\>alert(1)\</script\> \| a\_b \[x\](y) & {{ 7 \* 7 }} \`c\`" in markdown


def test_a_hub_without_any_result_is_whole_and_open(tmp_path):
    folder = write_hub(read_knowledge(tmp_path / "none", "laptop"), tmp_path / "hub").parent
    assert site_problems(folder) == []
    assert markdown_problems(folder / "markdown") == []
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "mark supported" not in text
    assert "no such folder" in text


def test_the_same_results_give_the_same_bytes(knowledge, tmp_path):
    first, second = (write_hub(knowledge, tmp_path / name).parent for name in ("a", "b"))
    for path in first.rglob("*"):
        if path.is_file() and path.suffix != ".parquet":
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


def test_no_date_stands_on_a_page_that_no_result_holds(site, knowledge):
    dates = {change.date[:10] for known in knowledge.judged for change in known.result.history}
    dates |= {known.result.made["date"][:10] for known in knowledge.judged}
    for path in site.rglob("*.html"):
        assert set(re.findall(r"\b20\d\d-\d\d-\d\d\b", words_of(path))) <= dates


def test_a_scale_that_is_no_evidence_says_so_on_every_page(studies, tmp_path):
    write_results(tmp_path / "r", studies, {"kernel": "undecided"}, scale="smoke", seeds=(1,))
    folder = write_hub(read_knowledge(tmp_path / "r", "smoke"), tmp_path / "hub").parent
    for path in folder.rglob("*.html"):
        assert "no evidence" in words_of(path), path


def test_pages_of_studies_that_are_no_more_go_and_files_of_ours_stay(tmp_path):
    page = HubPage(name="index", title="Hub", above="", blocks=())
    gone = HubPage(name="studies/gone", title="Gone", above="", blocks=())
    folder, outside = tmp_path / "hub", tmp_path / "outside.html"
    write_site([page, gone], {"index": "Hub"}, {"tables/gone.csv": "a"}, folder, "a test")
    own = folder / "studies" / "notes.html"
    own.write_text("mine")
    outside.write_text("not the hub's")
    contents = folder / "contents.json"
    names = json.loads(contents.read_text())
    assert {"studies/gone.html", "markdown/studies/gone.md", "tables/gone.csv"} <= set(names)
    contents.write_text(json.dumps([*names, "../outside.html"]))
    write_site([page], {"index": "Hub"}, {}, folder, "a test")
    assert not list(folder.rglob("gone*"))
    assert own.read_text() == "mine"
    assert outside.read_text() == "not the hub's"
    assert (folder / "index.html").is_file()


@pytest.mark.parametrize("nonsense", ["", "{}", "[1]", "\x00"])
def test_a_damaged_list_of_contents_removes_nothing(tmp_path, nonsense):
    page = HubPage(name="index", title="Hub", above="", blocks=())
    write_site([page], {"index": "Hub"}, {"further.csv": "a"}, tmp_path, "a test")
    (tmp_path / "contents.json").write_text(nonsense)
    write_site([page], {"index": "Hub"}, {}, tmp_path, "a test")
    assert (tmp_path / "further.csv").is_file()
