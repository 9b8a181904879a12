"""Tables lay out the scores of the summary, as CSV, LaTeX and Markdown."""

import csv
import io
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from specvit.errors import MissingExtra
from specvit.report import load_contents, model_table, run_tables, snr_table
from specvit.report.phrase import Code, Link, Mark, coded, joined, phrase
from specvit.report.run_tables import (
    cell_table,
    coverage_table,
    efficiency_table,
    expected_table,
    label_table,
    residual_table,
    slice_table,
)
from specvit.report.tables import Table
from specvit.report.words import decimals_of, findings
from specvit.runs import Score


def read(table):
    return list(csv.DictReader(io.StringIO(table.to_csv())))


def test_csv_holds_the_scores_of_the_summary_in_full_precision(run_folder):
    run = load_contents(run_folder.path)
    rows = read(model_table(run))
    assert [row["model"] for row in rows] == ["Ridge", "LightGBM", "Bayes ceiling"]
    assert float(rows[0]["R²"]) == run.summary.score("ridge", "r2").value
    assert float(rows[0]["R² low"]) == run.summary.score("ridge", "r2").low
    assert rows[2]["MAE [dex]"] == ""


def test_the_bin_table_has_a_row_per_bin_and_the_ceilings(run_folder):
    run = load_contents(run_folder.path)
    rows = read(snr_table(run))
    bins = [run.summary.slices[name] for name in run.summary.bins]
    assert [int(row["spectra"]) for row in rows] == [part.spectra for part in bins]
    spread = run.summary.ceiling.spreads[run.summary.bins[1]]["r2_max_0"]
    assert float(rows[1]["Cramér–Rao ceiling, 5 labels p90"]) == spread.p90
    assert "Cramér–Rao ceiling, 3 labels" in rows[1]


def test_captions_state_sample_snr_definition_and_seed(run_folder):
    run = load_contents(run_folder.path)
    for table in (model_table(run), snr_table(run)):
        assert "300 test spectra" in table.caption
        assert "median over pixels" in table.caption
        assert "seed 42" in table.caption


def test_markdown_has_one_line_per_row_and_no_stray_pipes(run_folder):
    for table in run_tables(load_contents(run_folder.path)):
        lines = table.to_markdown().splitlines()
        assert len(lines) == len(table.rows) + 2
        assert {line.replace(r"\|", "").count("|") for line in lines} == {len(table.head) + 1}


def test_latex_is_a_booktabs_table_with_escaped_text():
    score = Score(value=-0.5, low=-0.6, high=-0.4)
    text = Table("t", "50 % of m_h & R²", ("model", "R²"), (("a_b", score),)).to_latex()
    assert r"a\_b & $-$0.50 [$-$0.60 to $-$0.40] \\" in text
    assert r"\caption{50 \% of m\_h \& R$^2$}" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


def test_efficiency_and_residuals_of_every_model_have_a_row_per_bin(many_models):
    run = load_contents(many_models.path)
    efficiency, residuals = (read(table) for table in (efficiency_table(run), residual_table(run)))
    first, second, _ = run.summary.bins
    assert len(efficiency) == len(residuals) == 3
    for name in run.names:
        title, score = run.title(name), run.summary.score
        assert float(efficiency[0][title]) == score(name, "efficiency", part=first).value
        assert float(efficiency[1][f"{title}, CRLB"]) == score(name, "efficiency_crlb", part=second).value
        assert float(residuals[0][f"{title}, 68 %"]) == score(name, "residual_68", part=first).value
    assert (
        float(residuals[1]["posterior std p10"]) == run.summary.ceiling.spreads[second]["posterior_std"].p10
    )


def test_coverage_is_listed_for_models_that_state_errors(many_models, run_folder):
    run = load_contents(many_models.path)
    rows = read(coverage_table(run))
    titles = [run.title(name) for name in ("mlp-nano", "cnn-nano", "vit-nano", "template", "posterior")]
    stated = [key for key in rows[0] if key.endswith(" %")]
    assert stated == [f"{title}, {share} %" for title in titles for share in (68, 95)]
    value = run.summary.score("template", "coverage_95", part=run.summary.bins[2]).value
    assert float(rows[2]["Template fit (ML), 95 %"]) == value
    assert "coverage" not in {table.name for table in run_tables(load_contents(run_folder.path))}


def test_the_table_of_cells_holds_the_full_ones(many_models):
    run = load_contents(many_models.path)
    rows = read(cell_table(run))
    full = run.cells.stars[run.cells.stars >= run.cells.least_stars]
    assert [int(row["stars"]) for row in rows] == list(full)
    k, j, i = np.argwhere(run.cells.stars >= run.cells.least_stars)[0]
    precision = run.cells.of("precision", "template")[k, j, i]
    names = [f"Template fit (ML): precision{end}" for end in ("", " low", " high")]
    assert [float(rows[0][name]) for name in names] == list(precision)


