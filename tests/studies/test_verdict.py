"""Verdicts on simulated variants of known quality come out right, at the stated rates."""

import numpy as np
import pytest

from specvit.studies.measures import MEASURES, Judged
from specvit.studies.rule import claims_of, parse_rule
from specvit.studies.verdict import decide, effects_of, verdict_of

STARS, DRAWS, REPEATS = 300, 400, 200


def trainings(rng, excess, seeds=3, between_seeds=0.04, shared=None):
    """What a variant with a known excess risk says: off the posterior mean by errors of its own, and of all."""
    spread = np.sqrt(excess) * np.exp(between_seeds * rng.standard_normal((seeds, 1)))
    own = rng.standard_normal((seeds, STARS))
    common = 0 if shared is None else shared
    return spread * (0.6 * common + 0.8 * own) if shared is not None else spread * own


def world(rng):
    """Posterior mean, variance and labels of stars whose noise differs."""
    variance = rng.uniform(0.05, 0.6, STARS)
    mean = rng.standard_normal(STARS)
    return mean, variance, mean + np.sqrt(variance) * rng.standard_normal(STARS)


def repeated(rule, seeds=3, **excesses):
    """Verdicts of a rule over repeated experiments in which the variants have these true excess risks."""
    rng, parsed, verdicts = np.random.default_rng(11), parse_rule(rule), []
    for k in range(REPEATS):
        mean, variance, truth = world(rng)
        shared = rng.standard_normal(STARS)
        judged = {
            name: Judged(truth, mean + trainings(rng, excess, seeds, shared=shared), mean, variance)
            for name, excess in excesses.items()
        }
        claims = list(claims_of(parsed))
        decided = decide(claims, [effects_of(claim, judged, DRAWS, k) for claim in claims])
        verdicts.append(verdict_of(parsed, {one.claim: one.verdict for one in decided}))
    return {name: verdicts.count(name) / REPEATS for name in ("supported", "refuted", "undecided")}


def test_a_variant_that_is_clearly_better_is_found():
    found = repeated("excess(new) <= 0.95 * excess(old)", seeds=5, new=0.06, old=0.1)
    assert found["supported"] > 0.9
    assert found["refuted"] == 0


def test_a_variant_that_is_clearly_worse_is_refuted():
    found = repeated("excess(new) <= 0.95 * excess(old)", seeds=5, new=0.12, old=0.08)
    assert found["refuted"] > 0.9
    assert found["supported"] == 0


def test_two_variants_of_one_quality_are_not_called_different():
    found = repeated("excess(one) <= excess(two)", one=0.1, two=0.1)
    # 2.5 % each; 6 % of 200 come by chance once in 250 times.
    assert found["supported"] < 0.06
    assert found["refuted"] < 0.06


def test_at_the_threshold_itself_nothing_is_found():
    found = repeated("excess(new) <= 0.8 * excess(old)", new=0.08, old=0.1)
    assert max(found["supported"], found["refuted"]) < 0.06


def test_a_copy_of_a_run_is_never_better_than_it():
    rng = np.random.default_rng(0)
    mean, variance, truth = world(rng)
    same = Judged(truth, mean + trainings(rng, 0.1), mean, variance)
    for text in ("excess(a) <= excess(b)", "r2(a) >= r2(b)", "mae(a) <= mae(b)"):
        claims = list(claims_of(parse_rule(text)))
        (decided,) = decide(claims, [effects_of(claims[0], {"a": same, "b": same}, DRAWS, 0)])
        assert decided.verdict == "undecided"


def test_equivalence_needs_both_ends_within_the_margin():
    assert repeated("excess(a) within 40 % of excess(b)", seeds=5, a=0.1, b=0.1)["supported"] > 0.9
    # Equal, but a margin that these trials cannot resolve.
    assert repeated("excess(a) within 1 % of excess(b)", a=0.1, b=0.1)["undecided"] > 0.9
    assert repeated("excess(a) within 10 % of excess(b)", seeds=5, a=0.2, b=0.1)["refuted"] > 0.9


def test_holm_keeps_the_rate_of_any_wrong_verdict():
    names = "abcdef"
    rule = " or ".join(f"excess({name}) <= excess(old)" for name in names)
    found = repeated(rule, old=0.1, **dict.fromkeys(names, 0.1))
    assert found["supported"] < 0.08


def test_without_holm_six_comparisons_would_be_wrong_more_often(monkeypatch):
    monkeypatch.setattr("specvit.studies.verdict.UNCORRECTED", 100)
    names = "abcdef"
    rule = " or ".join(f"excess({name}) <= excess(old)" for name in names)
    plain = repeated(rule, old=0.1, **dict.fromkeys(names, 0.1))["supported"]
    monkeypatch.setattr("specvit.studies.verdict.UNCORRECTED", 2)
    assert repeated(rule, old=0.1, **dict.fromkeys(names, 0.1))["supported"] < plain


def test_one_seed_decides_nothing():
    rng = np.random.default_rng(0)
    mean, variance, truth = world(rng)
    judged = {
        name: Judged(truth, mean + trainings(rng, excess, seeds=1), mean, variance)
        for name, excess in (("a", 0.001), ("b", 1.0))
    }
    (claim,) = claims_of(parse_rule("excess(a) <= excess(b)"))
    (decided,) = decide([claim], [effects_of(claim, judged, DRAWS, 0)])
    assert decided.effects[0].interval().high < 0
    assert decided.verdict == "undecided"


@pytest.mark.parametrize(
    ("verdicts", "both", "either"),
    [
        (("supported", "supported"), "supported", "supported"),
        (("supported", "undecided"), "undecided", "supported"),
        (("supported", "refuted"), "refuted", "supported"),
        (("undecided", "refuted"), "refuted", "undecided"),
        (("refuted", "refuted"), "refuted", "refuted"),
    ],
)
def test_and_and_or(verdicts, both, either):
    for word, expected in (("and", both), ("or", either)):
        rule = parse_rule(f"excess(a) <= 1 {word} excess(b) <= 1")
        assert verdict_of(rule, dict(zip(claims_of(rule), verdicts, strict=True))) == expected


def test_measures_are_what_they_say():
    rng = np.random.default_rng(3)
    mean, variance, truth = world(rng)
    estimates = mean + 0.3 * rng.standard_normal((2, STARS))
    judged = Judged(truth, estimates, mean, variance)
    # Those of bounds and of what a network looks at are in `test_measures`.
    plain = ("excess", "r2", "mae", "expected_r2", "ceiling", "error")
    found = {name: MEASURES[name].of(judged).mean() for name in plain}
    assert found["excess"] == pytest.approx(np.mean((estimates - mean) ** 2))
    assert found["r2"] == pytest.approx(
        np.mean([1 - np.mean((e - truth) ** 2) / truth.var() for e in estimates])
    )
    assert found["mae"] == pytest.approx(np.mean(abs(estimates - truth)))
    assert found["expected_r2"] == pytest.approx(found["ceiling"] - found["excess"] / truth.var())
    # What the drawn labels add to the risk is the posterior's variance, whatever the estimate.
    assert found["error"] == pytest.approx(found["excess"] + variance.mean(), abs=0.06)
    part = judged.on(truth > 0)
    assert len(part.truth) == part.estimates.shape[1] == (truth > 0).sum()
