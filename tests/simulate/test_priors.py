import numpy as np
import pytest
import torch
from scipy import stats

from specvit.errors import ConfigError
from specvit.simulate import DensityPrior, LatticeLike, LatticePrior, UniformPrior, make_prior
from specvit.spectra import LOW_T_BOX


def test_uniform_labels_are_uniform_and_independent():
    prior = UniformPrior(LOW_T_BOX)
    labels = prior.sample(20_000, np.random.default_rng(1)).double().numpy()
    LOW_T_BOX.check(labels)
    for i, name in enumerate(LOW_T_BOX.names):
        width = LOW_T_BOX.high[i] - LOW_T_BOX.low[i]
        # False alarm rate 1e-4 per label.
        assert stats.kstest((labels[:, i] - LOW_T_BOX.low[i]) / width, "uniform").pvalue > 1e-4
        assert prior.variance(name) == pytest.approx(labels[:, i].var(), rel=0.03)
    off_diagonal = np.corrcoef(labels.T)[~np.eye(5, dtype=bool)]
    assert np.abs(off_diagonal).max() < 4 / np.sqrt(len(labels))


def test_uniform_density_integrates_to_one_and_vanishes_outside():
    prior = UniformPrior(LOW_T_BOX)
    volume = np.prod(np.array(LOW_T_BOX.high) - np.array(LOW_T_BOX.low))
    middle = torch.tensor([5000.0, 3.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert prior.log_density(middle).item() == pytest.approx(-np.log(volume))
    middle[1] = 5.1
    assert prior.log_density(middle).item() == -np.inf


def test_lattice_reproduces_the_published_label_statistics():
    """A thousand published test labels: 80.3 % of log g on nodes, variance 1.365-1.367, end nodes half weight."""
    prior = LatticePrior.reference(LOW_T_BOX)
    labels = prior.sample(100_000, np.random.default_rng(2)).numpy()
    log_g = labels[:, LOW_T_BOX.index("log_g")]
    on_node = np.isclose(np.mod(log_g, 0.5), 0)
    assert on_node.mean() == pytest.approx(0.8, abs=0.005)
    assert prior.variance("log_g") == pytest.approx(1.3667, abs=1e-3)
    assert log_g.var() == pytest.approx(1.3667, abs=0.02)
    count = {value: np.isclose(log_g, value).sum() for value in (1.0, 3.0, 5.0)}
    assert count[1.0] / count[3.0] == pytest.approx(0.5, abs=0.03)
    assert count[5.0] / count[3.0] == pytest.approx(0.5, abs=0.03)


def test_lattice_frees_exactly_one_axis():
    prior = LatticePrior.reference(LOW_T_BOX)
    labels = prior.sample(2_000, np.random.default_rng(3)).double().numpy()
    cells = (labels - np.array(LOW_T_BOX.low)) / np.array(prior.steps)
    off_node = np.abs(cells - np.round(cells)) > 1e-3
    assert off_node.sum(axis=1).max() == 1
    np.testing.assert_allclose(off_node.mean(axis=0), 0.2, atol=0.04)


def test_lattice_nodes_of_the_reference_box():
    prior = LatticePrior.reference(LOW_T_BOX)
    assert [len(prior.nodes(name)) for name in LOW_T_BOX.names] == [10, 9, 14, 4, 6]
    assert prior.node_weights("log_g").sum() == pytest.approx(1)


def test_wrong_priors_are_refused():
    with pytest.raises(ConfigError, match="choose 'uniform' or 'lattice'"):
        make_prior("beta", LOW_T_BOX)
    with pytest.raises(ConfigError, match="log_g from 1 to 5 is not a whole number"):
        LatticePrior(LOW_T_BOX, (250, 0.3, 0.25, 0.25, 0.25))


def test_a_prior_says_by_its_type_what_it_offers():
    uniform, lattice = make_prior("uniform", LOW_T_BOX), make_prior("lattice", LOW_T_BOX)
    assert isinstance(uniform, DensityPrior)
    assert not isinstance(uniform, LatticeLike)
    assert isinstance(lattice, LatticeLike)
    assert not isinstance(lattice, DensityPrior)
