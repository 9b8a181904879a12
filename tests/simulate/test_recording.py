"""The compiled way to record a tile against the definition in PyTorch and NumPy."""

import hashlib
import itertools
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from specvit.instrument import Instrument
from specvit.library import Emulator
from specvit.numerics.compiling import kept_on_disk
from specvit.simulate import Simulator, compiled, recording
from specvit.simulate.deviates import WARM_UP, stream_state
from specvit.simulate.observer import Observer, Records
from specvit.simulate.recording import CompiledRecorder, TorchRecorder
from specvit.simulate.seeding import TILE, noise_key

PIXELS = 4096


def assert_close(compiled_records: Records, records: Records) -> None:
    """To float32 rounding; flux near zero is the difference of two numbers of order one."""
    for name in ("sigma", "snr", "flux"):
        allowed = 5e-6 if name == "flux" else 0
        ours, theirs = getattr(compiled_records, name), getattr(records, name)
        torch.testing.assert_close(ours, theirs, rtol=3e-6, atol=allowed, equal_nan=True)
    if records.truth is not None:
        for name in ("flux", "sigma", "scale"):
            ours, theirs = getattr(compiled_records.truth, name), getattr(records.truth, name)
            torch.testing.assert_close(ours, theirs, rtol=3e-6, atol=0)


def products(simulator, magnitude: float | None = None):
    """Flux, response, sky, constant and noise factors of one tile of stars, at a magnitude of one's choice."""
    labels, conditions = simulator.labels_and_conditions("test", 4, 0)
    labels, conditions = labels[:TILE], {name: value[:TILE] for name, value in conditions.items()}
    if magnitude is not None:
        conditions["mag"] = torch.full_like(conditions["mag"], magnitude)
    model = simulator.instrument.noise
    multipliers = model.multipliers(conditions, torch.float32)
    response = multipliers.response @ model.response_table(torch.float32)
    sky = multipliers.sky @ model.sky_table(torch.float32)
    with torch.no_grad():
        flux = simulator.observed(labels, check=False)
    # No two alike, so that a star with the factor of another is noticed.
    return flux, response, sky, multipliers.constant, torch.linspace(0.1, 2.0, TILE)


def recorded(kind, simulator, observer, tile, truth=True) -> Records:
    """What a recorder writes; the products are its own copies."""
    key = noise_key(4, "test", 0)
    recorder = kind(simulator.instrument.noise, observer, simulator.instrument.continuum.float(), key, TILE)
    seen = Records.empty(tile[0].shape, truth, torch.empty)
    recorder.record(5, *(values.clone() for values in tile), seen)
    return seen


OPTIONS = list(
    itertools.product((1.0, 0.5), ("observed_median", "noise_free_median"), ("pipeline", "tilted", "true"))
)


@pytest.mark.parametrize("gaps", [[(7600.0, 7669.0)], [(7500.0, 7520.0), (8100.0, 8101.0)]])
def test_both_recorders_know_where_neighbours_end(gaps):
    whole = Simulator.build(noise_level=0.3)
    pixels = np.ones(PIXELS, bool)
    for low, high in gaps:
        pixels &= ~((whole.grid.wavelength > low) & (whole.grid.wavelength < high))
    instrument = whole.instrument
    cut = Instrument(instrument.settings, instrument._tables, instrument.file, pixels)
    assert len(cut.grid.segments) == 1 + len(gaps)
    simulator = Simulator(cut.observe(Emulator.builtin()), cut, whole.prior)
    observer, tile = Observer(1.0, "observed_median", "pipeline"), products(simulator)
    ours = recorded(CompiledRecorder, simulator, observer, tile)
    assert_close(ours, recorded(TorchRecorder, simulator, observer, tile))


@pytest.mark.parametrize(("noise_level", "normalisation", "visible_sigma"), OPTIONS)
@pytest.mark.parametrize("truth", [True, False])
def test_both_recorders_write_the_same(simulator, noise_level, normalisation, visible_sigma, truth):
    observer, tile = Observer(noise_level, normalisation, visible_sigma), products(simulator)
    ours = recorded(CompiledRecorder, simulator, observer, tile, truth)
    assert_close(ours, recorded(TorchRecorder, simulator, observer, tile, truth))


@pytest.mark.parametrize("name", ["pfs_mr", "gaia_rvs"])
def test_and_for_other_instruments(name):
    world = Simulator.build(name)
    observer, tile = Observer(1.0, "observed_median", "tilted"), products(world)
    ours = recorded(CompiledRecorder, world, observer, tile)
    assert_close(ours, recorded(TorchRecorder, world, observer, tile))


