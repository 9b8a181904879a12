"""What a routing keeps of the oracle's gain: defined only where there is one, and on the same stars."""

import numpy as np
import pytest

from specvit.evaluate import oracle_gain, r2, reliability, retention


def stars(count=2000, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=count)
    return rng, truth, truth + rng.normal(0, 0.8, count)


def test_the_global_model_keeps_nothing_and_the_oracle_all():
    rng, truth, of_all = stars()
    oracle = truth + rng.normal(0, 0.4, len(truth))
    for routed, expected in ((of_all, 0), (oracle, 1)):
        kept = retention(truth, of_all, oracle, routed).kept
        assert (kept.value, kept.low, kept.high) == pytest.approx((expected,) * 3, abs=1e-12)


def test_it_is_the_ratio_of_differences_of_r2():
    rng, truth, of_all = stars()
    oracle, routed = (truth + rng.normal(0, s, len(truth)) for s in (0.4, 0.6))
    found = retention(truth, of_all, oracle, routed)
    expected = (r2(truth, routed) - r2(truth, of_all)) / (r2(truth, oracle) - r2(truth, of_all))
    assert found.kept.value == pytest.approx(expected)
    assert found.kept.low < expected < found.kept.high
    assert found.gain.value == pytest.approx(r2(truth, routed) - r2(truth, of_all))
    assert found.above_oracle.high < 0


def test_of_a_gain_that_is_not_told_from_zero_there_is_no_share():
    rng, truth, of_all = stars(200)
    oracle = of_all + rng.normal(0, 0.02, len(truth))
    gain = oracle_gain(truth, of_all, oracle)
    assert gain.low < 0 < gain.high
    assert retention(truth, of_all, oracle, truth).kept is None


def test_the_interval_of_the_share_holds():
    """68 of 80 would be the least at a false-alarm rate of one in a thousand."""
    inside = 0
    for seed in range(80):
        rng, truth, of_all = stars(300, seed)
        shared = rng.normal(0, 0.3, len(truth))
        oracle, routed = (truth + shared + rng.normal(0, s, len(truth)) for s in (0.2, 0.4))
        # 0.64 for all, 0.13 for the oracle, 0.25 for the routing.
        kept = retention(truth, of_all, oracle, routed, resamples=200, seed=seed).kept
        inside += kept.low <= (0.64 - 0.25) / (0.64 - 0.13) <= kept.high
    assert inside >= 68


def test_a_gate_that_is_as_sure_as_it_is_right_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.3, 1, 20_000)
    stated, found, counts = reliability(chance, rng.uniform(size=20_000) < chance)
    np.testing.assert_allclose(found, stated, atol=0.04)
    assert counts.tolist() == [2000] * 10
