import csv
import io
from dataclasses import replace

from specvit.report import load_contents, model_table, run_tables, snr_table
from specvit.report.run_tables import cell_table, coverage_table, efficiency_table, residual_table
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
    assert len(efficiency) == len(residuals) == len(run.summary.snr_bins.counts)
    for model in run.summary.models.values():
        assert float(efficiency[0][model.title]) == model.bins["efficiency"][0].value
        assert float(efficiency[1][f"{model.title}, CRLB"]) == model.bins["efficiency_crlb"][1].value
        assert float(residuals[0][f"{model.title}, 68 %"]) == model.bins["residual_68"][0].value
    assert float(residuals[1]["posterior std p10"]) == run.summary.ceiling.bins["posterior_std"][1].p10


def test_coverage_is_listed_for_models_that_state_errors(many_models, run_folder):
    run = load_contents(many_models.path)
    rows = read(coverage_table(run))
    titles = [run.summary.models[name].title for name in ("template", "posterior")]
    stated = [key for key in rows[0] if key.endswith(" %")]
    assert stated == [f"{title}, {share} %" for title in titles for share in (68, 95)]
    value = run.summary.models["template"].bins["coverage_95"][2].value
    assert float(rows[2][f"{titles[0]}, 95 %"]) == value
    assert "coverage" not in {table.name for table in run_tables(load_contents(run_folder.path))}


def test_the_table_of_cells_holds_the_full_ones(many_models):
    run = load_contents(many_models.path)
    rows = read(cell_table(run))
    full = run.cells["stars"][run.cells["stars"] >= run.cells["least_stars"]]
    assert [int(row["stars"]) for row in rows] == list(full)
    title = run.summary.models["template"].title
    assert float(rows[0][f"{title}: precision"]) == run.cells["precision_template"][0, 0, 0]


def test_a_model_without_some_estimates_is_named_in_the_caption(make_run):
    run = make_run()
    summary = run.summary
    summary["models"]["ridge"]["missing"] = 7
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
    ceiling = run.summary.ceiling.model_copy(update={"converged": False})
    doubtful = replace(run, summary=run.summary.model_copy(update={"ceiling": ceiling}))
    assert read(model_table(doubtful))[-1]["model"] == "Bayes ceiling, not converged"
