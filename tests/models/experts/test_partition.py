"""Partitions as data: which bin a star is in, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specvit.errors import ConfigError
from specvit.models.experts import PARTITIONS, parse_partition
from specvit.spectra import LOW_T_BOX

EDGES = {"teff": (3750, 4500, 5250, 6000), "m_h": (-2, -1, 0, 0.5)}


def by_hand(teff, m_h):
    """The nine bins as the reference work numbers them: 3 T + M."""
    found = []
    for value, edges in ((teff, EDGES["teff"]), (m_h, EDGES["m_h"])):
        inside = [k for k in range(3) if edges[k] <= value < edges[k + 1] or (k == 2 and value == edges[3])]
        if not inside:
            return -1
        found += inside
    return 3 * found[0] + found[1]


@given(st.lists(st.tuples(st.sampled_from([3749, 3750, 4499.9, 4500, 5300, 6000, 6001]),
                          st.sampled_from([-2.5, -2, -1.0, -0.3, 0, 0.4, 0.5, 0.51])), min_size=1))  # fmt: skip
def test_bins_are_those_counted_by_hand(stars):
    teff, m_h = torch.tensor(stars, dtype=torch.float64).T
    bins = parse_partition("teff-mh").bins_of({"teff": teff, "m_h": m_h}, len(stars))
    assert bins.tolist() == [by_hand(*star) for star in stars]


@pytest.mark.parametrize("name", PARTITIONS)
def test_the_text_of_a_partition_is_read_back(name):
    partition = parse_partition(name)
    assert parse_partition(partition.text) == partition
    assert len(set(partition.names)) == len(partition)


def test_quantile_bins_hold_as_many_stars_each_and_all_of_them():
    values = {"m_h": torch.from_numpy(np.random.default_rng(0).normal(size=1000))}
    partition = parse_partition("m_h:q4").resolved(values)
    bins = partition.bins_of(values, 1000)
    assert torch.bincount(bins).tolist() == [250] * 4
    assert parse_partition(partition.text) == partition


def test_an_opened_partition_has_a_bin_for_every_star():
    values = {"m_h": torch.tensor([-9.0, 0.2, 9.0])}
    assert parse_partition("mh").bins_of(values, 3).tolist() == [-1, 2, -1]
    assert parse_partition("mh").opened().bins_of(values, 3).tolist() == [0, 2, 2]


def test_a_label_that_is_not_known_is_outside():
    assert parse_partition("mh").bins_of({"m_h": torch.tensor([torch.nan])}, 1).tolist() == [-1]


def test_the_share_of_the_box_is_that_of_uniform_stars():
    partition = parse_partition("teff-mh")
    assert partition.share_of(LOW_T_BOX) == pytest.approx(2.5 / 3.25)
    assert parse_partition("snr").share_of(LOW_T_BOX) is None
    assert parse_partition("whole").share_of(LOW_T_BOX) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tefff-mh", "no axis"),
        ("m_h:1", "at least two rising edges"),
        ("m_h:0/0", "rising"),
        ("m_h:a/b", "no numbers"),
        ("m_h:q0", "at least one bin"),
        ("m_h:0/1 m_h:0/1", "given twice"),
        ("teff:q50 m_h:q50", "more than 100"),
    ],
)
def test_what_is_no_partition_is_refused_with_an_example(text, told):
    with pytest.raises(ConfigError, match=told) as caught:
        parse_partition(text)
    assert "teff-mh" in str(caught.value)


def test_values_that_repeat_make_no_quantile_bins():
    with pytest.raises(ConfigError, match="too few values"):
        parse_partition("m_h:q3").resolved({"m_h": torch.zeros(50)})
