"""What a run found, in sentences: the best model, the ceilings, and what each curve means."""

from dataclasses import replace

import pytest

from own_estimators import own_choice
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
    best = max(run.names, key=lambda name: run.summary.score(name, "r2").value)
    first = findings(run)[0]
    assert first.startswith(f"{run.title(best)} measures log g")
    assert number(run.summary.score(best, "r2").value, 2) in first


def test_a_model_above_the_bayes_ceiling_is_called_an_error_and_not_the_best(leaky):
    run = load_contents(leaky.path)
    (warning,) = leak_warnings(run)
    headroom = run.summary.score("leak", "headroom")
    assert warning.startswith("leak is above the Bayes ceiling: leakage or a bug")
    assert f"{-headroom.value:.3f} higher" in warning
    assert f"{-headroom.high:.3f} to {-headroom.low:.3f}" in warning
    assert findings(run)[0].startswith("Ridge measures")


def test_honest_models_are_not_warned_of(many_models):
    run = load_contents(many_models.path)
    assert leak_warnings(run) == []
    assert all(facts.above_ceiling == {"log_g": False} for facts in run.summary.estimators.values())


def test_the_pull_of_the_prior_is_among_the_findings(many_models):
    run = load_contents(many_models.path)
    best = findings(run)[0].split(" measures")[0]
    (sentence,) = (s for s in findings(run) if s.startswith("Estimates shrink towards the middle"))
    bins = next(run.summary.by_true_label[name]["log_g"] for name in run.names if run.title(name) == best)
    assert (
        f"at true log g 1 – 1.5 and 4.5 – 5 those of {best} are off by +{bins[0].bias:.2f} and −" in sentence
    )
    assert (
        f"{100 * bins[0].coverage_68:.0f} and {100 * bins[-1].coverage_68:.0f} % of the true values"
        in sentence
    )


def test_every_curve_has_its_meaning(many_models):
    run = load_contents(many_models.path)
    meanings = curve_meanings(run)
    names = [name for name, _ in meanings]
    assert names[:2] == ["Cramér–Rao ceiling", "Bayes ceiling"]
    assert names[2] == "Lines and points"
    titles = {facts.title for facts in run.summary.estimators.values()}
    assert {title for name in names[3:] for title in name.split(", ")} == titles
    assert len(meanings) == 3 + 5  # linear models, trees, networks, template fit and posterior mean
    assert not any("{target}" in text for _, text in meanings)
    assert "Teff, log g, [M/H], [α/M] and [C/M] are free" in meanings[0][1]
    assert all(text.count(". ") == 1 and text.endswith(".") for _, text in meanings)


def test_stated_errors_are_compared_with_the_truth(many_models):
    run = load_contents(many_models.path)
    (sentence,) = (s for s in findings(run) if "Stated 68 % intervals" in s)
    share = run.summary.score("template", "coverage_68").value
    assert f"{run.title('template')} {100 * share:.0f} %" in sentence


def test_without_a_bayes_ceiling_the_cramer_rao_ceiling_is_quoted_with_its_limits(make_run):
    last = findings(load_contents(make_run(bayes=False).path))[-1]
    assert "Cramér–Rao" in last
    assert "unbiased" in last


@pytest.fixture
def doubtful(run_folder):
    """The run with some facts of its ceiling replaced."""
    run = load_contents(run_folder.path)

    def make(**facts):
        ceiling = run.summary.ceiling.model_copy(update=facts)
        return replace(run, summary=run.summary.model_copy(update={"ceilings": {"log_g": ceiling}}))

    return make


def test_a_ceiling_that_has_not_converged_is_called_provisional(run_folder, doubtful):
    assert not any("converged" in sentence for sentence in findings(load_contents(run_folder.path)))
    poor = doubtful(converged=297, minimum_ess=12.3, ceiling_converged=False)
    (warning,) = [s for s in findings(poor) if "not converged" in s]
    assert "3 of its 300 posteriors" in warning
    assert "smallest 12" in warning


def test_a_ceiling_that_has_converged_but_for_a_few_posteriors_is_no_warning(doubtful):
    good = doubtful(converged=299, minimum_ess=210.0, ceiling_converged=True, sampler_error=0.0012)
    assert not any("converged" in sentence for sentence in findings(good))


def test_a_ceiling_whose_sampling_error_is_too_large_is_named(doubtful):
    poor = doubtful(ceiling_converged=False, sampler_error=0.0042)
    (warning,) = [s for s in findings(poor) if "not converged" in s]
    assert "moves it by 0.004" in warning


def test_a_training_is_told_without_any_ceiling(training_run):
    run = load_contents(training_run.path)
    assert findings(run)[0].startswith("SpecViT (nano) measures log g")
    assert not any("ceiling" in sentence for sentence in findings(run))
    assert [name for name, _ in curve_meanings(run)] == ["SpecViT (nano)"]


def test_a_meaning_with_braces_is_text_and_only_the_label_is_put_in(make_run):
    odd = own_choice("odd", "Odd {0}", "Weights {w} of {target}: {} and 50 %. It is {mine}.")
    run = load_contents(make_run(models=(odd,), examples=False).path)
    assert curve_meanings(run)[-1] == ("Odd {0}", "Weights {w} of log g: {} and 50 %. It is {mine}.")


def test_estimators_of_one_meaning_share_an_entry(three_labels, many_models):
    names = [name for name, _ in curve_meanings(load_contents(many_models.path))]
    assert "Ridge, PLS" in names
    assert "MLP (nano), CNN (nano), SpecViT (nano)" in names
    assert "Ridge" in [name for name, _ in curve_meanings(load_contents(three_labels.path))]
