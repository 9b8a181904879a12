"""Prior -> clean flux -> noise: spectra drawn on the fly, and the same spectra stored in shards."""

from specvit.simulate.priors import LatticePrior, Prior, UniformPrior, make_prior
from specvit.simulate.seeding import BLOCK, SPLITS
from specvit.simulate.simulator import SimulatedSource, Simulator, emulator_fingerprint
from specvit.simulate.stored_spectra import StoredSpectra
from specvit.simulate.world import World
from specvit.simulate.writer import WriteJob

__all__ = [
    "BLOCK",
    "SPLITS",
    "LatticePrior",
    "Prior",
    "SimulatedSource",
    "Simulator",
    "StoredSpectra",
    "UniformPrior",
    "World",
    "WriteJob",
    "emulator_fingerprint",
    "make_prior",
]
