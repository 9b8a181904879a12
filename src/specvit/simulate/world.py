"""A world in words: the few choices from which a `Simulator` can be rebuilt anywhere.

Shards, runs and worker processes carry a `World`, never a pickled simulator.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from specvit.documents.json_text import first_problem
from specvit.errors import ConfigError
from specvit.simulate.priors import make_prior

if TYPE_CHECKING:
    from specvit.library import Emulator
    from specvit.simulate.simulator import Simulator


@dataclass(frozen=True)
class World:
    """Library, instrument, prior and noise conventions of a simulated survey.

    Args:
        library: "builtin", or the path of an emulator file made by `specvit library build`.
        instrument: preset name or path of an instrument file.
        prior: "uniform" (continuous box) or "lattice" (the reference work's snapping).
        bounds: label name -> (low, high), replacing the emulator's own box for that label.
        noise_level, normalisation, visible_sigma: see `Simulator`.
    """

    library: str = "builtin"
    instrument: str = "pfs_mr_reference"
    prior: str = "uniform"
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)
    noise_level: float = 1.0
    normalisation: str = "observed_median"
    visible_sigma: str = "pipeline"

    def build(self) -> Simulator:
        """Return the simulator of this world.

        Raises:
            ConfigError, DataError: naming the field or the file that is wrong.
        """
        from specvit.instrument import Instrument
        from specvit.simulate.simulator import Simulator

        emulator = self.emulator()
        instrument = Instrument.load(self.instrument)
        space = emulator.label_space.replace(**{k: (v[0], v[1]) for k, v in self.bounds.items()})
        return Simulator(
            instrument.observe(emulator),
            instrument,
            make_prior(self.prior, space),
            self.noise_level,
            self.normalisation,  # type: ignore[arg-type]  # Simulator checks the name
            self.visible_sigma,  # type: ignore[arg-type]
            world=self,
        )

    def emulator(self) -> Emulator:
        """Return the emulator on the library's own grid."""
        from specvit.library import Emulator

        return Emulator.builtin() if self.library == "builtin" else Emulator.load(Path(self.library))

    def to_dict(self) -> dict:
        """Return a JSON-ready description; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> World:
        """Return the world described by `to_dict`; ConfigError names an unknown or wrong field."""
        if isinstance(data, dict) and (unknown := set(data) - set(cls.__dataclass_fields__)):
            raise ConfigError(f"world: unknown field '{sorted(unknown)[0]}'; written by a newer specvit?")
        try:
            return TypeAdapter(cls).validate_python(data)
        except ValidationError as error:
            raise ConfigError(f"world: {first_problem(error)}; correct it or simulate again") from error
