import pytest

from specvit.report import load_contents
from specvit.report.words import findings, number, score_text
from specvit.runs import Score


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.4167, 2, "0.42"), (-0.5, 1, "−0.5"), (-0.001, 2, "0.00"), (None, 2, "–"), (4183.6, 0, "4184")],
)
def test_numbers_are_rounded_with_a_true_minus(value, digits, text):
    assert number(value, digits) == text


def test_scores_show_their_interval():
    assert score_text(Score(value=0.5, low=0.4, high=0.6), 2) == "0.50 [0.40 to 0.60]"
    assert score_text(Score(value=0.5), 2) == "0.50"


def test_the_first_sentence_is_about_the_best_model(run_folder):
    run = load_contents(run_folder.path)
    best = max(run.summary.models.values(), key=lambda model: model.overall["r2"].value)
    first = findings(run)[0]
    assert first.startswith(best.title)
    assert number(best.overall["r2"].value, 2) in first


def test_a_model_above_the_bayes_ceiling_is_called_an_error(make_run):
    run = make_run()
    summary = run.summary
    for model, efficiency in (("ridge", 1.1), ("lightgbm", 1.02)):
        summary["models"][model]["overall"]["efficiency"] = {
            "value": efficiency,
            "low": efficiency - 0.05,
            "high": efficiency + 0.05,
        }
    run.write_summary(summary)
    warning = [s for s in findings(load_contents(run.path)) if "above the Bayes ceiling" in s]
    assert len(warning) == 1
    assert warning[0].startswith("Ridge")


def test_without_a_bayes_ceiling_the_cramer_rao_ceiling_is_quoted_with_its_limits(make_run):
    last = findings(load_contents(make_run(bayes=False).path))[-1]
    assert "Cramér–Rao" in last
    assert "unbiased" in last
