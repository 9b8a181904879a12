"""Studies of denoisers: judged by the flux of test stars, on formulas of their own; what does not fit is refused."""

import json

import pytest
import torch

from specvit.cli import main
from specvit.denoise import DenoisedSpectra
from specvit.errors import ConfigError
from specvit.jobs.config.trial import trial_config
from specvit.jobs.denoiser_trial import flux_scores, prepare_denoiser_trial
from specvit.runs import FluxScores, RunFolder
from specvit.runs.study_result import read_study_result, result_path
from specvit.simulate import Simulator
from specvit.studies import Store, read_studies, scaled_studies
from specvit.studies.schema import read_study

NAMES = [name for name in read_studies() if name.startswith("denoise-")]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two studies run at the scale smoke."""
    places = tmp_path_factory.mktemp("studies")
    command = ["study", "run", "denoise-bounded", "denoise-coverage", "--scale", "smoke"]
    assert main([*command, "--runs", str(places / "runs"), "--results", str(places / "results")]) == 0
    return places


def test_a_denoiser_study_is_judged_by_flux_alone(done):
    result = read_study_result(result_path(done / "results", "denoise-bounded", "smoke"))
    assert result.verdict == "undecided"
    assert not result.exact
    scores = result.variants["bounded"].scores["all"]
    assert set(scores) == {"flux_error", "flux_wmae"}
    noisy = result.variants["noisy"].scores["all"]
    # Half of the noise is left in the spectra, and none of it taken away; a pipeline's sigma is nearly the true one.
    assert noisy["flux_wmae"].value == pytest.approx(0.5 * (2 / torch.pi) ** 0.5, rel=0.1)
    covered = read_study_result(result_path(done / "results", "denoise-coverage", "smoke"))
    assert 0 < covered.variants["basis"].scores["all"]["flux_inside_68"].value < 1


def test_scores_of_a_run_are_those_of_its_test_stars(done):
    study = read_studies()["denoise-bounded"]
    (scaled,) = scaled_studies([study], "smoke")
    trial = next(iter(scaled.variant("noisy").trials.values()))
    run = RunFolder.open(Store(done / "runs").folder_of(trial))
    stars = trial.yardstick(exact=False).source.draw(0, 16)
    off = 0.5 * (stars.flux - stars.truth.flux)
    found = FluxScores.read(run)
    assert torch.allclose(torch.from_numpy(found.error), off.double().square().mean(dim=1), rtol=1e-4)
    assert torch.allclose(
        torch.from_numpy(found.weighed), (off.abs() / stars.sigma).double().mean(dim=1), rtol=1e-4
    )


def test_every_variant_of_every_denoiser_study_can_be_prepared():
    for scale in ("smoke", "laptop", "reference"):
        for scaled in scaled_studies([read_studies()[name] for name in NAMES], scale):
            assert scaled.study.judges_flux
            digests = [trial.digest for variant in scaled.variants for trial in variant.trials.values()]
            assert len(set(digests)) == len(digests)


class Drawing:
    """Answers the truth, and draws samples about it from a normal distribution that is wrong by a factor."""

    name, digest = "drawing", "0" * 16

    def __init__(self, width):
        self.width, self.generator = width, torch.Generator().manual_seed(1)

    def denoise(self, flux, sigma, strength=1.0, draws=0, seed=0):
        noise = torch.randn(len(flux), draws, flux.shape[1], generator=self.generator)
        # The truth is one more draw about the mean of the samples.
        shift = torch.randn(flux.shape, generator=self.generator)
        return DenoisedSpectra(flux, samples=flux[:, None] + shift[:, None] + self.width * noise)


@pytest.mark.parametrize(("width", "share_68", "share_95"), [(1.0, 0.68, 0.95), (0.5, 0.381, 0.673)])
def test_coverage_by_few_samples_is_without_bias(width, share_68, share_95):
    stars = Simulator.build(instrument="gaia_rvs").draw("test", 1, 0, 40)
    quiet = stars.__class__(stars.truth.flux, stars.sigma, stars.labels, {}, stars.snr, stars.truth)
    # Of the right width even seven samples, of which no two have 68 % between them, say so; of another, many do.
    for draws in (7, 60) if width == 1 else (200,):
        found = flux_scores(Drawing(width), quiet, draws=draws)
        assert found.inside_68.mean() == pytest.approx(share_68, abs=0.015)
        assert found.inside_95.mean() == pytest.approx(share_95, abs=0.015)


def test_studies_that_mix_labels_and_flux_are_refused(tmp_path):
    text = (
        'study_version = 1\nid = "{}"\ntitle = "t"\ntrack = "t"\nquestion = "q?"\nhypothesis = "h"\n'
        'metric = "{}"\nrule = "{}"\nsource = {{ work = "w", claim = "c", number = "no" }}\n'
        'outcomes = {{ supported = "a.", refuted = "b.", undecided = "c." }}\n'
        'base = {{ estimator.name = "{}" }}\nfactors = {{ f = {{ a = {{}}, b = {{ test.seed = 42 }} }} }}\n'
    )
    path = tmp_path / "mixed.toml"
    path.write_text(text.format("mixed", "excess", "flux_error(a) <= flux_error(b)", "unet-denoiser"))
    with pytest.raises(ConfigError, match="not both"):
        read_study(path)
    for name, metric in (("ridge", "flux_error"), ("unet-denoiser", "error")):
        path.write_text(text.format("mixed", metric, f"{metric}(a) <= {metric}(b)", name))
        with pytest.raises(ConfigError, match=f"'{name}' gives none"):
            scaled_studies([read_study(path)], "smoke")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strength": 2.0}, "strength"),
        ({"strength": 0.5, "draws": 3}, "draws"),
        ({"noise_share": 0.0}, "noise_share"),
        ({"draws": "many"}, "numbers"),
        ({"objectiv": "clean"}, "objective"),
    ],
)
def test_how_a_denoiser_is_asked_is_checked_before_it_is_trained(options, words):
    config = trial_config({"estimator": {"name": "unet-denoiser", "options": options}}, "here")
    with pytest.raises(ConfigError, match=words):
        prepare_denoiser_trial(config)
    assert json.dumps(config.to_dict())
