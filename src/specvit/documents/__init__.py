"""Documents people and programs write: TOML in and out, validated sections, presets, inheritance, overrides.

Knows no survey and no spectrograph: each kind of document is a `DocumentKind` in the package that uses it.
"""

from specvit.documents.reader import Document, DocumentKind
from specvit.documents.section import Grown, PathText, Section
from specvit.documents.toml import dump_toml, line_of, load_toml, parse_value
from specvit.documents.versions import Format

__all__ = [
    "Document",
    "DocumentKind",
    "Format",
    "Grown",
    "PathText",
    "Section",
    "dump_toml",
    "line_of",
    "load_toml",
    "parse_value",
]
