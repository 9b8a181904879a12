import pytest

from specvit.report import load_contents
from specvit.report.meanings import curve_meanings, leak_warnings
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


def test_a_model_above_the_bayes_ceiling_is_called_an_error_and_not_the_best(make_run):
    run = load_contents(make_run(models=("ridge", "leak")).path)
    (warning,) = leak_warnings(run)
    headroom = run.summary.models["leak"].overall["headroom"]
    assert warning.startswith("leak is above the Bayes ceiling: leakage or a bug")
    assert f"{-headroom.value:.3f} higher" in warning
    assert f"{-headroom.high:.3f} to {-headroom.low:.3f}" in warning
    assert findings(run)[0].startswith("Ridge measures")


def test_honest_models_are_not_warned_of(many_models):
    run = load_contents(many_models.path)
    assert leak_warnings(run) == []
    assert all(model.above_ceiling is False for model in run.summary.models.values())


def test_every_curve_has_its_meaning(many_models):
    run = load_contents(many_models.path)
    meanings = curve_meanings(run)
    names = [name for name, _ in meanings]
    assert names[:2] == ["Cramér–Rao ceiling", "Bayes ceiling"]
    titles = {model.title for model in run.summary.models.values()}
    assert {title for name in names[2:] for title in name.split(", ")} == titles
    assert len(meanings) == 2 + 5  # linear models, trees, networks, template fit and posterior mean
    assert "Teff, log g, [M/H], [α/M] and [C/M] are free" in meanings[0][1]
    assert all(text.count(". ") == 1 and text.endswith(".") for _, text in meanings)


def test_stated_errors_are_compared_with_the_truth(many_models):
    run = load_contents(many_models.path)
    (sentence,) = (s for s in findings(run) if "68 % intervals" in s)
    share = run.summary.models["template"].overall["coverage_68"].value
    assert f"{run.summary.models['template'].title} {100 * share:.0f} %" in sentence


def test_without_a_bayes_ceiling_the_cramer_rao_ceiling_is_quoted_with_its_limits(make_run):
    last = findings(load_contents(make_run(bayes=False).path))[-1]
    assert "Cramér–Rao" in last
    assert "unbiased" in last


def test_a_ceiling_that_has_not_converged_is_called_provisional(make_run):
    run = make_run()
    with run.stage("bayes") as record:
        record |= {"stars": 300, "converged": 300, "median_ess": 650.0, "minimum_ess": 401.0}
    assert not any("converged" in sentence for sentence in findings(load_contents(run.path)))
    with run.stage("bayes") as record:
        record |= {"stars": 300, "converged": 297, "median_ess": 650.0, "minimum_ess": 12.3}
    (warning,) = [s for s in findings(load_contents(run.path)) if "not converged" in s]
    assert "3 of its 300 posteriors" in warning
    assert "smallest 12" in warning


def test_a_ceiling_that_has_converged_but_for_a_few_posteriors_is_no_warning(make_run):
    run = make_run()
    with run.stage("bayes") as record:
        record |= {"stars": 300, "converged": 299, "median_ess": 1200.0, "minimum_ess": 210.0}
    summary = run.summary
    summary["ceiling"] |= {"converged": True, "sampler_error": 0.0012}
    run.write_summary(summary)
    assert not any("converged" in sentence for sentence in findings(load_contents(run.path)))


def test_a_ceiling_whose_sampling_error_is_too_large_is_named(make_run):
    run = make_run()
    summary = run.summary
    summary["ceiling"] |= {"converged": False, "sampler_error": 0.0042}
    run.write_summary(summary)
    (warning,) = [s for s in findings(load_contents(run.path)) if "not converged" in s]
    assert "moves it by 0.004" in warning
