"""Declarations: what is misspelt is refused in one line with the nearest that is known; levels are put on top."""

import pytest

from small_studies import SMALL, study_file
from specvit.errors import ConfigError
from specvit.studies import at_scale, read_scale, read_studies, read_study
from specvit.studies.schema import choose_studies
from specvit.studies.variants import merged


def share_of(part, **keys):
    return {"text": "x", "part": part, "whole": "excess(once)", **keys}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hypotesis": "x"}, "hypotesis: unknown key; did you mean 'hypothesis'"),
        ({"rule": "excess(one) <= 1"}, "no variant 'one'; did you mean 'once'"),
        ({"rule": "excess(once) <= 1 on brigth"}, "no slice 'brigth'; did you mean 'bright'"),
        ({"rule": "excess(once) < 1"}, "expected <=, >= or within"),
        ({"metric": "exces"}, "expected one of excess"),
        ({"factors": {}}, "factors"),
        ({"scales": {"smoke": {"factors": {"noise": {"ones": {}}}}}}, "no noise 'ones'"),
        ({"scales": {"smok": {}}}, "scales.smok"),
        ({"outcomes": {"supported": "x"}}, "outcomes.refuted: is missing"),
        ({"id": "Small One"}, "id"),
        (
            {"shares": {"a": share_of("excess(one)")}},
            "shares.a: the study has no variant 'one'; did you mean",
        ),
        ({"shares": {"a": share_of("excess(once) <= 1")}}, "shares.a: rule: expected [+], - or the end"),
        ({"shares": {"a": share_of("0.5")}}, "shares.a: rule: expected a measure"),
        ({"shares": {"a": share_of("excess(once)", slice="brigth")}}, "no slice 'brigth'; did you mean"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_one_line(tmp_path, changes, message):
    path = study_file(tmp_path, SMALL, **changes)
    with pytest.raises(ConfigError, match=message) as caught:
        read_study(path)
    assert str(caught.value).isprintable()
    assert path.name[:5] in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"estimator": {"nam": "ridge"}}, "estimator.nam: unknown key; did you mean 'name'"),
        ({"estimator": {"name": "rigde"}}, "did you mean 'ridge'"),
        ({"estimator": {"options": {"alpha": [1]}}}, "unknown option 'alpha'; did you mean 'alphas'"),
        ({"simulat": {"train": 50}}, "simulat: unknown key; did you mean 'simulate'"),
        ({"simulate": {"train": 1}}, "simulate.train"),
        ({"estimator": {"labels": ["teff"]}}, "the study judges 'log_g'"),
        ({"estimator": {"labels": ["logg", "log_g"]}}, "'logg' is not a label"),
        ({"test": {"noise_level": -1}}, "test.noise_level"),
    ],
)
def test_a_level_that_cannot_be_meant_names_study_and_variant(tmp_path, keys, message):
    factors = {"noise": {"once": keys, "again": {}, "twice": {}}}
    study = read_study(study_file(tmp_path, SMALL, factors=factors))
    with pytest.raises(ConfigError, match=message) as caught:
        at_scale(study, "smoke", read_scale("smoke"))
    assert "study small, variant once" in str(caught.value)


def test_the_name_of_the_file_is_the_id(tmp_path):
    path = study_file(tmp_path, SMALL).rename(tmp_path / "large.toml")
    with pytest.raises(ConfigError, match="has the name of its file"):
        read_study(path)


def test_levels_lie_over_the_base_and_scales_over_levels(tmp_path):
    study = read_study(
        study_file(
            tmp_path,
            SMALL,
            base={"estimator": {"name": "ridge"}, "simulate": {"train": 60, "validation": 40}},
            shares={},
            factors={
                "noise": {"low": {"simulate": {"noise_level": 0.5, "train": 70}}, "high": {}},
                "stars": {"few": {}, "many": {"simulate": {"train": 80}}},
            },
            rule="excess(low/few) <= excess(high/many)",
            scales={"smoke": {"seeds": [7], "factors": {"stars": {"few": {"simulate": {"train": 50}}}}}},
        )
    )
    scaled = at_scale(study, "smoke", read_scale("smoke"))
    assert study.variants == ("low/few", "low/many", "high/few", "high/many")
    assert scaled.seeds == (7,)
    train = {v.name: v.trials[7].config.simulate.train for v in scaled.variants}
    assert train == {"low/few": 50, "low/many": 80, "high/few": 50, "high/many": 80}
    assert {v.trials[7].config.simulate.validation for v in scaled.variants} == {40}
    assert scaled.variant("low/few").changes == {"simulate.noise_level": 0.5, "simulate.train": 50}
    assert {v.trials[7].config.simulate.seed for v in scaled.variants} == {7}


def test_merging_changes_neither_table():
    low, high = {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}
    assert merged(low, high) == {"a": {"b": 3, "c": 2}}
    assert (low, high) == ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})


def test_a_folder_of_ones_own_is_a_catalogue(tmp_path):
    study_file(tmp_path, SMALL)
    assert list(read_studies(tmp_path)) == ["small"]
    assert choose_studies(["small"], tmp_path, False)[0].title == SMALL["title"]
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        choose_studies(["smal"], tmp_path, False)
    with pytest.raises(ConfigError, match="no folder"):
        read_studies(tmp_path / "none")
    with pytest.raises(ConfigError, match="give --all"):
        choose_studies([], None, False)
