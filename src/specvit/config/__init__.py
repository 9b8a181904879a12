"""Validated configuration: frozen sections, TOML in and out, presets, overrides. Runs nothing itself."""

from specvit.config.resolve import preset_names, resolve
from specvit.config.sections import (
    CONFIG_VERSION,
    Config,
    EvaluateSection,
    InstrumentSection,
    LibrarySection,
    LightGBMSection,
    LimitsSection,
    ModelsSection,
    RunSection,
    SimulateSection,
)
from specvit.config.toml import dump_toml

__all__ = [
    "CONFIG_VERSION",
    "Config",
    "EvaluateSection",
    "InstrumentSection",
    "LibrarySection",
    "LightGBMSection",
    "LimitsSection",
    "ModelsSection",
    "RunSection",
    "SimulateSection",
    "dump_toml",
    "preset_names",
    "resolve",
]
