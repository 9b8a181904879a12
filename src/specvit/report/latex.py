"""Text as LaTeX reads it, whatever characters it holds."""

from __future__ import annotations

import re
import unicodedata

_CHARACTERS = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "²": r"$^2$", "³": r"$^3$", "⁻": r"$^-$"}
_CHARACTERS |= {"–": "--", "—": "---", "−": "$-$", "\u202f": r"\,", "\u00a0": "~", "√": r"$\surd$"}
_CHARACTERS |= {
    "≥": r"$\ge$",
    "≤": r"$\le$",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
}
_CHARACTERS |= {"×": r"$\times$", "≈": r"$\approx$", "→": r"$\to$", "∂": r"$\partial$", "°": r"$^\circ$"}
_CHARACTERS |= {"α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\epsilon$"}
_CHARACTERS |= {
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "µ": r"$\mu$",
    "ρ": r"$\rho$",
    "σ": r"$\sigma$",
    "χ": r"$\chi$",
}
_CHARACTERS |= {
    "Å": r"\AA{}",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "…": r"\dots{}",
    "`": r"\textasciigrave{}",
}
_CHARACTERS |= {'"': "''"}
# A title may come from somebody's own estimator, with any character.
_CHARACTERS |= {"$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_CHARACTERS |= {"\\": r"\textbackslash{}"}


def latex_text(text: str) -> str:
    """Return `text` with everything escaped that LaTeX would not print as it is.

    A letter that LaTeX does not know loses its accents, anything else is printed by its number, as in [U+4E2D].
    """
    # Two hyphens of the text would become a dash.
    parts = re.split("(?<=-)(?=-)", text)
    return "{}".join("".join(_CHARACTERS.get(c) or _spelled(c) for c in part) for part in parts)


def _spelled(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else " "
    base = unicodedata.normalize("NFKD", character)[0]
    return base if base.isascii() and base.isalnum() else f"[U+{ord(character):04X}]"
