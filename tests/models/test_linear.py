"""Ridge, PCA-Ridge and PLS against scikit-learn and the normal equations."""

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import StandardScaler

from specvit.errors import ConfigError, DataError, LabelError, RunError, ShapeError
from specvit.models import PLS, Moments, PCARidge, Ridge
from specvit.models.inputs import RelativeSpectra
from specvit.spectra import LabelSpace, MemorySource, SpectraBatch, WavelengthGrid

SPACE = LabelSpace(("teff", "log_g"), ("K", "dex"), (4000.0, 1.0), (6000.0, 5.0))
PIXELS = 40


def make_source(count, seed, noise=0.3, offset=12.0):
    generator = np.random.default_rng(seed)
    labels = generator.uniform(SPACE.low, SPACE.high, (count, 2))
    unit = (labels - np.array(SPACE.low)) / np.ptp([SPACE.low, SPACE.high], axis=0)
    basis = np.random.default_rng(99).normal(size=(3, PIXELS)) * np.linspace(0.5, 3.0, PIXELS)
    flux = offset + np.c_[unit, unit[:, 0] * unit[:, 1]] @ basis
    flux += noise * generator.normal(size=flux.shape)
    sigma = np.full(flux.shape, noise)
    batch = SpectraBatch(
        torch.tensor(flux, dtype=torch.float32),
        torch.tensor(sigma, dtype=torch.float32),
        torch.tensor(labels, dtype=torch.float32),
        {},
        torch.full((count,), 1.0 / noise),
    )
    return MemorySource(batch, WavelengthGrid.linear(7100.0, 0.5, PIXELS), SPACE)


@pytest.fixture(scope="module")
def train():
    return make_source(400, 0)


@pytest.fixture(scope="module")
def validation():
    return make_source(150, 1)


def arrays(source):
    """Return flux relative to its (lower) median, as the estimators take it, and labels; float64."""
    flux = source.batch.flux.double().numpy()
    level = np.sort(flux, axis=1)[:, (PIXELS - 1) // 2]
    return flux / level[:, None], source.batch.labels.double().numpy()


def predict(model, source):
    return model.predict(source.batch.flux, source.batch.sigma).mean.numpy()


def test_moments_do_not_depend_on_the_batch_size(train):
    whole, pieces = (Moments.accumulate(train, SPACE.names, batch_size=b) for b in (400, 37))
    torch.testing.assert_close(pieces.gram, whole.gram, rtol=1e-11, atol=1e-9)
    torch.testing.assert_close(pieces.cross, whole.cross, rtol=1e-9, atol=1e-6)


def test_moments_equal_centred_numpy_products(train):
    x, y = arrays(train)
    moments = Moments.accumulate(train, SPACE.names, batch_size=64)
    centred = x - x.mean(axis=0)
    np.testing.assert_allclose(moments.gram, centred.T @ centred, atol=1e-8)
    np.testing.assert_allclose(moments.cross, centred.T @ (y - y.mean(axis=0)), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(moments.scale(True), x.std(axis=0), rtol=1e-10)


def test_moments_keep_their_digits_under_a_large_offset():
    generator = torch.Generator().manual_seed(5)
    flux = torch.randn(300, PIXELS, generator=generator, dtype=torch.float64)
    near, far = Moments(SPACE.names), Moments(SPACE.names)
    for moments, offset in ((near, 0.0), (far, 2.0**26)):
        for part in (flux + offset).split(50):
            live = torch.ones_like(part)
            moments.add(RelativeSpectra(part, live, live[:, 0], live[:, 0]), torch.ones(len(part), 2))
    # 2²⁶ + flux rounds to 1e-8; naive sums of squares about zero, of order 10¹⁸, would lose all digits.
    torch.testing.assert_close(far.gram, near.gram, rtol=0, atol=1e-4)


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 30.0, 1e5])
def test_ridge_equals_scikit_learn(train, validation, alpha, standardise):
    x, y = arrays(train)
    scaler = StandardScaler().fit(x) if standardise else StandardScaler(with_std=False).fit(x)
    expected = SklearnRidge(alpha=alpha).fit(scaler.transform(x), y)
    ours = Ridge(alphas=[alpha], standardise=standardise).fit(train, validation)
    wanted = expected.predict(scaler.transform(arrays(validation)[0]))
    np.testing.assert_allclose(predict(ours, validation), wanted, rtol=1e-8)


