import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specvit.errors import ConfigError, DomainError, LabelError, ShapeError
from specvit.instrument import Instrument
from specvit.library import Emulator
from specvit.simulate import BLOCK, Simulator, UniformPrior
from specvit.simulate.deviates import NoiseStream
from specvit.simulate.seeding import STARS, TILE, noise_generator, noise_key
from specvit.spectra import LOW_T_BOX, SpectraBatch, median_snr


def assert_same(a: SpectraBatch, b: SpectraBatch) -> None:
    assert torch.equal(a.flux, b.flux)
    assert torch.equal(a.sigma, b.sigma)
    assert torch.equal(a.labels, b.labels)
    assert torch.equal(a.snr, b.snr)
    assert all(torch.equal(a.conditions[name], b.conditions[name]) for name in a.conditions)


@pytest.fixture(scope="module")
def three_blocks(simulator):
    return simulator.draw("train", 7, 0, 3 * BLOCK)


@settings(deadline=None, max_examples=15)
@given(st.tuples(st.integers(0, 3 * BLOCK - 1), st.integers(0, 3 * BLOCK - 1)).filter(lambda t: t[0] != t[1]))
def test_a_spectrum_does_not_depend_on_the_range_it_is_drawn_in(simulator, three_blocks, ends):
    start, stop = sorted(ends)
    assert_same(simulator.draw("train", 7, start, stop), three_blocks[start:stop])


def test_nor_on_where_the_groups_of_stars_end(simulator):
    across = simulator.draw("train", 7, STARS - 40, STARS + 40)
    assert_same(simulator.draw("train", 7, STARS - 40, STARS), across[:40])
    assert_same(simulator.draw("train", 7, STARS + 3, STARS + 17), across[43:57])
    assert len(torch.unique(across.labels, dim=0)) == 80


def test_what_is_done_to_a_batch_does_not_reach_later_draws(simulator, three_blocks):
    mine = simulator.draw("train", 7, 0, 10)
    for values in (mine.flux, mine.sigma, mine.labels, mine.snr, *mine.conditions.values()):
        values.zero_()
    assert_same(simulator.draw("train", 7, 0, 10), three_blocks[:10])


def test_leaving_out_the_truth_changes_nothing_else(simulator, three_blocks):
    bare = simulator.draw("train", 7, 0, 3 * BLOCK, truth=False)
    assert bare.truth is None
    assert_same(bare, three_blocks)


