"""The mixture behind the protocol: what it gains and from what, what it is told, and how it fails."""

import numpy as np
import pytest
import torch
from expert_stars import GRID, SPACE, known, make_source, r2

from specvit.errors import ConfigError, DataError, LabelError, RunError
from specvit.estimators import load_estimator
from specvit.models import Ridge
from specvit.models.experts import MixtureOfExperts, linear_experts, mixture_of_experts
from specvit.models.experts.pools import RidgePath
from specvit.spectra import MemorySource

QUICK = {"components": 4, "alphas": (0.01, 1.0, 100.0)}
KINDS = {
    "ridge": {},
    "trees gate": {"gate": "lightgbm"},
    "regression": {"gate": "regression"},
    "conditional": {"expert": "conditional"},
    "lightgbm": {"expert": "lightgbm", "rounds": 8},
    "mlp": {"expert": "mlp", "width": 8, "rebin": 4},
    "trunk": {"expert": "trunk", "width": 8, "rebin": 4, "gate": "mlp"},
}


@pytest.fixture(scope="module")
def train():
    return make_source(900, 0)


@pytest.fixture(scope="module")
def validation():
    return make_source(400, 1)


@pytest.fixture(scope="module")
def test_stars():
    return make_source(500, 2)


def fitted(train, validation, labels=("log_g",), **options):
    return MixtureOfExperts(labels, **{"partition": "mh", **QUICK, **options}).fit(train, validation)


@pytest.fixture(autouse=True)
def _no_earlier_fit():
    """What one test has fitted is not what the next one fits."""
    mixture_of_experts._FITS.clear()


@pytest.fixture(scope="module")
def model(train, validation):
    return fitted(train, validation)


def test_experts_gain_where_one_line_cannot_be_right(model, test_stars):
    batch = test_stars.batch
    score = {
        routing: r2(model.predict_routed(batch.flux, batch.sigma, routing, known(test_stars)), test_stars)
        for routing in ("global", "soft", "hard", "fallback", "pseudo", "oracle")
    }
    assert score["oracle"] > 0.8
    assert score["global"] < 0.5
    assert min(score["soft"], score["hard"], score["fallback"]) > score["global"] + 0.2
    assert model.choice["log_g"]["gate_accuracy"] > 0.7


def test_coverage_is_counted(model, train):
    m_h = train.batch.labels[:, 2]
    assert model.coverage == pytest.approx(float(((m_h >= -2) & (m_h <= 0.5)).double().mean()), abs=1e-6)
    assert model.choice["log_g"]["coverage"] == pytest.approx(model.coverage, abs=1e-5)
    assert model.without_expert == {"outside": "outside the partition"}