def test_ridge_picks_the_alpha_of_best_validation_r2_per_label(train, validation):
    alphas = [1e-3, 1.0, 1e3, 1e6]
    x, y = arrays(train)
    held_x, held_y = arrays(validation)
    fits = [SklearnRidge(alpha=a).fit(x, y).predict(held_x) for a in alphas]
    chosen = Ridge(alphas=alphas, standardise=False).fit(train, validation).choice
    for p, name in enumerate(SPACE.names):
        errors = [np.square(z[:, p] - held_y[:, p]).sum() for z in fits]
        assert chosen[name]["alpha"] == alphas[int(np.argmin(errors))]
        r2 = 1 - min(errors) / np.square(held_y[:, p] - held_y[:, p].mean()).sum()
        assert chosen[name]["validation_r2"] == pytest.approx(r2, abs=1e-8)


@pytest.mark.parametrize("components", [1, 3, 17])
def test_pca_regression_equals_scikit_learn(train, validation, components):
    x, y = arrays(train)
    pca = PCA(components).fit(x)
    line = LinearRegression().fit(pca.transform(x), y)
    wanted = line.predict(pca.transform(arrays(validation)[0]))
    ours = PCARidge(components=[components], alphas=[0.0], standardise=False).fit(train, validation)
    np.testing.assert_allclose(predict(ours, validation), wanted, rtol=1e-8)


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("label", SPACE.names)
def test_pls_equals_scikit_learn(train, validation, label, standardise):
    x, y = arrays(train)
    # A tie-free comparison needs the number of components ours picked.
    ours = PLS(labels=[label], components=6, standardise=standardise).fit(train, validation)
    count = ours.choice[label]["components"]
    # NIPALS of scikit-learn divides by N - 1 where we divide by N: scaling cancels in the prediction.
    theirs = PLSRegression(count, scale=standardise, tol=1e-12).fit(x, y[:, SPACE.index(label)])
    wanted = theirs.predict(arrays(validation)[0]).ravel()
    np.testing.assert_allclose(predict(ours, validation)[:, 0], wanted, rtol=1e-6)


def test_pls_with_all_directions_is_ordinary_least_squares(train):
    x, y = arrays(train)
    model = PLS(labels=["log_g"], components=PIXELS, standardise=False)
    _, weights = model._candidates(Moments.accumulate(train, ["log_g"]))
    np.testing.assert_allclose(weights[:, -1, 0], LinearRegression().fit(x, y[:, 1]).coef_, rtol=1e-4)


def test_one_accumulation_serves_all_linear_models(train, validation):
    moments = Moments.accumulate(train, SPACE.names)
    for model in (Ridge(), PCARidge(components=[2, 5]), PLS(components=4)):
        shared = predict(model.fit_moments(moments, train, validation), validation)
        alone = predict(type(model)(**model._options()).fit(train, validation), validation)
        np.testing.assert_allclose(shared, alone, rtol=1e-9)


def test_constant_pixels_are_ignored(train, validation):
    def with_constant(source):
        flux = source.batch.flux.clone()
        flux[:, 3] = 0.0
        # Below the median either way, which so stays: constant but for float32 rounding.
        flux[:, 3] = 0.7 * flux.median(dim=1).values
        batch = SpectraBatch(flux, source.batch.sigma, source.batch.labels, {}, source.batch.snr)
        return MemorySource(batch, source.grid, SPACE)

    model = Ridge(alphas=[1.0]).fit(with_constant(train), with_constant(validation))
    assert torch.isfinite(model.weights).all()
    assert model.weights[3].abs().max() < 1e-6 * model.weights.abs().max()


def test_dead_pixels_are_the_training_mean_and_may_hold_anything(train, validation):
    model = Ridge(alphas=[1.0]).fit(train, validation)
    flux, sigma = validation.batch.flux[:5].clone(), validation.batch.sigma[:5].clone()
    sigma[:, 7] = torch.inf
    expected = model.predict(flux, sigma)
    # With one pixel fewer the lower median is that of the others.
    level = torch.cat([flux[:, :7], flux[:, 8:]], dim=1).double().median(dim=1).values
    filled = flux.double() / level[:, None]
    filled[:, 7] = model.mean_flux[7]
    by_hand = (filled - model.mean_flux) @ model.weights + model.mean_labels
    torch.testing.assert_close(expected.mean, by_hand, rtol=1e-9, atol=0)
    assert expected.diagnostics.usable_share.tolist() == [1 - 1 / PIXELS] * 5
    for anything in (torch.nan, torch.inf, 1e30, -7.0):
        flux[:, 7] = anything
        assert torch.equal(model.predict(flux, sigma).mean, expected.mean)


