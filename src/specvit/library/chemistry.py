"""Label coordinates that know how molecules form: the inputs of the emulator's regressor.

Owns the smooth map labels -> coordinates. TiO and CN, the molecules of this band, are made of what carbon
monoxide leaves over: when [C/M] - [alpha/M] passes about +0.26 the carbon binds all oxygen and TiO vanishes.
A regressor that sees only the labels has to discover that cliff from a few spectra; here it is a coordinate.
Knows nothing of spectra.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from specvit.spectra import LabelSpace

#: log10 (C/O) of the Sun, Asplund et al. 2009, ARA&A 47, 481: 8.43 - 8.69.
SOLAR_LOG_C_TO_O = -0.26
#: Dissociation energy of CO, eV (Huber & Herzberg 1979): the slope of log10 of its equilibrium constant
#: in 5040 K / T.
CO_DISSOCIATION_EV = 11.09
LN10 = math.log(10.0)
#: Softly the largest log10 binding. At C/O = 1 the free fraction is 10^(-binding/2) over a range of C/O as
#: narrow: beyond 5 the coordinate would jump within 0.001 dex, which no layer of a star does by itself.
LARGEST_LOG_BINDING = 5.0


def log_free_fractions(log_c_to_o: Tensor, log_binding: Tensor) -> tuple[Tensor, Tensor]:
    """Return log10 of the fractions of oxygen and of carbon not bound in CO.

    With n_CO = k n_C n_O and binding = k n(O, total), the free oxygen fraction f solves
    f² + (C/O - 1 + 1/binding) f - 1/binding = 0, that is
    ln f = ½ ln q - asinh(d / (2 √q)) with q = 1/binding, d = C/O - 1 + q: one smooth expression without
    cancellation on either side of C/O = 1. Carbon follows from the same equation, C and O exchanged.

    Args:
        log_c_to_o: log10 of the number ratio of all carbon to all oxygen, any shape.
        log_binding: log10 of binding, same shape.
    """
    c_to_o = torch.exp(LN10 * log_c_to_o)
    oxygen = _log_free(c_to_o, log_binding)
    carbon = _log_free(1.0 / c_to_o, log_binding + log_c_to_o)
    return oxygen, carbon


def _log_free_slopes(partner_ratio: Tensor, log_binding: Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivatives of `_log_free` by the ratio and by log10 binding."""
    root_q = torch.exp(-0.5 * LN10 * log_binding)
    u = (partner_ratio - 1.0 + root_q * root_q) / (2.0 * root_q)
    # The hypotenuse, not a square that overflows.
    by_u = -1.0 / (LN10 * torch.hypot(u, torch.ones_like(u)))
    return by_u / (2.0 * root_q), -0.5 + by_u * 0.5 * LN10 * (u - root_q)


def _log_free(partner_ratio: Tensor, log_binding: Tensor) -> Tensor:
    root_q = torch.exp(-0.5 * LN10 * log_binding)
    d = partner_ratio - 1.0 + root_q * root_q
    return -0.5 * log_binding - torch.asinh(d / (2.0 * root_q)) / LN10


class PlainCoordinates(nn.Module):
    """Labels (B, P) -> the same with 5040 K / Teff in place of Teff, shape (B, P)."""

    def __init__(self, label_space: LabelSpace) -> None:
        super().__init__()
        self.names = label_space.names
        self.size = len(self.names)

    def forward(self, labels: Tensor) -> Tensor:
        """Return the coordinates, shape (..., P)."""
        columns = labels.split(1, dim=-1)
        pairs = zip(self.names, columns, strict=True)
        return torch.cat([5040.0 / c if name == "teff" else c for name, c in pairs], dim=-1)

    def jacobian(self, labels: Tensor) -> Tensor:
        """Return the derivatives of the coordinates by each label, shape (B, P, P), for labels (B, P)."""
        slopes = torch.ones_like(labels)
        if "teff" in self.names:
            at = self.names.index("teff")
            slopes[:, at] = -5040.0 / labels[:, at].square()
        return torch.diag_embed(slopes)


