import csv
import io

from specvit.report import load_contents, model_table, snr_table
from specvit.report.tables import Table
from specvit.runs import Score


def read(table):
    return list(csv.DictReader(io.StringIO(table.to_csv())))


def test_csv_holds_the_scores_of_the_summary_in_full_precision(run_folder):
    run = load_contents(run_folder.path)
    rows = read(model_table(run))
    assert [row["model"] for row in rows] == ["Ridge", "LightGBM", "Bayes ceiling"]
    assert float(rows[0]["R²"]) == run.summary.models["ridge"].overall["r2"].value
    assert float(rows[0]["R² low"]) == run.summary.models["ridge"].overall["r2"].low
    assert rows[2]["MAE [dex]"] == ""


def test_the_bin_table_has_a_row_per_bin_and_the_ceilings(run_folder):
    run = load_contents(run_folder.path)
    rows = read(snr_table(run))
    assert [int(row["spectra"]) for row in rows] == run.summary.snr_bins.counts
    assert float(rows[1]["Cramér–Rao ceiling, 5 labels p90"]) == run.summary.ceiling.bins["r2_max_5"][1].p90


def test_captions_state_sample_snr_definition_and_seed(run_folder):
    run = load_contents(run_folder.path)
    for table in (model_table(run), snr_table(run)):
        assert "300 test spectra" in table.caption
        assert "median over pixels" in table.caption
        assert "seed 42" in table.caption


def test_latex_is_a_booktabs_table_with_escaped_text():
    score = Score(value=-0.5, low=-0.6, high=-0.4)
    text = Table("t", "50 % of m_h & R²", ("model", "R²"), (("a_b", score),)).to_latex()
    assert r"a\_b & $-$0.50 [$-$0.60 to $-$0.40] \\" in text
    assert r"\caption{50 \% of m\_h \& R$^2$}" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