@pytest.mark.parametrize("pixels", [1, 2, 37, 979])
def test_any_number_of_pixels_will_do(simulator, pixels):
    flux, response, sky, *per_star = products(simulator)
    tile = [flux[:, :pixels], response[:, :pixels], sky[:, : pixels + 2], *per_star]
    model, observer = simulator.instrument.noise, Observer(1.0, "observed_median", "tilted")
    written = []
    for kind in (CompiledRecorder, TorchRecorder):
        continuum = simulator.instrument.continuum.float()[:pixels].clone()
        seen = Records.empty((TILE, pixels), True, torch.empty)
        recorder = kind(model, observer, continuum, noise_key(4, "test", 0), TILE)
        recorder.record(5, *(values.contiguous().clone() for values in tile), seen)
        written.append(seen)
    assert_close(*written)


def test_stars_lost_in_the_noise_are_the_same(simulator):
    """At i = 30 the observed median is often negative: the level is then the least a pipeline assumes."""
    observer, tile = Observer(1.0, "observed_median", "pipeline"), products(simulator, magnitude=30.0)
    ours = recorded(CompiledRecorder, simulator, observer, tile)
    theirs = recorded(TorchRecorder, simulator, observer, tile)
    assert (ours.flux.median(dim=1).values < 0).sum() > 3
    noise = (theirs.truth.sigma / theirs.truth.scale[:, None]).median(dim=1).values
    assert ((1 / ours.truth.scale - 1 / theirs.truth.scale).abs() < 1e-5 * noise).all()
    torch.testing.assert_close(ours.snr, theirs.snr, rtol=3e-6, atol=0)


@pytest.mark.parametrize("response", [0.0, 1e-43])
def test_dead_pixels_have_no_light_and_infinite_sigma(simulator, response):
    """What the foot of a filter lets through counts as nothing where float32 cannot hold its inverse."""
    observer, tile = Observer(1.0, "observed_median", "pipeline"), products(simulator)
    tile[1][:, 100:300] = response
    ours = recorded(CompiledRecorder, simulator, observer, tile)
    theirs = recorded(TorchRecorder, simulator, observer, tile)
    assert torch.isinf(ours.sigma[:, 100:300]).all()
    assert torch.isinf(ours.truth.sigma[:, 100:300]).all()
    alive = torch.ones(PIXELS, dtype=torch.bool)
    alive[100:300] = False
    for seen in (ours.sigma, ours.flux):
        assert torch.isfinite(seen[:, alive]).all()
    torch.testing.assert_close(ours.flux[:, alive], theirs.flux[:, alive], rtol=3e-6, atol=5e-6)
    torch.testing.assert_close(ours.snr, theirs.snr, rtol=3e-6, atol=0)


def test_without_noise_the_flux_is_clean(simulator):
    observer = Observer(0.0, "observed_median", "true")
    ours = recorded(CompiledRecorder, simulator, observer, products(simulator))
    assert torch.equal(ours.flux, ours.truth.flux)
    assert (ours.sigma == 0).all()
    assert torch.isposinf(ours.snr).all()


def test_bits_are_those_of_numpys_generator():
    state = stream_state(noise_key(3, "train", 2), 7)
    words = np.empty(1000, np.uint64)
    compiled._fill_with_bits(state, WARM_UP, words)
    generator = np.random.SFC64(0)
    generator.state = {**generator.state, "state": {"state": state}}
    np.testing.assert_array_equal(words, generator.random_raw(WARM_UP + 1000)[WARM_UP:])


def test_compiled_deviates_are_those_of_box_and_muller():
    words = np.random.default_rng(1).integers(-(2**31), 2**31, (2, 100_000), dtype=np.int32)
    turns = np.array([0, 2**29, 2**30, 2**30 + 2**29, 2**31 - 1, -(2**31)], dtype=np.int64)
    edges = np.array([(t + s * d) for t in turns for s in (1, -1) for d in (0, 1, 2)])
    edges = np.clip(edges, -(2**31), 2**31 - 1).astype(np.int32)
    edges = np.concatenate([edges, np.clip(-edges.astype(np.int64), None, 2**31 - 1).astype(np.int32)])
    pairs = np.array(list(itertools.product(edges, edges)), dtype=np.int32).T
    words = np.ascontiguousarray(np.concatenate([words, pairs], axis=1))
    first, second = np.empty((2, words.shape[1]), np.float32)
    compiled._deviates(words[0], words[1], first, second)
    u = np.abs((words[0] | 1).astype(np.float64)) / 2**31
    radius, angle = np.sqrt(-2 * np.log(u)), np.pi * words[1] / 2**31
    # A float32 u near 1 is known to 2^-25, and with it the smallest radii.
    allowed = 2e-6 + 2.0**-24 / np.maximum(radius, 2.0**-12)
    assert (np.abs(first - radius * np.sin(angle)) < allowed).all()
    assert (np.abs(second - radius * np.cos(angle)) < allowed).all()