def test_an_expert_is_the_ridge_of_its_bin(model, train, validation, test_stars):
    def of_bin(source):
        inside = (source.batch.labels[:, 2] >= -2) & (source.batch.labels[:, 2] < -1)
        return MemorySource(source.batch[inside], GRID, SPACE)

    alone = Ridge(["log_g"], QUICK["alphas"]).fit(of_bin(train), of_bin(validation))
    low = of_bin(test_stars)
    found = model.predict_routed(low.batch.flux, low.batch.sigma, "oracle", known(low))
    torch.testing.assert_close(
        found.mean, alone.predict(low.batch.flux, low.batch.sigma).mean, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_one_answers_the_same(kind, train, validation, test_stars, tmp_path):
    model = fitted(train, validation, ("log_g", "teff"), **KINDS[kind])
    model.save(tmp_path / "m")
    again = load_estimator(tmp_path / "m")
    batch = test_stars.batch
    one, other = (which.predict(batch.flux, batch.sigma) for which in (model, again))
    for name, values in one.to_arrays().items():
        np.testing.assert_array_equal(values, other.to_arrays()[name], err_msg=name)
    assert (again.choice, again.without_expert, again.coverage) == (
        model.choice,
        model.without_expert,
        model.coverage,
    )
    assert one.names == ("log_g", "teff")
    assert r2(one, test_stars) > 0.1


def test_equal_seeds_give_equal_models(train, validation, test_stars):
    batch = test_stars.batch
    for kind in ("regression", "trunk"):
        one, other = (
            fitted(train, validation, **KINDS[kind]).predict(batch.flux, batch.sigma) for _ in range(2)
        )
        assert torch.equal(one.mean, other.mean)


def test_mixtures_that_differ_in_routing_share_their_fit_and_nothing_else(train, validation, monkeypatch):
    read = []
    whole = MixtureOfExperts._read
    monkeypatch.setattr(MixtureOfExperts, "_read", lambda self, *more: read.append(1) or whole(self, *more))
    fits = [fitted(train, validation, routing=routing) for routing in ("soft", "hard", "oracle")]
    assert len(read) == 1
    assert len({fit.choice["log_g"]["validation_r2"] for fit in fits}) == 3
    fitted(train, validation, gate="mlp")
    fitted(make_source(900, 5), validation)
    shuffled = MemorySource(train.batch, GRID, SPACE)
    shuffled.batch = type(train.batch)(train.batch.flux, train.batch.sigma, train.batch.labels.flip(0))
    fitted(shuffled, validation)
    assert len(read) == 4


def test_stated_intervals_hold(model):
    stars = make_source(4000, 7)
    found = model.predict(stars.batch.flux, stars.batch.sigma)
    truth = stars.batch.labels[:, 1:2].double()
    for share in (0.68, 0.95):
        low, high = found.quantiles.interval(share)
        # 400 validation spectra correct them: a share of 68 % is known to 2.4 points then.
        assert float(((low <= truth) & (truth <= high)).double().mean()) == pytest.approx(share, abs=0.06)


def test_the_unit_of_the_spectra_does_not_matter(model, test_stars):
    batch = test_stars.batch[:50]
    one = model.predict(batch.flux, batch.sigma)
    other = model.predict(batch.flux.double() * 3e-17, batch.sigma.double() * 3e-17)
    torch.testing.assert_close(one.mean, other.mean, rtol=1e-5, atol=1e-5)
    assert len(model.predict(batch.flux[:0], batch.sigma[:0])) == 0


def test_dead_gate_windows_are_no_reason_to_fail(model, test_stars):
    flux, sigma = test_stars.batch.flux[:20].clone(), test_stars.batch.sigma[:20].clone()
    flux[:, 10:80] = torch.nan
    found = model.predict(flux, sigma)
    assert found.mean.isfinite().all()
    assert found.quantiles.values.isfinite().all()
    # Values under dead pixels do not matter.
    sigma[:, 10:80] = torch.inf
    flux[:, 10:80] = 7.0
    torch.testing.assert_close(model.predict(flux, sigma).mean, found.mean)


def test_a_bin_without_training_spectra_is_answered_by_the_model_of_all(validation, test_stars):
    rich = make_source(500, 0, low=(3750.0, 1.0, -1.0))
    model = fitted(rich, validation)
    (name,) = set(model.without_expert) - {"outside"}
    assert name == "m_h -2 to -1"
    assert "0 training spectra" in model.without_expert[name]
    assert model.choice["log_g"]["without_expert"] == [f"{name}: {model.without_expert[name]}"]
    poor = known(test_stars)["m_h"] < -1
    batch = test_stars.batch[poor & (known(test_stars)["m_h"] > -2)]
    labels = dict(zip(SPACE.names, batch.labels.double().T, strict=True))
    oracle, of_all = (model.predict_routed(batch.flux, batch.sigma, r, labels) for r in ("oracle", "global"))
    assert torch.equal(oracle.mean, of_all.mean)


def test_an_expert_whose_fit_fails_is_answered_by_the_model_of_all(train, validation, monkeypatch):
    whole = RidgePath.of

    def of(pool, standardise):
        path = whole(pool, standardise)
        if pool.count < 600 and pool.mean_labels[1] < -1:
            path.projected[:] = torch.nan
        return path

    monkeypatch.setattr(linear_experts.RidgePath, "of", of)
    model = fitted(train, validation)
    assert model.without_expert["m_h -2 to -1"] == "its fit has no finite weights"
    assert model.predict(train.batch.flux[:5], train.batch.sigma[:5]).mean.isfinite().all()


def test_no_bin_with_spectra_is_an_error(train, validation):
    with pytest.raises(DataError, match="no bin of the partition has 30 training spectra; take wider bins"):
        fitted(train, validation, partition="m_h:8/9")


@pytest.mark.parametrize(("outside", "expected"), [("global", "global"), ("expert", None), ("nearest", None)])
def test_a_star_in_no_bin_is_answered_as_was_asked(train, validation, test_stars, outside, expected):
    model = fitted(train, validation, outside=outside)
    poor = test_stars.batch[known(test_stars)["m_h"] < -2.05]
    labels = dict(zip(SPACE.names, poor.labels.double().T, strict=True))
    oracle, of_all = (model.predict_routed(poor.flux, poor.sigma, r, labels) for r in ("oracle", "global"))
    assert torch.equal(oracle.mean, of_all.mean) == (expected == "global")
    if expected is None:
        stars = MemorySource(poor, GRID, SPACE)
        assert r2(oracle, stars) > r2(of_all, stars)


def test_the_oracle_must_be_told(train, validation, test_stars):
    model = fitted(train, validation, routing="oracle")
    batch = test_stars.batch
    assert model.is_informed
    with pytest.raises(RunError, match="routing=soft"):
        model.predict(batch.flux, batch.sigma)
    told = model.predict_knowing(batch.flux, batch.sigma, known(test_stars))
    assert r2(told, test_stars) > 0.8
    with pytest.raises(LabelError, match="m_h"):
        model.predict_knowing(batch.flux, batch.sigma, {"teff": torch.zeros(len(batch))})


def test_conditional_experts_with_the_true_label_beat_those_with_its_estimate(train, validation, test_stars):
    batch = test_stars.batch
    told = fitted(train, validation, expert="conditional", routing="oracle")
    estimated = fitted(train, validation, expert="conditional")
    knowing = r2(told.predict_knowing(batch.flux, batch.sigma, known(test_stars)), test_stars)
    plain = r2(estimated.predict_routed(batch.flux, batch.sigma, "global"), test_stars)
    assert knowing > r2(estimated.predict(batch.flux, batch.sigma), test_stars) > plain


def test_a_gate_of_least_error_learns_from_spectra_its_experts_have_not_seen(train, validation, monkeypatch):
    """The experts it weighs are fitted on the first four fifths; what they say of the last fifth is not an echo."""
    seen, asked = [], []
    whole = linear_experts.RidgeFitter.fitted

    def fitted_of(self, held):
        seen.append(sum(pool.count for pool in self.pools.pools))
        return whole(self, held)

    monkeypatch.setattr(linear_experts.RidgeFitter, "fitted", fitted_of)
    gate = mixture_of_experts.fit_gate

    def fit_gate(kind, components, rows, unseen, *more):
        asked.append(len(unseen[0]))
        return gate(kind, components, rows, unseen, *more)

    monkeypatch.setattr(mixture_of_experts, "fit_gate", fit_gate)
    fitted(train, validation, gate="regression")
    assert (seen, asked) == ([720, 900], [180])


def test_options_that_cannot_be_meant_are_refused():
    for options, told in (
        ({"partition": "seven"}, "partition"),
        ({"gate": "magic"}, "gate"),
        ({"features": ("ca", "iron")}, "iron"),
        ({"patition": "mh"}, "partition"),
        ({"rebin": 0}, "rebin"),
    ):
        with pytest.raises(ConfigError, match=told):
            MixtureOfExperts(**options)
    with pytest.raises(RunError, match="call fit or load first"):
        MixtureOfExperts().predict(torch.ones(1, 100), torch.ones(1, 100))


def test_what_the_training_set_lacks_is_refused(train, validation):
    with pytest.raises(ConfigError, match="'c_m' is no label of the training set"):
        fitted(train, validation, partition="c_m:0/1")
    with pytest.raises(DataError, match="take inputs=pixels"):
        fitted(train, validation, inputs="subspace")
