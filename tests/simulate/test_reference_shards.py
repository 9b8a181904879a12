"""The reference work's dataset files, written here with their keys and their 35-column pandas table."""

import tracemalloc

import h5py
import numpy as np
import pytest
import torch

from reference_dataset import PIXELS, write_shard
from specvit.errors import ConfigError, DataError, DomainError, WavelengthRangeError
from specvit.simulate.reference_shards import ReferenceShards
from specvit.simulate.sigma_template import SigmaTemplate
from specvit.spectra import LOW_T_BOX, SpectraSource, collect


def test_labels_conditions_and_flux_come_through(tmp_path):
    labels, flux, _sigma, mag = write_shard(tmp_path / "dataset.h5")
    source = ReferenceShards(
        tmp_path / "dataset.h5",
        noise_level=0,
        normalisation="noise_free_median",
        truth=True,
        visible_sigma="true",
    )
    assert isinstance(source, SpectraSource)
    batch = collect(source)
    np.testing.assert_allclose(batch.labels.numpy(), labels, rtol=1e-6)
    np.testing.assert_allclose(batch.conditions["mag"].numpy(), mag, rtol=1e-6)
    assert (batch.conditions["exposure_count"] == 12).all()
    np.testing.assert_allclose(batch.flux.median(dim=1).values.numpy(), 1.0, rtol=1e-6)
    lower_median = np.sort(flux, axis=1)[:, (PIXELS - 1) // 2, None]
    np.testing.assert_allclose(batch.flux.numpy(), flux / lower_median, rtol=1e-5)


def test_noise_has_the_stored_sigma_and_snr_is_definition_b(tmp_path):
    _, flux, sigma, _ = write_shard(tmp_path / "dataset.h5")
    source = ReferenceShards(tmp_path / "dataset.h5", normalisation="noise_free_median", truth=True)
    batch = collect(source)
    pull = (batch.flux - batch.truth.flux) / batch.truth.sigma
    # 60 000 draws: the mean and the variance of a standard normal lie within 5 standard errors.
    assert abs(float(pull.mean())) < 5 / np.sqrt(pull.numel())
    assert abs(float(pull.var()) - 1) < 5 * np.sqrt(2 / pull.numel())
    sigma[:, 0], sigma[:, -1] = sigma[:, 1], sigma[:, -2]
    expected = np.sort(flux / sigma, axis=1)[:, (PIXELS - 1) // 2]
    np.testing.assert_allclose(batch.snr.numpy(), expected, rtol=1e-5)


def test_spectra_do_not_depend_on_the_batch_size_and_cross_files(tmp_path):
    write_shard(tmp_path / "a.h5", 150, seed=1)
    write_shard(tmp_path / "b.h5", 150, seed=2)
    source = ReferenceShards([tmp_path / "a.h5", tmp_path / "b.h5"], count=280)
    assert len(source) == 280
    one, two = collect(source, 280), collect(source, 37)
    assert torch.equal(one.flux, two.flux)
    assert torch.equal(one.sigma, two.sigma)
    assert torch.equal(one.labels, two.labels)


def test_rows_are_read_as_they_are_asked_for(tmp_path):
    write_shard(tmp_path / "a.h5", 20_000)
    source = ReferenceShards(tmp_path / "a.h5")
    tracemalloc.start()
    for batch in source.batches(100):
        assert batch.flux.shape == (100, PIXELS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stored = 20_000 * PIXELS * 8 * 2
    assert peak < stored / 20


def test_splits_do_not_share_noise(tmp_path):
    write_shard(tmp_path / "a.h5", 100)
    train = collect(ReferenceShards(tmp_path / "a.h5", split="train")).flux
    test = collect(ReferenceShards(tmp_path / "a.h5", split="test")).flux
    assert not torch.equal(train, test)


def test_repairs_are_counted_per_pass(tmp_path):
    write_shard(tmp_path / "a.h5", 100)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["dataset/arrays/flux/value"][7, 20:23] = -0.01
    source = ReferenceShards(tmp_path / "a.h5")
    for _ in range(2):
        batch = collect(source)
        assert (source.repairs.spectra, source.repairs.sigma_filled, source.repairs.flux_clipped) == (
            100,
            200,
            3,
        )
    assert torch.isfinite(batch.sigma).all()


def ridge_r2(features, target):
    """Held-out R² of a ridge regression on standardised features."""
    half = len(target) // 2
    scaled = (features - features[:half].mean(0)) / (features[:half].std(0) + 1e-12)
    design, held = scaled[:half], scaled[half:]
    weights = np.linalg.solve(
        design.T @ design + np.eye(design.shape[1]), design.T @ (target[:half] - target[:half].mean())
    )
    residual = target[half:] - target[:half].mean() - held @ weights
    return 1 - (residual**2).sum() / ((target[half:] - target[half:].mean()) ** 2).sum()


def test_visible_sigma_does_not_leak_the_star_and_the_stored_one_does(tmp_path):
    labels, *_ = write_shard(tmp_path / "a.h5", 1000)
    for kind, leaks in (("pipeline", False), ("true", True)):
        batch = collect(ReferenceShards(tmp_path / "a.h5", visible_sigma=kind))
        log_sigma = batch.sigma.log().double().numpy()
        level = np.median(log_sigma, axis=1, keepdims=True)
        powers = np.hstack([level, level**2, level**3])
        without_level = log_sigma - level
        coefficients, *_ = np.linalg.lstsq(
            np.hstack([np.ones_like(level), powers]), without_level, rcond=None
        )
        shape = without_level - np.hstack([np.ones_like(level), powers]) @ coefficients
        r2 = ridge_r2(shape, labels[:, 1])
        assert r2 > 0.8 if leaks else r2 < 0.02, (kind, r2)


def test_visible_sigma_depends_on_one_number_and_follows_the_true_shape(tmp_path):
    _, _, sigma, _ = write_shard(tmp_path / "a.h5", 1000)
    template = SigmaTemplate.fit(sigma[:, 1:-1])
    visible = template(torch.tensor([0.1, 0.1, 0.3]))
    assert torch.equal(visible[0], visible[1])
    np.testing.assert_allclose(visible.median(dim=1).values.numpy(), [0.1, 0.1, 0.3], rtol=1e-2)
    level = np.median(sigma[:, 1:-1], axis=1)
    ratio = template(torch.from_numpy(level.astype(np.float32))).numpy() / sigma[:, 1:-1]
    assert np.abs(np.median(ratio, axis=0)[[0, 16, 33, 150]] - 1).max() < 0.03
    with pytest.raises(DataError, match="at least 64 spectra, got 10"):
        SigmaTemplate.fit(sigma[:10, 1:-1])


def test_stored_noise_is_used_as_it_is(tmp_path):
    _, flux, *_ = write_shard(tmp_path / "a.h5", 100, noisy=True)
    batch = collect(ReferenceShards(tmp_path / "a.h5", noise="stored", normalisation="noise_free_median"))
    np.testing.assert_allclose(batch.flux.numpy() * 0.5, flux + 0.01, rtol=2e-2)
    write_shard(tmp_path / "b.h5", 100)
    with pytest.raises(DataError, match=r"b\.h5: has no 'dataset/arrays/noisy/value'"):
        collect(ReferenceShards(tmp_path / "b.h5", noise="stored"))
    with pytest.raises(ConfigError, match="one realisation"):
        ReferenceShards(tmp_path / "a.h5", noise="stored", noise_level=2)


@pytest.mark.parametrize(
    ("array", "value", "message"),
    [
        ("flux", np.nan, "flux is not finite in row 5, pixel 9"),
        ("error", 0.0, "sigma is not finite and positive"),
    ],
)
def test_unusable_values_name_row_and_pixel(tmp_path, array, value, message):
    write_shard(tmp_path / "a.h5", 100)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file[f"dataset/arrays/{array}/value"][5, 9] = value
    with pytest.raises(DataError, match=message):
        collect(ReferenceShards(tmp_path / "a.h5"))


def test_files_that_do_not_fit_are_refused(tmp_path):
    write_shard(tmp_path / "a.h5", 100)
    write_shard(tmp_path / "b.h5", 100, wave=np.linspace(7000, 8000, PIXELS))
    with pytest.raises(WavelengthRangeError, match=r"b\.h5: expected 200 pixels"):
        ReferenceShards([tmp_path / "a.h5", tmp_path / "b.h5"])
    with pytest.raises(DataError, match="no such file"):
        ReferenceShards(tmp_path / "absent.h5")
    with pytest.raises(ConfigError, match="the files hold 100"):
        ReferenceShards(tmp_path / "a.h5", count=101)
    with pytest.raises(DomainError, match="log_g"):
        ReferenceShards(tmp_path / "a.h5", label_space=LOW_T_BOX.replace(log_g=(2, 3)))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["dataset/arrays/error/value"]
    with pytest.raises(DataError, match="has no 'dataset/arrays/error/value'"):
        ReferenceShards(tmp_path / "a.h5")


def test_labels_can_be_a_choice(tmp_path):
    labels, *_ = write_shard(tmp_path / "a.h5", 100)
    source = ReferenceShards(tmp_path / "a.h5", label_space=LOW_T_BOX.select(["log_g", "teff"]))
    np.testing.assert_allclose(collect(source).labels.numpy(), labels[:, [1, 0]], rtol=1e-6)