def test_a_model_without_some_estimates_is_named_in_the_caption(make_run):
    run = make_run()
    summary = run.summary
    summary["estimators"]["ridge"]["missing"] = {"log_g": 7, "teff": 9}
    run.write_summary(summary)
    assert "Ridge gives no estimate for 7 spectra" in model_table(load_contents(run.path)).caption


def test_the_efficiency_table_says_what_is_a_bound_and_what_an_approximation(run_folder, make_run):
    both = efficiency_table(load_contents(run_folder.path))
    assert "a bound for every estimator" in both.caption
    assert "an approximation" in both.caption
    # Without the exact posterior there is one ceiling, and one column for it.
    single = efficiency_table(load_contents(make_run(bayes=False).path))
    assert not any("CRLB" in head for head in single.head)
    assert "a bound" not in single.caption


def test_a_ceiling_that_has_not_converged_is_marked_in_the_table_of_models(run_folder):
    run = load_contents(run_folder.path)
    ceilings = {"log_g": run.summary.ceiling.model_copy(update={"ceiling_converged": False})}
    doubtful = replace(run, summary=run.summary.model_copy(update={"ceilings": ceilings}))
    assert read(model_table(doubtful))[-1]["model"] == "Bayes ceiling, not converged"


def test_every_label_has_the_rows_of_those_who_estimate_it_in_its_own_unit(three_labels):
    run = load_contents(three_labels.path)
    rows = read(label_table(run))
    entries = [(row["label"], row["model"]) for row in rows]
    best, estimated = "Bayes ceiling", ["Ridge", "SpecViT (nano)"]
    assert entries[:4] == [("log g [dex]", name) for name in ("Ridge", "LightGBM", "SpecViT (nano)", best)]
    assert [name for label, name in entries if label == "Teff [K]"] == [*estimated, best]
    assert [name for label, name in entries if label == "[C/M] [dex]"] == [best]
    at = entries.index(("Teff [K]", "Ridge"))
    assert float(rows[at]["MAE"]) == run.summary.score("ridge", "mae", "teff").value
    assert float(rows[at]["MAE"]) > 50  # kelvin
    assert float(rows[at + 2]["R²"]) == run.summary.ceilings["teff"].bayes["all"].value


def test_one_label_needs_no_table_of_labels(make_run):
    run = load_contents(make_run(library=("log_g",), examples=False).path)
    assert "labels" not in {table.name for table in run_tables(run)}


def test_named_parts_have_a_row_with_their_definition_in_the_caption(run_folder):
    run = load_contents(run_folder.path)
    table = slice_table(run)
    rows = read(table)
    assert [row["spectra are"] for row in rows] == ["all", "low noise", "metal-poor"]
    assert int(rows[1]["spectra"]) == 60
    for row in rows:
        part = row["spectra are"]
        assert float(row["R² LightGBM"]) == run.summary.score("lightgbm", "r2", part=part).value
        assert float(row["R² Bayes ceiling"]) == run.summary.ceiling.bayes[part].value
    assert "metal-poor: m_h from -10 to -1" in table.caption


def test_expected_efficiency_has_a_row_per_bin(many_models):
    run = load_contents(many_models.path)
    rows = read(expected_table(run))
    assert [float(row["Posterior mean"]) for row in rows] == pytest.approx([1, 1, 1])
    expected = [score.value for score in run.summary.over_bins("ridge", "efficiency_expected")]
    assert [float(row["Ridge"]) for row in rows] == expected


def test_a_training_has_the_tables_that_need_no_ceiling(training_run):
    names = [table.name for table in run_tables(load_contents(training_run.path))]
    assert names == [
        *("models", "labels", "snr_bins", "slices", "coverage", "true_label"),
        *("mae_bins", "rmse_bins", "residuals", "cost"),
    ]


def test_scores_by_true_value_are_those_of_the_arrays(many_models):
    run = load_contents(many_models.path)
    (table,) = (table for table in run_tables(run) if table.name == "true_label")
    assert "biased inwards" in table.caption
    rows = read(table)
    assert [row["true log g"] for row in rows][:2] == ["1 – 1.5", "1.5 – 2"]
    truth = run.test.labels[:, run.test.names.index("log_g")]
    for k, row in enumerate(rows):
        inside = (truth >= 1 + 0.5 * k) & (truth < 1.5 + 0.5 * k)
        assert int(row["spectra"]) == inside.sum()
        for name in ("ridge", "posterior"):
            title, error = run.title(name), (run.predicted(name) - truth)[inside]
            assert float(row[f"{title}: bias"]) == pytest.approx(error.mean())
            assert float(row[f"{title}: RMSE"]) == pytest.approx(np.sqrt(np.mean(error**2)))
        std = run.estimates["posterior"].std[:, 0][inside]
        held = np.mean(np.abs(error) <= norm.ppf(0.84) * std)
        assert float(row["Posterior mean: in 68 % interval"]) == pytest.approx(held)
    # Ridge states no errors; and at the ends the best estimator there is pulls inwards.
    assert "Ridge: in 68 % interval" not in table.head
    assert float(rows[0]["Posterior mean: bias low"]) > 0 > float(rows[-1]["Posterior mean: bias high"])


