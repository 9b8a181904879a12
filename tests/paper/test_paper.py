"""The project of a paper: what there is, what is missing, and LaTeX that compiles."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from made_results import made_result, write_results
from small_studies import SMALL, study_file
from specvit.cli import main
from specvit.errors import ConfigError
from specvit.hub import read_knowledge
from specvit.paper import latex_problems, make_exhibits, read_outline, write_paper
from specvit.paper.drawings import draw_learning, draw_shares
from specvit.paper.numbers import number_macros
from specvit.paper.outline import OUTLINES, SHIPPED
from specvit.report import load_contents
from specvit.runs.study_result import write_study_result


@pytest.fixture(scope="module")
def paper(knowledge, run_folder, tmp_path_factory):
    outline = read_outline(SHIPPED, knowledge)
    return write_paper(outline, knowledge, tmp_path_factory.mktemp("paper") / "paper", run_folder)


@pytest.fixture(scope="module")
def with_run(knowledge, run_folder):
    """Exhibits of studies and of a run, and what is missing."""
    return make_exhibits(read_outline(SHIPPED, knowledge), knowledge, load_contents(run_folder))


def content(folder):
    """Path -> text of sources, bytes of figures."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        if path.suffix == ".tex"
        else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_was_written_is_sound(paper):
    files = content(paper.main.parent)
    assert latex_problems(files) == []
    for name, pdf in files.items():
        if name.endswith(".pdf"):
            assert pdf.startswith(b"%PDF"), name
    assert {"tables/classical.tex", "tables/classical.csv", "figures/scaling.pdf", "numbers.tex"} <= set(
        files
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX is installed")
def test_the_project_compiles(paper, tmp_path):
    folder = shutil.copytree(paper.main.parent, tmp_path / "paper")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
        log = done.stdout.decode("latin-1")
        assert done.returncode == 0, log[-2000:]
    assert "undefined" not in log
    assert not [
        line
        for line in log.splitlines()
        if line.startswith("Overfull") and float(re.search(r"\(([\d.]+)pt", line)[1]) > 20
    ]
    assert "Float too large" not in log
    assert (folder / "main.pdf").stat().st_size > 10_000


def test_exhibits_are_of_studies_with_verdicts_and_the_others_are_named(knowledge):
    outline = read_outline(SHIPPED, knowledge)
    made, missing = make_exhibits(outline, knowledge)
    names = {one.id for one in made}
    assert {"settings", "classical", "scaling", "noise-sweep", "cross-noise", "findings", "effects"} <= names
    why = {one.id: one.why for one in missing}
    assert why["positions"] == "no verdict yet of positions"
    assert "--run" in why["r2-snr"]
    assert names | set(why) == {one.id for one in outline.exhibits}
    assert not names & set(why)
    tokens = next(one for one in made if one.id == "tokenisation")
    assert tokens.caption.endswith("Not judged yet: chunks, multi-scale, cropping.")


def test_shares_and_trainings_are_drawn_where_results_hold_them(studies, tmp_path):
    """And said to be missing where they do not: results of before kept no history of a training."""
    ours = {name: studies[name] for name in ("experts-metallicity", "learning-curve")}
    write_results(tmp_path, ours, {"experts-metallicity": "supported", "learning-curve": "refuted"})
    knowledge = read_knowledge(tmp_path, "laptop")
    made = {one.id for one in make_exhibits(read_outline(SHIPPED, knowledge), knowledge)[0]}
    assert made >= {"shares", "learning-curves"}
    (known,) = knowledge.of(["experts-metallicity"])
    figure = draw_shares([known])
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names[1].endswith("(not defined)")
    # A dot for each of the others, a cross for each that was published.
    marks = [line.get_marker() for line in figure.axes[0].lines]
    assert (marks.count("o"), marks.count("x")) == (3, 2)
    macros = number_macros(knowledge)
    assert macros["svExpertsMetallicityShareMhLow"] == "0.71"
    assert "svExpertsMetallicityShareMhFull" not in macros
    (trained,) = knowledge.of(["learning-curve"])
    lines = draw_learning([trained]).axes[0].lines
    assert [line.get_ydata().tolist() for line in lines] == [[0.3, 0.4], pytest.approx([0.4, 0.5])]
    result = made_result(studies["learning-curve"], "refuted")
    silent = {name: facts.model_copy(update={"learning": ()}) for name, facts in result.variants.items()}
    write_study_result(tmp_path, result.model_copy(update={"variants": silent}))
    knowledge = read_knowledge(tmp_path, "laptop")
    _, missing = make_exhibits(read_outline(SHIPPED, knowledge), knowledge)
    assert "no result of its studies" in next(one.why for one in missing if one.id == "learning-curves")


def test_captions_state_stars_seeds_and_snr(with_run):
    made, _ = with_run
    for one in made:
        if one.id in ("settings", "pipeline"):
            continue
        assert "median over pixels of noise-free flux / true sigma" in one.caption, one.id
        assert re.search(r"N = 990 test stars, 3 seeds|test spectra", one.caption), one.id


def test_a_run_brings_the_figures_of_single_stars(with_run):
    made, missing = with_run
    assert {one.id for one in made} >= {"r2-snr", "models", "snr-bins", "predictions", "residuals"}
    assert {one.why for one in missing if one.id == "attention"} == {
        "the run demo has no figure 'network_explained'"
    }


def test_prose_quotes_macros_and_holds_no_number_of_ours(paper, knowledge):
    """Not one effect, interval or score is written out in the text."""
    text = paper.main.read_text(encoding="utf-8")
    kernel = text[text.index("Kernel of the CNN") :].split(r"\subsection")[0]
    assert r"\svKernelEffectA{} (95\,\% interval \svKernelEffectALow{} to \svKernelEffectAHigh{}" in kernel
    assert r"\textbf{\svKernelVerdict}" in kernel
    assert "0.020" not in text
    assert "0.014" not in text


def test_a_paper_without_any_result_says_what_is_missing(tmp_path):
    knowledge = read_knowledge(tmp_path / "none", "laptop")
    found = write_paper(read_outline(SHIPPED, knowledge), knowledge, tmp_path / "paper")
    assert found.exhibits == ("settings", "pipeline")
    files = content(found.main.parent)
    assert latex_problems(files) == []
    assert "No study has been judged" in files["main.tex"]
    assert len(found.missing) > 15


def test_texts_of_studies_are_text(studies, tmp_path):
    odd = r"100 % of {a_b} & $x$ \evil #1 ~ ^ <中> `--run` é"
    source = {"work": odd, "claim": odd, "number": odd}
    write_study_result(
        tmp_path / "r", made_result(studies["kernel"], "refuted", sentence=odd, source=source, question=odd)
    )
    knowledge = read_knowledge(tmp_path / "r", "laptop")
    found = write_paper(read_outline(SHIPPED, knowledge), knowledge, tmp_path / "paper")
    assert latex_problems(content(found.main.parent)) == []


def test_the_same_results_give_the_same_bytes(knowledge, tmp_path):
    (tmp_path / "mine.toml").write_text(OUTLINE, encoding="utf-8")
    outline = read_outline(tmp_path / "mine.toml", knowledge)
    first, second = (
        content(write_paper(outline, knowledge, tmp_path / name).main.parent) for name in ("a", "b")
    )
    assert "figures/a.pdf" in first
    assert first == second


def test_a_matrix_shows_every_pair(knowledge):
    from specvit.paper.drawings import draw_matrix

    (axes,) = draw_matrix(knowledge.studies["cross-noise"]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["half", "once", "twice"]
    assert len(axes.texts) == 9


def test_curves_join_what_differs_in_the_key_alone(knowledge):
    from specvit.paper.drawings import draw_curves

    studies = [knowledge.studies["data-scaling"], knowledge.studies["classical-scaling"]]
    (axes,) = draw_curves(studies, "simulate.train", knowledge).axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == [
        *("data-scaling: vit", "data-scaling: lightgbm"),
        *("classical-scaling: ridge", "classical-scaling: lightgbm", "classical-scaling: pca-200"),
    ]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2,000", "5,000", "20,000"]


OUTLINE = """
title = "Mine"
[[exhibits]]
id = "a"
kind = "dots"
text = "All."
priority = "P0"
studies = ["kernel"]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"kernel"', '"kernal"', "a names the study 'kernal'"),
        ('"kernel"', '"kernal"', "did you mean 'kernel'?"),
        ('studies = ["kernel"]', "", "'studies' is missing"),
        ('"dots"', '"curves"', "'key' is missing"),
        ('"dots"', '"run-figure"', "'source'"),
        ('kind = "dots"', 'kimd = "dots"', "did you mean 'kind'?"),
        ('"dots"', '"dot"', "exhibits.0.kind"),
    ],
)
def test_an_outline_that_cannot_be_meant_is_one_line(knowledge, tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    path.write_text(OUTLINE.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        read_outline(path, knowledge)
    assert message in str(raised.value)
    path.write_text(OUTLINE, encoding="utf-8")
    assert read_outline(path, knowledge).title == "Mine"


def test_the_shipped_outline_is_the_only_one():
    assert OUTLINES.names() == (SHIPPED,)


def test_the_outline_in_the_docs_is_one(tmp_path):
    text = (Path(__file__).resolve().parents[2] / "docs" / "hub.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(outline_version.*?)```", text, re.DOTALL)
    catalogue, path = tmp_path / "my-studies", tmp_path / "mine.toml"
    catalogue.mkdir()
    study_file(catalogue, SMALL, id="my-width")
    path.write_text(example, encoding="utf-8")
    outline = read_outline(path, read_knowledge(tmp_path / "none", "laptop", catalogue))
    assert [exhibit.studies for exhibit in outline.exhibits] == [("my-width",)]


def test_the_command_says_what_is_missing(results, tmp_path, capsys):
    arguments = ["paper", "build", "--results", str(results), "--output", str(tmp_path / "paper")]
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert "missing (P1): positions: no verdict yet of positions" in told.err
    assert str(tmp_path / "paper" / "main.tex") in told.out
    assert main([*arguments, "--json"]) == 0
    assert "classical" in json.loads(capsys.readouterr().out)["exhibits"]


def test_a_paper_of_ones_own_is_not_overwritten(results, tmp_path, capsys):
    own = tmp_path / "main.tex"
    own.write_text("my prose", encoding="utf-8")
    arguments = ["paper", "build", "--results", str(results), "--output", str(tmp_path)]
    assert main(arguments) == 1
    assert f"{own}: not made by `specvit paper build`, and would be overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["main.tex"]
    assert own.read_text(encoding="utf-8") == "my prose"
    own.unlink()
    # What was made is made again.
    assert [main(arguments), main(arguments)] == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--catalogue", "."], "--catalogue: a paper on studies of your own needs an --outline"),
        (["--run", "nowhere"], "nowhere"),
        (["--outline", "nowhere.toml"], "nowhere.toml does not exist"),
        (["--outline", "referense"], "did you mean 'reference'?"),
        (["--output", "a-file"], "a file stands where a folder is needed"),
    ],
)
def test_what_cannot_be_meant_is_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_text("", encoding="utf-8")
    assert main(["paper", "build", *arguments]) in (1, 2)
    said = capsys.readouterr().err
    assert message in said
    assert said.count("error:") == 1
