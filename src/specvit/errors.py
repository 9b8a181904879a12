"""The errors a user can meet. Every message says what was expected, what arrived, where, and the mend.

`exit_code` is what the command line returns: 2 for a request that cannot be meant (usage), 1 for one
that was understood and failed.
"""

from __future__ import annotations

from types import ModuleType


class SpecvitError(Exception):
    """Base of all errors raised on purpose by specvit."""

    exit_code = 1


class ConfigError(SpecvitError):
    """A configuration file or option is wrong; names the key and, if known, the file."""

    exit_code = 2


class DataError(SpecvitError):
    """Input data cannot be used as they are; names the file or array."""


class AccessError(DataError):
    """The system does not give a file (forbidden, in use, out of reach): nothing is known of its content."""


class ShapeError(DataError):
    """Array axes do not fit together."""


class WavelengthRangeError(DataError):
    """A spectrum or grid does not cover, or is not, what is needed."""


class LabelError(DataError):
    """A label name is unknown or a label value is not usable."""


class DomainError(LabelError):
    """A label lies outside the range in which a model is valid; names the label."""


class MissingExtra(SpecvitError):
    """An optional dependency is needed; the message names the extra to install."""

    def __init__(self, package: str, extra: str | None, purpose: str) -> None:
        install = f"pip install 'specvit[{extra}]'" if extra else f"pip install {package}"
        super().__init__(f"{purpose} needs {package}, which is not installed here: {install}")
        self.package, self.extra = package, extra


class RunError(SpecvitError):
    """A job could not be carried out or continued (disk, interrupted store, failed fit)."""


def import_optional(module: str, extra: str | None, purpose: str) -> ModuleType:
    """Return the imported optional `module`, or raise `MissingExtra` naming the extra that brings it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(module.split(".")[0], extra, purpose) from error
