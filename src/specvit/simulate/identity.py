"""What a simulated world is, by content: the digest of everything its spectra depend on, files included.

Names and paths do not enter: an instrument file that is edited, or an emulator that is trained anew under its old
name, is another world; a folder that is moved is the same one.
"""

from __future__ import annotations

import hashlib

from torch import nn

from specvit.instrument import Instrument, ObservedEmulator

#: What an instrument file says for people, and where its tables lie; their content is digested.
NOT_CONTENT = {"name", "description", "source", "tables"}


def emulator_fingerprint(observed: ObservedEmulator) -> str:
    """Return sixteen hex digits of the folded emulator's weights: spectra of two emulators must not mix."""
    digest = hashlib.sha256()
    for name, value in sorted(observed.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def instrument_fingerprint(instrument: Instrument) -> str:
    """Return sixteen hex digits of a spectrograph: its description, its pixels and its tables."""
    digest = hashlib.sha256(instrument.settings.model_dump_json(exclude=NOT_CONTENT).encode())
    digest.update(instrument.grid.fingerprint.encode())
    for name, content in _tensors(instrument):
        digest.update(name.encode() + content)
    return digest.hexdigest()[:16]


def _tensors(module: nn.Module) -> list[tuple[str, bytes]]:
    """Return every tensor of a module by name, those that its state leaves out too."""
    named = {**dict(module.named_buffers()), **dict(module.named_parameters())}
    return [
        (name, value.detach().cpu().contiguous().numpy().tobytes()) for name, value in sorted(named.items())
    ]