def test_ridge_survives_dead_pixels_in_training(train, validation):
    flux, sigma = train.batch.flux.clone(), train.batch.sigma.clone()
    flux[::9, 4], sigma[::9, 4] = torch.nan, torch.inf
    batch = SpectraBatch(flux, sigma, train.batch.labels, {}, train.batch.snr)
    model = Ridge(alphas=[1.0]).fit(MemorySource(batch, train.grid, SPACE), validation)
    clean = Ridge(alphas=[1.0]).fit(train, validation)
    assert model.choice["teff"]["validation_r2"] == pytest.approx(
        clean.choice["teff"]["validation_r2"], abs=0.02
    )


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda f, s: (f[:, :-1], s[:, :-1]), ShapeError, "40 pixels.*39"),
        (lambda f, s: (f, s[:1]), ShapeError, "one shape"),
        (lambda f, s: (f, s.index_fill(1, torch.tensor([2]), -1.0)), DataError, "sigma is -1.*pixel 2"),
    ],
)
def test_unusable_spectra_are_refused_in_one_line(train, validation, change, error, words):
    model = Ridge(alphas=[1.0]).fit(train, validation)
    with pytest.raises(error, match=words) as caught:
        model.predict(*change(validation.batch.flux, validation.batch.sigma))
    assert "\n" not in str(caught.value)


def test_unknown_labels_in_training_are_refused(train, validation):
    labels = train.batch.labels.clone()
    labels[11, 1] = torch.nan
    batch = SpectraBatch(train.batch.flux, train.batch.sigma, labels, {}, train.batch.snr)
    with pytest.raises(LabelError, match="log_g is not finite in row 11"):
        Ridge().fit(MemorySource(batch, train.grid, SPACE), validation)


def test_constant_validation_labels_are_refused(train, validation):
    batch = validation.batch
    flat = SpectraBatch(batch.flux, batch.sigma, torch.ones_like(batch.labels), {}, batch.snr)
    with pytest.raises(DataError, match="teff is constant"):
        Ridge().fit(train, MemorySource(flat, validation.grid, SPACE))


@pytest.mark.parametrize(
    "make", [lambda: Ridge(alphas=[-1]), lambda: PCARidge(components=[0]), lambda: PLS(components=0)]
)
def test_impossible_options_are_usage_errors(make):
    with pytest.raises(ConfigError):
        make()


def test_predict_before_fit_says_so():
    with pytest.raises(RunError, match="fit or load"):
        Ridge().predict(torch.ones(1, 3), torch.ones(1, 3))


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 30.0])
def test_fewer_spectra_than_half_the_pixels_give_the_same_ridge(validation, alpha, standardise):
    """Their rows are decomposed instead of a Gram matrix; without a penalty, the solution of least norm."""
    few = make_source(18, 3)
    x, y = arrays(few)
    scaler = StandardScaler(with_std=standardise).fit(x)
    reference = SklearnRidge(alpha=alpha) if alpha else LinearRegression()
    expected = reference.fit(scaler.transform(x), y).predict(scaler.transform(arrays(validation)[0]))
    found = predict(Ridge(alphas=(alpha,), standardise=standardise).fit(few, validation), validation)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("standardise", [False, True])
def test_rows_and_gram_matrix_have_the_same_directions(standardise):
    few = make_source(18, 3)
    rows, gram = (Moments.accumulate(few, SPACE.names) for _ in range(2))
    assert gram.gram.shape == (PIXELS, PIXELS)
    kept, whole = rows.eigen(standardise), gram.eigen(standardise)
    # Eighteen spectra about their mean vary in seventeen directions.
    assert len(kept.values) == 17
    torch.testing.assert_close(kept.values, whole.values[:17], rtol=1e-9, atol=0)
    torch.testing.assert_close(kept.scale, whole.scale, rtol=1e-12, atol=0)
    overlap = (kept.vectors.T @ whole.vectors[:, :17]).abs()
    torch.testing.assert_close(overlap, torch.eye(17, dtype=torch.float64), rtol=0, atol=1e-6)


def test_spectra_that_are_all_the_same_say_nothing(validation):
    one = make_source(1, 4).batch
    same = MemorySource(
        SpectraBatch.concatenate([one] * 12), WavelengthGrid.linear(7100.0, 0.5, PIXELS), SPACE
    )
    labels = torch.stack([torch.linspace(4000, 6000, 12), torch.linspace(1, 5, 12)], dim=1)
    same.batch.labels.copy_(labels)
    found = predict(Ridge().fit(same, validation), validation)
    np.testing.assert_allclose(found, np.broadcast_to(labels.mean(dim=0), found.shape), rtol=1e-6)