def test_slices_without_spectra_have_no_scores_and_are_told(make_run):
    slices = {
        "low noise": {"snr_quantile": (0.8, 1.0)},
        "bright": {"snr": (50.0, 90.0)},
        "faint": {"mag": (20.0, 30.0)},
    }
    parts = {"examples": False, "ceiling": False, "magnitudes": False}
    run = load_contents(make_run(edges=(1.0, 2.0, 8.0, 20.0, 40.0), slices=slices, **parts).path)
    assert run.summary.left_out == {
        "S/N 1-2": "no spectra: S/N from 1 to 2",
        "S/N 20-40": "no spectra: S/N from 20 to 40",
        "bright": "no spectra: snr from 50 to 90",
        "faint": "the test spectra have no mag",
    }
    assert list(run.summary.slices) == ["all", "S/N 2-8", "S/N 8-20", "low noise"]
    for table in (snr_table(run), slice_table(run)):
        assert "'bright' has no scores: no spectra: snr from 50 to 90." in table.caption
        assert all(int(row["spectra"]) > 0 for row in read(table))
    assert len(run_tables(run)) > 5


def test_a_run_from_before_scores_by_true_value_has_no_such_table(run_folder):
    run = load_contents(run_folder.path)
    older = replace(run, summary=run.summary.model_copy(update={"by_true_label": {}}))
    assert {table.name for table in run_tables(run)} - {table.name for table in run_tables(older)} == {
        "true_label"
    }
    assert len(findings(older)) == len(findings(run)) - 1


def test_titles_of_any_characters_leave_latex_and_markdown_whole():
    title = "{a}$b$ \\c~d^e | <f>"
    table = Table("t", title, ("model", title), ((title, 1),))
    line = r"\{a\}\$b\$ \textbackslash{}c\textasciitilde{}d\textasciicircum{}e $|$ $<$f$>$"
    assert table.to_latex().count(line) == 3
    assert {text.replace(r"\|", "").count("|") for text in table.to_markdown().splitlines()} == {3}


@pytest.mark.parametrize(
    ("low", "high", "decimals"),
    [
        (0.410, 0.424, 4),
        (0.38, 0.45, 3),
        (-0.4, 0.9, 2),
        (3.0, 25.0, 0),
        (100.0, 900.0, 0),
        (0.5, 0.5, 3),
        (None, None, 3),
    ],
)
def test_decimals_follow_from_the_interval(low, high, decimals):
    assert decimals_of(Score(value=0.5, low=low, high=high)) == decimals


def test_a_table_without_digits_prints_what_its_intervals_leave():
    rows = ((Score(value=0.1234, low=0.12, high=0.127),), (Score(value=12.3, low=2.0, high=22.0),))
    text = Table("t", "c", ("a",), rows, digits=None).to_markdown()
    assert "0.1234 [0.1200 to 0.1270]" in text
    assert "12 [2 to 22]" in text


def test_phrases_are_plain_text_in_files():
    cell = phrase(
        "see ", Link("kernel", "studies/kernel"), " ", Mark("refuted", "refuted"), ": ", Code("a <= b")
    )
    table = Table("t", "c", ("what",), ((cell,),))
    assert read(table) == [{"what": "see kernel refuted: a <= b"}]
    assert r"see kernel refuted: a $<$= b" in table.to_latex()
    assert coded("run `a b` now").parts == ("run ", Code("a b"), " now")
    assert joined([phrase("a"), phrase("b")]).text == "a; b"


def test_a_long_table_goes_on_over_pages():
    text = Table("t", "c", ("a", "b"), (("1", "2"),)).to_latex("ll", is_long=True)
    assert text.startswith(r"\begin{longtable}{ll}")
    assert text.count(r"a & b \\") == 2
    assert re.findall(r"\\end\{(\w+)\}", text) == ["longtable"]


def test_parquet_has_one_type_per_column():
    parquet = pytest.importorskip("pyarrow.parquet")
    score = Score(value=0.5, low=0.4, high=0.6)
    table = Table("t", "c", ("a", "b", "c"), (("x", score, 1), (2, None, None)))
    read_back = parquet.read_table(io.BytesIO(table.to_parquet())).to_pydict()
    assert read_back == {
        "a": ["x", "2"], "b": [0.5, None], "b low": [0.4, None], "b high": [0.6, None], "c": [1, None]
    }  # fmt: skip
    empty = Table("t", "c", ("a",), ())
    assert parquet.read_table(io.BytesIO(empty.to_parquet())).column_names == ["a"]


def test_parquet_names_the_extra_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'specvit\[parquet\]'"):
        Table("t", "c", ("a",), ()).to_parquet()
