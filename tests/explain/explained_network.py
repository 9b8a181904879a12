"""A small network on the pixels of the reference world, as if trained, for explanations of it."""

import torch

from specvit.estimators import network_config
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.models.network import build_network
from specvit.models.origin import Origin, TrainingRecord

OPTIONS = {
    "vit": {"patch": 256, "width": 8, "depth": 2, "heads": 2, "readout": 0},
    "subspace": {"width": 8, "depth": 1, "components": 4, "patterns": 2},
}


def small_estimator(simulator, model="vit", labels=("log_g", "teff")):
    torch.manual_seed(0)
    space = simulator.prior.label_space
    config = network_config(model).with_options(OPTIONS[model])
    network = build_network(config, simulator.grid, space.select(labels))
    train = simulator.draw("train", 42, 0, 64)
    if model == "subspace":
        network.front.fit(train.truth.flux, train.flux, train.sigma)
    else:
        network.front.fit(train.flux, train.sigma)
    training = TrainingRecord(train_spectra=64, train={"world": simulator.world.to_dict()})
    return NetworkEstimator(f"{model}-tiny").adopt(network, Origin(simulator.grid, space, training))