def observed_in_double(simulator: Simulator, labels, conditions, noise):
    """The definition of a spectrum, step by step in float64: flux, sigma, S/N, clean flux, true sigma."""
    instrument = Instrument.load(simulator.instrument.name)
    clean = instrument.observe(Emulator.builtin().double())(labels.double()).numpy()
    conditions = {name: value.double() for name, value in conditions.items()}
    true = instrument.noise_sigma(torch.from_numpy(clean), conditions).numpy()
    noisy = clean + true * noise
    level = np.sort(noisy, axis=1)[:, (noisy.shape[1] - 1) // 2]
    sigma = instrument.pipeline_sigma(torch.from_numpy(level), conditions).numpy()
    snr = np.sort(clean / true, axis=1)[:, (noisy.shape[1] - 1) // 2]
    return (*(values / level[:, None] for values in (noisy, sigma)), snr, clean / level[:, None], true)


@pytest.mark.parametrize("name", ["pfs_mr_reference", "gaia_rvs"])
def test_a_spectrum_is_what_its_definition_says(simulator, name):
    world = simulator if name == simulator.instrument.name else Simulator.build(name)
    batch = world.draw("test", 5, 2 * TILE, 3 * TILE, epoch=1)
    noise = torch.empty(TILE, world.grid.size)
    NoiseStream(noise_key(5, "test", 1), noise.numel()).fill(2, noise)
    flux, sigma, snr, clean, true = observed_in_double(world, batch.labels, batch.conditions, noise.numpy())
    np.testing.assert_allclose(batch.truth.flux, clean, rtol=3e-5)
    np.testing.assert_allclose(batch.truth.sigma / batch.truth.scale[:, None], true, rtol=3e-5)
    np.testing.assert_allclose(batch.flux, flux, rtol=3e-5, atol=3e-6)
    np.testing.assert_allclose(batch.sigma, sigma, rtol=3e-5)
    np.testing.assert_allclose(batch.snr, snr, rtol=3e-5)
    # The batched way, for accelerators and for given noise, is the same arithmetic.
    again = world.observe(batch.labels, batch.conditions, noise)
    torch.testing.assert_close(again.flux, batch.flux, rtol=3e-5, atol=3e-6)
    torch.testing.assert_close(again.sigma, batch.sigma, rtol=3e-5, atol=0)
    torch.testing.assert_close(again.truth.sigma, batch.truth.sigma, rtol=3e-5, atol=0)


def test_streams_of_any_batch_size_are_one_stream(simulator, three_blocks):
    for batch in (50, 64, 100):
        stream = simulator.stream("train", 7, batch)
        drawn = SpectraBatch.concatenate([next(stream) for _ in range(-(-3 * BLOCK // batch))])
        assert_same(drawn[: 3 * BLOCK], three_blocks.without_truth())
        assert drawn.truth is None


def test_splits_and_seeds_share_no_star_and_no_noise(simulator, three_blocks):
    others = [simulator.draw("test", 7, 0, BLOCK), simulator.draw("train", 8, 0, BLOCK)]
    for other in others:
        assert not torch.isin(other.labels[:, 0], three_blocks.labels[:, 0]).any()
        assert not torch.isin(other.flux[:, 0], three_blocks.flux[:, 0]).any()


def test_an_epoch_changes_the_noise_only(simulator, three_blocks):
    again = simulator.draw("train", 7, 0, BLOCK, epoch=1)
    assert torch.equal(again.labels, three_blocks.labels[:BLOCK])
    assert torch.equal(again.snr, three_blocks.snr[:BLOCK])
    assert (again.flux != three_blocks.flux[:BLOCK]).float().mean() > 0.999


def test_noise_has_the_true_sigma(simulator):
    batch = simulator.draw("train", 3, 0, 512)
    pull = ((batch.flux - batch.truth.flux) / batch.truth.sigma).double()
    # 2 million normal deviates: five standard errors.
    assert abs(pull.mean()) < 5 / np.sqrt(pull.numel())
    assert abs(pull.var() - 1) < 5 * np.sqrt(2 / pull.numel())


def test_snr_is_that_of_the_noise_free_spectrum(simulator):
    batch = simulator.draw("test", 3, 0, BLOCK)
    torch.testing.assert_close(batch.snr, median_snr(batch.truth.flux, batch.truth.sigma), rtol=1e-5, atol=0)


def test_normalisations_do_what_their_names_say(simulator):
    observed = simulator.draw("test", 3, 0, BLOCK)
    torch.testing.assert_close(observed.flux.median(dim=1).values, torch.ones(BLOCK))
    options = (simulator.observed, simulator.instrument, simulator.prior)
    reference = Simulator(*options, normalisation="noise_free_median").draw("test", 3, 0, BLOCK)
    torch.testing.assert_close(reference.truth.flux.median(dim=1).values, torch.ones(BLOCK))
    ratio = observed.flux / reference.flux
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4, atol=0)


def test_noise_level_scales_sigma_and_zero_means_clean(simulator):
    options = (simulator.observed, simulator.instrument, simulator.prior)
    half = Simulator(*options, noise_level=0.5, normalisation="noise_free_median").draw("test", 3, 0, 8)
    full = Simulator(*options, noise_level=1.0, normalisation="noise_free_median").draw("test", 3, 0, 8)
    torch.testing.assert_close(half.truth.sigma, full.truth.sigma / 2)
    torch.testing.assert_close(
        half.flux - half.truth.flux, (full.flux - full.truth.flux) / 2, rtol=1e-3, atol=1e-5
    )
    clean = Simulator(*options, noise_level=0.0).draw("test", 3, 0, 8)
    assert torch.equal(clean.flux, clean.truth.flux)


def test_the_visible_sigma_is_the_pipelines_unless_asked(simulator):
    batch = simulator.draw("test", 3, 0, BLOCK)
    assert not torch.allclose(batch.sigma, batch.truth.sigma, rtol=1e-4)
    # The two agree closely: a pipeline's noise model is good, it only does not know the star's lines.
    assert (batch.sigma / batch.truth.sigma - 1).abs().median() < 0.05
    leaky = Simulator(simulator.observed, simulator.instrument, simulator.prior, visible_sigma="true")
    drawn = leaky.draw("test", 3, 0, BLOCK)
    assert torch.equal(drawn.sigma, drawn.truth.sigma)


class Leaky(UniformPrior):
    """A prior that breaks its word."""

    def __init__(self, space, broken):
        super().__init__(space)
        object.__setattr__(self, "broken", broken)

    def sample(self, count, generator):
        return self.broken(super().sample(count, generator))


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        (lambda labels: labels + 1, DomainError, r"Leaky\.sample: log_g = .* lies outside"),
        (lambda labels: labels * torch.nan, LabelError, r"Leaky\.sample: teff is not finite"),
        (lambda labels: labels[:7], ShapeError, r"Leaky\.sample: expected float32 labels of shape"),
        (lambda labels: labels.double(), ShapeError, "got torch.float64"),
    ],
)
def test_a_prior_that_leaves_its_box_is_refused(simulator, broken, error, message):
    prior = Leaky(simulator.prior.label_space, broken)
    with pytest.raises(error, match=message):
        Simulator(simulator.observed, simulator.instrument, prior).draw("test", 1, 0, 4)


def test_impossible_requests_are_refused(simulator):
    options = (simulator.observed, simulator.instrument)
    for level in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="noise_level: expected a finite number >= 0"):
            Simulator(*options, simulator.prior, noise_level=level)
    with pytest.raises(ConfigError, match="the noise of 'validation' is frozen"):
        simulator.source("validation", 1, 8, fresh_noise=True)
    with pytest.raises(ConfigError, match="seed: expected a whole number"):
        simulator.draw("test", -1, 0, 8)
    with pytest.raises(ConfigError, match="normalisation: 'mean' is not known"):
        Simulator(*options, simulator.prior, normalisation="mean")
    with pytest.raises(DomainError, match="prior: teff = 7000"):
        Simulator(*options, UniformPrior(LOW_T_BOX.replace(teff=(4000, 7000))))
    with pytest.raises(ConfigError, match="0 <= start < stop"):
        simulator.draw("train", 1, 5, 5)
    with pytest.raises(ConfigError, match="split: 'dev'"):
        simulator.draw("dev", 1, 0, 5)


def test_what_accelerators_draw_is_keyed_by_block_and_has_the_stars_of_the_cpu(simulator):
    """The path of other devices, run on the CPU: across a group's end, and asked for in parts."""
    start, stop = STARS - BLOCK, STARS + BLOCK
    whole, first, second = (
        simulator._draw_on_device("train", 7, a, b, 1, torch.device("cpu"), True)
        for a, b in ((start, stop), (start, STARS), (STARS, stop))
    )
    expected = simulator.draw("train", 7, start, stop, epoch=1)
    assert torch.equal(whole.labels, expected.labels)
    assert all(torch.equal(whole.conditions[name], expected.conditions[name]) for name in expected.conditions)
    torch.testing.assert_close(whole.snr, expected.snr, rtol=1e-5, atol=0)
    torch.testing.assert_close(first.flux, whole.flux[:BLOCK])
    torch.testing.assert_close(second.flux, whole.flux[BLOCK:])
    noise = torch.randn(BLOCK, simulator.grid.size, generator=noise_generator(7, "train", 1, STARS // BLOCK))
    again = simulator.observe(second.labels, second.conditions, noise)
    torch.testing.assert_close(again.flux, second.flux)


@pytest.mark.gpu
def test_cpu_and_gpu_draw_the_same_stars(simulator):
    cpu, gpu = simulator.draw("test", 3, 0, 100), simulator.draw("test", 3, 0, 100, device="cuda")
    torch.testing.assert_close(gpu.labels.cpu(), cpu.labels)
    torch.testing.assert_close(gpu.snr.cpu(), cpu.snr, rtol=1e-4, atol=0)
