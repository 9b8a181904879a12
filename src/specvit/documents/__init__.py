"""Documents people and programs write: TOML in and out, validated sections. Knows no survey and no spectrograph."""

from specvit.documents.section import Section
from specvit.documents.toml import dump_toml, line_of, load_toml, parse_value

__all__ = ["Section", "dump_toml", "line_of", "load_toml", "parse_value"]
