"""Slices of a configuration are refused before any work if they could not be scored."""

import pytest

from specvit.errors import ConfigError
from specvit.jobs.config import resolve


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        ("{all = {teff = [1.0, 2.0]}}", "'all' is a slice of every run; choose another name"),
        ("{shared = {teff = [1.0, 2.0]}}", "'shared' is a slice of every run; choose another name"),
        ("{cool = {}}", "cool: expected at least one of label"),
        ("{cool = {snr_quantile = [2.0, 3.0]}}", "cool.snr_quantile: expected a part of 0 to 1"),
        ("{cool = {teff = [5000.0, 4000.0]}}", "cool.teff: low 5000 is above high 4000"),
    ],
)
def test_a_slice_that_would_take_anothers_place_or_hold_nothing_is_refused(slices, words):
    with pytest.raises(ConfigError) as caught:
        resolve("smoke", None, [f"evaluate.slices={slices}"])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_slice_of_one_value_is_a_slice():
    found = resolve("smoke", None, ["evaluate.slices={node = {m_h = [0.0, 0.0]}}"])
    assert found.evaluate.slices == {"node": {"m_h": (0.0, 0.0)}}