def lower_median(values: np.ndarray, guess: float, spread: float) -> np.float32:
    return compiled.lower_median(values.view(np.int32), np.float32(guess), np.float32(spread))


FLOATS = st.floats(width=32, allow_nan=False)


@settings(deadline=None, max_examples=300)
@given(
    hnp.arrays(np.float32, st.integers(1, 80), elements=st.one_of(FLOATS, st.sampled_from([0.0, 1.0, -1.0]))),
    st.floats(width=32),
    st.floats(width=32),
)
def test_the_median_is_exact_whatever_is_guessed(values, guess, spread):
    expected = np.sort(values)[(values.size - 1) // 2]
    assert lower_median(values, guess, spread) == expected


@pytest.mark.parametrize("name", ["normal", "exponential", "t", "ties", "scales", "below zero"])
def test_the_median_of_many_numbers_is_exact(name):
    generator = np.random.default_rng(5)
    values = {
        "normal": 2 + 0.6 * generator.standard_normal(PIXELS),
        "exponential": generator.exponential(size=PIXELS),
        "t": 1 + 0.2 * generator.standard_t(2, size=PIXELS),
        "ties": np.repeat(generator.random(PIXELS // 512), 512),
        "scales": 10.0 ** generator.uniform(-30, 30, PIXELS),
        "below zero": generator.standard_normal(PIXELS) - 0.5,
    }[name].astype(np.float32)
    guesses = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    for size in (PIXELS, PIXELS - 1):
        expected = np.partition(values[:size], (size - 1) // 2)[(size - 1) // 2]
        assert lower_median(values[:size], *guesses) == expected


def test_without_numba_or_with_its_compiler_off_pytorch_records(simulator, monkeypatch):
    usual = simulator.draw("test", 3, 0, 50)
    assert isinstance(make(simulator), CompiledRecorder)
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    recording.compiled_code.cache_clear()
    try:
        assert isinstance(make(simulator), TorchRecorder)
        plain = simulator.draw("test", 3, 0, 50)
        monkeypatch.setitem(sys.modules, "numba", None)  # as if it were not installed
        recording.compiled_code.cache_clear()
        assert isinstance(make(simulator), TorchRecorder)
    finally:
        recording.compiled_code.cache_clear()
    assert_close(Records(*from_batch(usual)), Records(*from_batch(plain)))


def make(simulator):
    continuum = simulator.instrument.continuum.float()
    return recording.tile_recorder(
        simulator.instrument.noise, simulator.observer, continuum, noise_key(3, "test", 0), TILE
    )


def from_batch(batch):
    return batch.flux, batch.sigma, batch.snr, batch.truth


def test_code_from_the_disk_gives_the_same_bytes_as_code_just_compiled(simulator, tmp_path):
    """A job that is killed and continued runs both."""
    script = (
        "import hashlib, torch; torch.set_num_threads(1); from specvit.simulate import Simulator;"
        "batch = Simulator.build('pfs_mr_reference').draw('train', 9, 0, 100, truth=False);"
        "print(hashlib.sha256(batch.flux.numpy().tobytes() + batch.sigma.numpy().tobytes()).hexdigest())"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    answers, kept = [], []
    for _ in range(2):
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        answers.append(done.stdout.strip())
        kept.append([(path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.nbc")])
    batch = simulator.draw("train", 9, 0, 100, truth=False)
    here = hashlib.sha256(batch.flux.numpy().tobytes() + batch.sigma.numpy().tobytes()).hexdigest()
    assert answers == [here, here]
    assert len(kept[0]) == 1
    assert kept[0] == kept[1]  # the second process compiled nothing


def double(values):
    return 2 * values


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 100])
def test_a_damaged_cache_is_told_and_worked_around(cache, suffix, left):
    assert kept_on_disk(double)(3) == 6
    (file,) = cache.rglob(f"*.{suffix}")
    file.write_bytes(file.read_bytes()[:left])
    again = kept_on_disk(double)
    with pytest.warns(RuntimeWarning, match=f"could not be kept in or read from {cache}"):
        assert again(3) == 6
    assert again(4) == 8


def test_a_full_disk_is_told_and_worked_around(cache):
    function = kept_on_disk(double)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.warns(RuntimeWarning, match="File too large"):
            assert function(3) == 6
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert function(4) == 8


def test_where_nothing_can_be_kept_code_is_compiled_all_the_same():
    namespace = {}
    exec("def triple(values):\n    return 3 * values", namespace)  # no file, so no place for a cache
    assert kept_on_disk(namespace["triple"])(3) == 9