class ChemicalCoordinates(nn.Module):
    """Labels (B, P) -> the plain coordinates and log10 of free O and free C in three layers, (B, P + 6).

    log10 binding of layer j is zero[j] + D_CO stretch[j] (5040/Teff - 1) + pressure[j] (log g - 3) + [O/H],
    softly limited at `LARGEST_LOG_BINDING`; zero, stretch and pressure start at values typical of the
    line-forming layers and are learned with the regressor. A label that the space lacks counts as zero
    (log g: 3).

    Args:
        label_space: names and order of the labels; must have `teff`.
    """

    def __init__(self, label_space: LabelSpace) -> None:
        super().__init__()
        self.names = label_space.names
        self.teff_at = label_space.index("teff")
        self.plain = PlainCoordinates(label_space)
        # Three layers, because a star is not one slab; binding grows with them.
        self.zero = nn.Parameter(torch.tensor([-1.0, 1.0, 3.0]))
        self.stretch = nn.Parameter(torch.tensor([1.0, 1.15, 1.3]))
        self.pressure = nn.Parameter(torch.tensor([0.5, 0.5, 0.5]))
        self.size = self.plain.size + 2 * self.zero.numel()

    def forward(self, labels: Tensor) -> Tensor:
        """Return the coordinates, shape (..., P + 6), for labels of shape (..., P)."""
        plain = self.plain(labels)
        log_binding, _ = self._log_binding(labels)
        free_o, free_c = log_free_fractions(self._log_c_to_o(labels).expand_as(log_binding), log_binding)
        return torch.cat([plain, free_o, free_c], dim=-1)

    def jacobian(self, labels: Tensor) -> Tensor:
        """Return the derivatives of the coordinates by each label, shape (B, P + 6, P), for labels (B, P).

        What autograd finds, without its cost per operation.
        """
        log_binding, rate = self._log_binding(labels)
        log_c_to_o = self._log_c_to_o(labels).expand_as(log_binding)
        c_to_o = torch.exp(LN10 * log_c_to_o)
        by_ratio, oxygen = _log_free_slopes(c_to_o, log_binding)
        oxygen_by_c = LN10 * c_to_o * by_ratio
        by_ratio, carbon = _log_free_slopes(1.0 / c_to_o, log_binding + log_c_to_o)
        carbon_by_c = carbon - LN10 / c_to_o * by_ratio
        # By log10 binding and by log10 (C/O), of all six.
        by_binding = torch.cat([oxygen * rate, carbon * rate], dim=-1)
        by_c_to_o = torch.cat([oxygen_by_c, carbon_by_c], dim=-1)
        teff = labels[:, self.teff_at : self.teff_at + 1]
        none = torch.zeros_like(by_binding)
        pressure = self.pressure.repeat(2)
        slopes = {
            "teff": by_binding * CO_DISSOCIATION_EV * self.stretch.repeat(2) * (-5040.0 / teff.square()),
            "log_g": by_binding * pressure,
            "m_h": by_binding,
            "alpha_m": by_binding - by_c_to_o,
            "c_m": by_c_to_o,
        }
        free = torch.stack([slopes.get(name, none) for name in self.names], dim=-1)
        return torch.cat([self.plain.jacobian(labels), free], dim=-2)

    def _log_c_to_o(self, labels: Tensor) -> Tensor:
        return SOLAR_LOG_C_TO_O + self._label(labels, "c_m") - self._label(labels, "alpha_m")

    def _log_binding(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return log10 binding of the layers, softly limited, and its derivative by what it is without the limit."""
        theta = 5040.0 / labels[..., self.teff_at : self.teff_at + 1]
        oxygen = self._label(labels, "m_h") + self._label(labels, "alpha_m")
        log_binding = (
            self.zero
            + CO_DISSOCIATION_EV * self.stretch * (theta - 1.0)
            + self.pressure * (self._label(labels, "log_g", 3.0) - 3.0)
            + oxygen
        )
        room = LN10 * (LARGEST_LOG_BINDING - log_binding)
        # softplus, not a clamp: the Fisher matrix is made of derivatives of this.
        return LARGEST_LOG_BINDING - nn.functional.softplus(room) / LN10, torch.sigmoid(room)

    def _label(self, labels: Tensor, name: str, default: float = 0.0) -> Tensor:
        if name not in self.names:
            return torch.full_like(labels[..., :1], default)
        at = self.names.index(name)
        return labels[..., at : at + 1]
