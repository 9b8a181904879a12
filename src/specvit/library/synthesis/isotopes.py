"""What share of an element, or molecule, an isotope is in the Sun: for line lists that leave it to their reader."""

from __future__ import annotations

import math
import re

#: Per cent of the atoms of an element, by mass number (Asplund et al. 2009, ARA&A 47, 481, Table 3).
SOLAR_PER_CENT: dict[str, dict[int, float]] = {
    "H": {1: 99.998, 2: 0.002},
    "Li": {6: 7.59, 7: 92.41},
    "B": {10: 19.9, 11: 80.1},
    "C": {12: 98.8938, 13: 1.1062},
    "N": {14: 99.771, 15: 0.229},
    "O": {16: 99.7621, 17: 0.0379, 18: 0.2000},
    "Mg": {24: 78.99, 25: 10.00, 26: 11.01},
    "Si": {28: 92.2297, 29: 4.6832, 30: 3.0872},
    "S": {32: 94.93, 33: 0.76, 34: 4.29, 36: 0.02},
    "K": {39: 93.132, 40: 0.147, 41: 6.721},
    "Ca": {40: 96.941, 42: 0.647, 43: 0.135, 44: 2.086, 46: 0.004, 48: 0.187},
    "Ti": {46: 8.25, 47: 7.44, 48: 73.72, 49: 5.41, 50: 5.18},
    "V": {50: 0.250, 51: 99.750},
    "Cr": {50: 4.345, 52: 83.789, 53: 9.501, 54: 2.365},
    "Fe": {54: 5.845, 56: 91.754, 57: 2.119, 58: 0.282},
    "Ni": {58: 68.0769, 60: 26.2231, 61: 1.1399, 62: 3.6345, 64: 0.9256},
    "Cu": {63: 69.17, 65: 30.83},
    "Zr": {90: 51.45, 91: 11.22, 92: 17.15, 94: 17.38, 96: 2.80},
    "Ba": {130: 0.106, 132: 0.101, 134: 2.417, 135: 6.592, 136: 7.854, 137: 11.232, 138: 71.698},
    "La": {138: 0.091, 139: 99.909},
    "Eu": {151: 47.81, 153: 52.19},
}
#: Elements of one stable isotope, which a list may name all the same.
SINGLE = {"Na": 23, "Al": 27, "P": 31, "Sc": 45, "Mn": 55, "Co": 59, "Y": 89, "Nb": 93, "Pr": 141}

_TAG = re.compile(r"\((\d{1,3})\)([A-Z][a-z]?)")


def isotopes_in(text: str) -> list[tuple[int, str]]:
    """Return the isotopes named in a text such as '(24)MgH' or '(12)C(14)N': mass number and element."""
    # "(12)Ch" of CH would be no element: the second letter belongs to the symbol only where one exists.
    return [
        (int(mass), symbol if symbol in SOLAR_PER_CENT or symbol in SINGLE else symbol[0])
        for mass, symbol in _TAG.findall(text)
    ]


def log_solar_share(isotopes: list[tuple[int, str]]) -> float:
    """Return log10 of the share of a species that is made of these isotopes, in the Sun.

    Raises:
        KeyError: for an isotope that is not in the table; holds its name.
    """
    share = 1.0
    for mass, element in isotopes:
        if SINGLE.get(element) == mass:
            continue
        try:
            share *= SOLAR_PER_CENT[element][mass] / 100
        except KeyError:
            raise KeyError(f"({mass}){element}") from None
    # Two atoms of one element can be exchanged: (12)C(13)C is (13)C(12)C.
    if len(isotopes) == 2 and isotopes[0] != isotopes[1] and isotopes[0][1] == isotopes[1][1]:
        share *= 2
    return math.log10(share)
