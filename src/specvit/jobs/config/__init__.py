"""Validated configuration: frozen sections, TOML in and out, presets, overrides. Runs nothing itself."""

from specvit.jobs.config.resolve import resolve
from specvit.jobs.config.sections import (
    CONFIG_VERSION,
    Config,
    EvaluateSection,
    InstrumentSection,
    LibrarySection,
    LimitsSection,
    ModelsSection,
    RunSection,
    SimulateSection,
    StarsSection,
)

__all__ = [
    "CONFIG_VERSION",
    "Config",
    "EvaluateSection",
    "InstrumentSection",
    "LibrarySection",
    "LimitsSection",
    "ModelsSection",
    "RunSection",
    "SimulateSection",
    "StarsSection",
    "resolve",
]
