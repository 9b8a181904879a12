"""What a simulated world is, by content: the digest of everything its spectra depend on, files included.

Names and paths do not enter: an instrument file that is edited, or an emulator that is trained anew under its old
name, is another world; a folder that is moved is the same one.
"""

from __future__ import annotations

import hashlib
from typing import Any

from torch import nn

from specvit.simulate.simulator import Simulator, emulator_fingerprint


def world_identity(simulator: Simulator) -> dict[str, Any]:
    """Return what identifies the spectra of a simulator, JSON-ready.

    Prior and conventions in plain values, instrument and emulator as digests of their content.
    """
    prior = simulator.prior
    space = prior.label_space.to_dict()
    return {
        "emulator": emulator_fingerprint(simulator.observed),
        "instrument": instrument_digest(simulator),
        "prior": type(prior).__qualname__ if simulator.world is None else simulator.world.prior,
        "labels": space,
        "noise_level": simulator.noise_level,
        "normalisation": simulator.normalisation,
        "visible_sigma": simulator.visible_sigma,
    }


def instrument_digest(simulator: Simulator) -> str:
    """Return sixteen hex digits of a spectrograph: its description, its pixels and its tables."""
    instrument = simulator.instrument
    digest = hashlib.sha256(instrument.settings.model_dump_json(exclude={"description", "source"}).encode())
    digest.update(instrument.grid.fingerprint.encode())
    for name, value in _tensors(instrument):
        digest.update(name.encode() + value)
    return digest.hexdigest()[:16]


def _tensors(module: nn.Module) -> list[tuple[str, bytes]]:
    """Return every tensor of a module by name, those that its state leaves out too."""
    named = {**dict(module.named_buffers()), **dict(module.named_parameters())}
    return [
        (name, value.detach().cpu().contiguous().numpy().tobytes()) for name, value in sorted(named.items())
    ]
