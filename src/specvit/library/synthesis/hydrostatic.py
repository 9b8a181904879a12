"""Hydrostatic equilibrium of a given T(tau5000): the gas pressure that carries the layers above it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from specvit.errors import RunError

STEFAN_BOLTZMANN = 5.670374e-5  # erg/s/cm²/K⁴
SPEED_OF_LIGHT_CM_S = 2.99792458e10

#: d ln kappa / d ln P of H⁻ opacity is 0.5-1 in cool atmospheres; the iteration converges for any value.
PRESSURE_EXPONENT = 0.7


def solve_gas_pressure(
    opacity: Callable[[np.ndarray], np.ndarray],
    depth: np.ndarray,
    teff: float,
    log_g: float,
    guess: np.ndarray | None = None,
    tolerance: float = 1e-3,
    iterations: int = 15,
) -> np.ndarray:
    """Return the gas pressure in every layer, dyn/cm², shape (D,).

    Solves dP/dtau = g_eff / kappa(T, P), g_eff = g - kappa sigma Teff⁴ / c (radiation, at most 0.4 g). With
    kappa ~ P^b between iterations, P^(1+b) = (1+b) integral of g_eff P_k^b / kappa_k dtau, so that each
    iteration reduces the error by |b_true - b| / (1 + b).

    Args:
        opacity: gas pressure (D,) -> continuous extinction at 5000 Å, cm²/g, (D,), at given temperatures.
        depth: tau5000, shape (D,), increasing.
        teff: K.
        log_g: dex cgs.
        guess: first pressure, or None.
        tolerance: largest change of ln P in the last iteration.
        iterations: give up after so many.

    Raises:
        RunError: if it does not converge.
    """
    gravity = 10.0**log_g
    pressure = gravity * depth**0.6 if guess is None else guess
    b = PRESSURE_EXPONENT
    for _ in range(iterations):
        kappa = opacity(pressure)
        radiation = kappa * STEFAN_BOLTZMANN * teff**4 / SPEED_OF_LIGHT_CM_S
        effective = np.maximum(gravity - radiation, 0.6 * gravity)
        power = (1 + b) * _integral_from_surface(depth, effective * pressure**b / kappa)
        new = power ** (1 / (1 + b))
        change = float(np.abs(np.log(new / pressure)).max())
        pressure = new
        if change < tolerance:
            return pressure
    raise RunError(
        f"hydrostatic equilibrium: ln P still changes by {change:.2g} after {iterations} iterations "
        f"(Teff {teff:g}, log g {log_g:g}); check the temperature structure"
    )


def _integral_from_surface(depth: np.ndarray, integrand: np.ndarray) -> np.ndarray:
    """Return the integral from 0 to each depth: a power law between layers, continued above the first."""
    # Layers are spaced in log τ, and the integrand changes by factors between them: a power law follows that,
    # straight lines would not.
    product = integrand * depth
    exponent = np.diff(np.log(product)) / np.diff(np.log(depth))
    # The integral of τ^(e-1) is a logarithm at e = 0; a millionth is as good and has no branch.
    exponent = np.where(np.abs(exponent) < 1e-6, 1e-6, exponent)
    surface = product[0] / max(exponent[0], 0.3)  # flatter would mean an infinite atmosphere
    integral: np.ndarray = surface + np.concatenate([[0.0], np.cumsum(np.diff(product) / exponent)])
    return integral
