"""Mixtures of experts: partition, gate, experts and routing behind the protocol of every estimator."""

from specvit.models.experts.mixture_of_experts import MixtureOfExperts
from specvit.models.experts.noise_features import STRATEGIES, noise_features
from specvit.models.experts.options import ExpertsOptions
from specvit.models.experts.partition import PARTITIONS, Partition, parse_partition
from specvit.models.experts.routing import ROUTINGS

__all__ = [
    "PARTITIONS",
    "ROUTINGS",
    "STRATEGIES",
    "ExpertsOptions",
    "MixtureOfExperts",
    "Partition",
    "noise_features",
    "parse_partition",
]
