"""Prior -> clean flux -> noise: spectra drawn on the fly, and the same spectra stored in shards."""

from specvit.simulate.identity import emulator_fingerprint, instrument_fingerprint
from specvit.simulate.priors import (
    DensityPrior,
    LatticeLike,
    LatticePrior,
    MarginalPrior,
    Prior,
    UniformPrior,
    interval_probabilities,
    make_prior,
)
from specvit.simulate.reference_shards import ReferenceShards
from specvit.simulate.seeding import BLOCK
from specvit.simulate.simulated_source import SimulatedSource, WithoutReserve, endless
from specvit.simulate.simulator import Simulator, World
from specvit.simulate.splits import SPLITS
from specvit.simulate.stored_spectra import StoredSpectra
from specvit.simulate.widening import NOISE_FACTOR, Widening
from specvit.simulate.writer import WriteJob

__all__ = [
    "BLOCK",
    "NOISE_FACTOR",
    "SPLITS",
    "DensityPrior",
    "LatticeLike",
    "LatticePrior",
    "MarginalPrior",
    "Prior",
    "ReferenceShards",
    "SimulatedSource",
    "Simulator",
    "StoredSpectra",
    "UniformPrior",
    "Widening",
    "WithoutReserve",
    "World",
    "WriteJob",
    "emulator_fingerprint",
    "endless",
    "instrument_fingerprint",
    "interval_probabilities",
    "make_prior",
]
