import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specvit.errors import ConfigError
from specvit.simulate import SPLITS, Simulator
from specvit.simulate.seeding import (
    GROUPS,
    SEEDS,
    _mix32,
    entropy_words,
    label_generator,
    noise_generator,
    noise_key,
    noise_seeds,
)
from specvit.simulate.splits import split_number

#: Seeds of every size, those on either side of a word's end among them.
seeds = st.one_of(
    st.integers(0, 100),
    st.integers(0, SEEDS - 1),
    st.builds(lambda low, high: low + 2**32 * high, st.integers(0, 3), st.integers(0, 3)),
)
groups = st.one_of(st.integers(0, 5), st.integers(0, GROUPS - 1))


def test_noise_seeds_never_meet():
    """The scrambling is a bijection: distinct (split, epoch, block) give distinct engine seeds."""
    seeds = {
        noise_generator(42, split, epoch, block).initial_seed()
        for split, epoch, block in itertools.product(SPLITS, range(5), range(300))
    }
    assert len(seeds) == len(SPLITS) * 5 * 300


def test_mixing_is_a_bijection_on_a_sample():
    words = np.random.default_rng(0).choice(2**32, 200_000, replace=False)
    assert len({_mix32(int(word)) for word in words}) == len(np.unique(words))


def test_label_streams_differ_between_splits_seeds_and_blocks():
    first = {
        (seed, split, block): tuple(label_generator(seed, split, block).random(2))
        for seed, split, block in itertools.product((1, 2), SPLITS, (0, 1))
    }
    assert len(set(first.values())) == len(first)
    assert first[1, "train", 0] == tuple(label_generator(1, "train", 0).random(2))


WORD = 2**32
# Constants of NumPy's SeedSequence, after O'Neill 2015 (randutils: seed_seq_fe).
INIT_A, MULT_A, INIT_B, MULT_B = 0x43B0D7E5, 0x931E8875, 0x8B51F9DD, 0x58F38DED
MIX_LEFT, MIX_RIGHT = 0xCA01F9DD, 0x4973F715


def unshifted(value):
    return value ^ (value >> 16)


def unhashed(value, constant, multiplier):
    """Undo one step of the hash: xor with a constant, times the next one, xor with the upper half."""
    following = constant * multiplier % WORD
    return unshifted(value) * pow(following, -1, WORD) % WORD ^ constant


def hashed(value, constant):
    value = (value ^ constant) * (constant * MULT_A % WORD) % WORD
    return unshifted(value)


def entropy_of(key):
    """Return the four words that a Philox key of NumPy was made of: `SeedSequence`, step by step, backwards."""
    state = [int(word) for word in np.asarray(key, np.uint64).view(np.uint32)]
    pool = [unhashed(word, INIT_B * pow(MULT_B, k, WORD) % WORD, MULT_B) for k, word in enumerate(state)]
    # Words 0 to 3 are hashed by constants 0 to 3, then each word is mixed into each other by constants 4 to 15.
    pairs = [(source, to) for source in range(4) for to in range(4) if source != to]
    for number, (source, to) in reversed(list(enumerate(pairs, 4))):
        other = hashed(pool[source], INIT_A * pow(MULT_A, number, WORD) % WORD)
        pool[to] = (unshifted(pool[to]) + MIX_RIGHT * other) * pow(MIX_LEFT, -1, WORD) % WORD
    return tuple(unhashed(word, INIT_A * pow(MULT_A, k, WORD) % WORD, MULT_A) for k, word in enumerate(pool))


@given(seeds, st.sampled_from(SPLITS), groups)
def test_seed_split_and_group_can_be_read_from_the_key(seed, split, group):
    """The proof that no two share one: the key has an inverse, whatever the sizes."""
    key = label_generator(seed, split, group).bit_generator.state["state"]["key"]
    low, number, which, high = entropy_of(key)
    assert (low + WORD * high, SPLITS[number], which) == (seed, split, group)


@given(st.tuples(seeds, groups, groups), st.tuples(seeds, groups, groups))
def test_other_arguments_are_other_words(one, other):
    assert (entropy_words(*one) == entropy_words(*other)) == (one == other)


@given(st.integers(0, WORD - 1), st.sampled_from(SPLITS), st.integers(0, WORD - 1))
def test_small_seeds_keep_their_stars(seed, split, group):
    before = np.random.Philox(seed=(seed, split_number(split), group))
    ours = label_generator(seed, split, group).bit_generator
    assert np.array_equal(before.state["state"]["key"], ours.state["state"]["key"])


def test_the_stars_that_were_alike():
    """Zeros filled up (42, validation, group 2) to (42 + 2^32, test, group 0): one label vector in both splits."""
    simulator = Simulator.build("pfs_mr_reference")
    validation = simulator.draw("validation", 42, 4096, 4096 + 256).labels
    test = simulator.draw("test", 42 + 2**32, 0, 256).labels
    assert not {tuple(star) for star in validation.tolist()} & {tuple(star) for star in test.tolist()}


@given(seeds, seeds)
def test_noise_of_two_seeds_differs(one, other):
    assert (noise_key(one, "train", 0) == noise_key(other, "train", 0)) == (one == other)


@pytest.mark.parametrize("number", [-1, WORD])
def test_numbers_without_a_word_are_refused(number):
    with pytest.raises(ConfigError, match="expected second from 0 to"):
        entropy_words(42, 0, number)
    with pytest.raises(ConfigError, match="stars are numbered from 0 to 8796093022207"):
        label_generator(42, "train", number)
    with pytest.raises(ConfigError, match="seed: expected a whole number"):
        label_generator(-1, "train", 0)


def test_noise_of_neighbouring_blocks_is_uncorrelated():
    a, b = (torch.randn(200_000, generator=noise_generator(0, "train", 0, k)) for k in (0, 1))
    assert abs(float((a * b).mean())) < 5 / np.sqrt(200_000)


def test_unknown_splits_are_refused():
    with pytest.raises(ConfigError, match="choose one of train, validation, test"):
        label_generator(0, "dev", 0)


def test_seeds_of_many_blocks_are_those_of_each():
    many = noise_seeds(7, "train", 2, range(5, 9))
    assert many == [noise_generator(7, "train", 2, block).initial_seed() for block in range(5, 9)]
