"""How text is spelled where an encoding lacks its characters: Å as A, σ as sigma, what is left as an escape.

Owns the one table of spellings and an error handler for encoders, so that whoever writes to a stream prepared by
`specvit.cli.terminal` (our lines, rich, click's help, a traceback) writes the same.
"""

from __future__ import annotations

import codecs

#: Name of the encoding error handler, as in `text.encode("ascii", SPELLED)`.
SPELLED = "specvit-spelled"

#: What specvit itself prints; a test looks for characters that are missing here.
SPELLINGS = {
    **{"Å": "A", "å": "a", "á": "a", "é": "e", "ĉ": "c^", "ŷ": "y^", "ȳ": "y-"},
    **{"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "η": "eta", "θ": "theta"},
    **{"κ": "kappa", "λ": "lambda", "μ": "mu", "µ": "u", "ν": "nu", "π": "pi", "ρ": "rho", "σ": "sigma"},
    **{"τ": "tau", "φ": "phi", "χ": "chi", "ω": "omega"},
    **{"Γ": "Gamma", "Δ": "Delta", "Λ": "Lambda", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ω": "Omega"},
    **{"⁰": "0", "¹": "1", "²": "2", "³": "3", "⁴": "4", "⁵": "5", "⁶": "6", "⁷": "7", "⁸": "8", "⁹": "9"},
    **{"₀": "0", "₁": "1", "₂": "2", "₃": "3", "⁺": "+", "⁻": "-", "ᵀ": "^T", "½": "1/2", "°": " deg"},
    **{"≥": ">=", "≤": "<=", "≈": "~", "≠": "!=", "∝": "~", "±": "+-", "×": "x", "·": "*", "√": "sqrt "},
    **{"∂": "d", "∫": "integral ", "∞": "inf", "−": "-", "–": "-", "—": "-", "…": "...", "→": "->", "↓": "v"},
    **{"‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "\u2009": " ", "\u202f": " "},
    **{"✓": "+", "✗": "x", "○": "o", "│": "|", "ö": "oe", "ᾱ": "alpha-", "∇": "grad ", "\u0302": "^"},
}  # fmt: skip

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def spelled(text: str, encoding: str | None) -> str:
    """Return `text` with nothing in it that `encoding` cannot hold (None: that UTF-8 cannot).

    Undecodable bytes of a file name, which Python keeps as lone surrogates, become `\\xff`.
    """
    codec = encoding or "utf-8"
    return text.encode(codec, SPELLED).decode(codec)


def without_control(text: str) -> str:
    """Return `text` with control characters, which a terminal would obey, as escapes; lines and tabs stay."""
    return text.translate(_CONTROL)


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    unknown = error.object[error.start : error.end]
    return "".join(SPELLINGS.get(character) or _escape(character) for character in unknown), error.end


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(SPELLED, _spell)
