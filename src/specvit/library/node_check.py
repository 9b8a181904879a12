"""Whether each spectrum of a library is where its neighbours say it should be: leave-one-out residuals.

A wrong label, two files exchanged or a model that did not converge spoil an emulator around them, and its held-out error
tells of it only by chance. Here every spectrum is predicted from all others by a smooth interpolation of its own,
independent of the emulator's network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg

from specvit.library.emulator_fit import principal_components, relative_flux
from specvit.library.synthetic_library import SyntheticLibrary
from specvit.runs.atomic import write_atomic

#: Components whose coefficients are predicted; what they leave is far below a wrong spectrum.
COMPONENTS = 32
#: Lengths of the Matérn kernel that are tried, in standard deviations of the labels.
LENGTHS = (1.0, 2.0, 4.0, 8.0)
#: Noise of a node, relative to its kernel's variance: keeps the inverse stable.
JITTER = 1e-8
#: A node is suspicious if its residual is so many times what residuals usually are of nodes so placed, ...
SUSPICIOUS = 8.0
#: ... and so many times what three in four of its neighbours have, when they do not see it: spectra change faster in some
#: places than in others, and there all nodes have large residuals.
BESIDE_NEIGHBOURS, NEIGHBOURS = 5.0, 12
#: At most this share of the nodes is named: where more are strange, the interpolation is.
MOST_SUSPICIOUS = 0.05


@dataclass(frozen=True)
class SuspiciousNode:
    """A spectrum that its neighbours do not expect.

    Args:
        row: in the library.
        labels: name -> value.
        residual: rms over pixels of spectrum minus prediction, relative to the spectrum's mean.
        times: the residual over what is usual.
        like: row of the suspicious node whose spectrum this one seems to have, or None.
    """

    row: int
    labels: dict[str, float]
    residual: float
    times: float
    like: int | None = None

    def describe(self, others: list[SuspiciousNode]) -> str:
        """Return one line for people; `others` hold the node that `like` names."""
        where = _where(self.labels)
        text = (
            f"spectrum {self.row} ({where}): residual {self.residual:.2%}, {self.times:.0f} times the usual"
        )
        other = next((node for node in others if node.row == self.like), None)
        return text if other is None else f"{text}; looks like that of {_where(other.labels)}: exchanged?"


@dataclass(frozen=True, eq=False)
class NodeCheck:
    """Leave-one-out residuals of all spectra, shape (N,), as rms over pixels relative to the mean, and suspicious ones."""

    residuals: np.ndarray
    suspicious: list[SuspiciousNode]

    def to_dict(self) -> dict[str, Any]:
        """Return what is kept with an emulator, JSON-ready."""
        return {
            "leave_one_out_median": float(np.median(self.residuals)),
            "leave_one_out_max": float(self.residuals.max()),
            "suspicious": [
                {
                    "row": node.row,
                    **node.labels,
                    "residual": node.residual,
                    "times": node.times,
                    "like": node.like,
                }
                for node in self.suspicious
            ],
        }


def check_nodes(library: SyntheticLibrary) -> NodeCheck:
    """Return the leave-one-out residual of every spectrum of `library`, and which are suspicious.

    Suspicious nodes are taken out one after the other, as each spoils the predictions of its neighbours.
    """
    flux = relative_flux(library)
    mean, basis = principal_components(flux, min(COMPONENTS, len(library) // 2))
    coefficients = (flux - mean).astype(np.float64) @ basis.T.astype(np.float64)
    points = _coordinates(library)
    kernel = _best_kernel(points, coefficients)
    kept, precision = np.arange(len(library)), _precision(kernel, _trend(points))
    residuals = np.zeros(len(library))
    found: list[tuple[int, float]] = []
    to_rms = 1 / np.sqrt(library.grid.size)
    while True:
        errors, spread = _left_out(precision, coefficients[kept])
        size = np.linalg.norm(errors, axis=1)
        residuals[kept] = size * to_rms
        worst, times = _strangest(precision, coefficients[kept], points[kept], size / spread)
        if worst is None or len(found) >= max(2, MOST_SUSPICIOUS * len(library)):
            break
        found.append((int(kept[worst]), times))
        # What is left of the inverse without one node.
        column = precision[:, worst]
        precision = precision - np.outer(column, column) / column[worst]
        precision = np.delete(np.delete(precision, worst, axis=0), worst, axis=1)
        kept = np.delete(kept, worst)
    rows = np.array([row for row, _ in found], dtype=int)
    like = _exchanged(kernel, points, coefficients, kept, rows)
    suspicious = [
        SuspiciousNode(
            row,
            dict(zip(library.label_space.names, library.labels[row].tolist(), strict=True)),
            float(residuals[row]),
            times_usual,
            like.get(row),
        )
        for row, times_usual in found
    ]
    return NodeCheck(residuals, suspicious)


def write_residuals(check: NodeCheck, library: SyntheticLibrary, path: Path) -> None:
    """Write one row per spectrum as CSV: its row in the library, its labels, its residual, and whether it is suspicious.

    Raises:
        RunError: if the file cannot be written.
    """
    suspicious = {node.row for node in check.suspicious}
    lines = [",".join(("row", *library.label_space.names, "residual", "suspicious"))]
    for row, (labels, residual) in enumerate(
        zip(library.labels.tolist(), check.residuals.tolist(), strict=True)
    ):
        values = ",".join(f"{value:.8g}" for value in labels)
        lines.append(f"{row},{values},{residual:.4e},{int(row in suspicious)}")
    write_atomic(path, "\n".join(lines) + "\n")


def _where(labels: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in labels.items())


def _coordinates(library: SyntheticLibrary) -> np.ndarray:
    """Return the labels, 5040/Teff for Teff, at zero mean and unit spread, shape (N, P)."""
    columns = [
        5040.0 / values if name == "teff" else values
        for name, values in zip(library.label_space.names, library.labels.T, strict=True)
    ]
    points = np.column_stack(columns)
    spread = points.std(axis=0)
    standard: np.ndarray = (points - points.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return standard


def _trend(points: np.ndarray) -> np.ndarray:
    """Return the columns of a quadratic in the labels, shape (N, Q)."""
    count = points.shape[1]
    squares = [points[:, i] * points[:, j] for i in range(count) for j in range(i, count)]
    columns = np.column_stack([np.ones(len(points)), points, *squares])
    # Fewer columns than nodes, or the trend would follow every one of them.
    return columns if columns.shape[1] < len(points) // 2 else columns[:, : 1 + count]


def _matern(points: np.ndarray, length: float) -> np.ndarray:
    """Return the Matérn 5/2 kernel of all pairs, shape (N, N) (Rasmussen & Williams 2006, eq. 4.17)."""
    squares = (points**2).sum(axis=1)
    distance = (
        np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0)) * np.sqrt(5) / length
    )
    kernel: np.ndarray = (1 + distance + distance**2 / 3) * np.exp(-distance)
    kernel[np.diag_indices(len(points))] += JITTER
    return kernel


def _precision(kernel: np.ndarray, trend: np.ndarray) -> np.ndarray:
    """Return P = K⁻¹ - K⁻¹ H (Hᵀ K⁻¹ H)⁻¹ Hᵀ K⁻¹ with kernel K and trend H, shape (N, N)."""
    inverse = scipy.linalg.inv(kernel)
    through = inverse @ trend
    precision: np.ndarray = inverse - through @ np.linalg.solve(trend.T @ through, through.T)
    return precision


def _left_out(precision: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values minus predictions from all others (N, K), and the predictions' spread up to a factor (N,).

    Exact: the residual of node i is (P y)_i / P_ii and its variance 1 / P_ii (Dubrule 1983, Math. Geology 15, 687).
    """
    diagonal = np.maximum(np.diag(precision), 1e-30)
    return (precision @ values) / diagonal[:, None], 1 / np.sqrt(diagonal)


def _strangest(
    precision: np.ndarray, values: np.ndarray, points: np.ndarray, strange: np.ndarray
) -> tuple[int | None, float]:
    """Return the suspicious node whose residual is largest for its place, and over what is usual; None if there is none.

    Args:
        precision, values, points: of the nodes.
        strange: size of each residual over its spread, shape (N,).
    """
    times, products = strange / max(float(np.median(strange)), 1e-12), precision @ values
    for node in np.argsort(times)[::-1].tolist():
        if times[node] < SUSPICIOUS:
            break
        near = np.argsort(((points - points[node]) ** 2).sum(axis=1))[1 : NEIGHBOURS + 1]
        beside = []
        for other in near.tolist():
            # Both left out: a strange node spoils what is expected of its neighbours.
            pair = [other, node]
            covariance = np.linalg.inv(precision[np.ix_(pair, pair)])
            error = covariance[0] @ products[pair]
            beside.append(np.linalg.norm(error) / np.sqrt(covariance[0, 0]))
        if strange[node] >= BESIDE_NEIGHBOURS * np.quantile(beside, 0.75):
            return node, float(times[node])
    return None, 0.0


def _best_kernel(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the kernel of the length whose leave-one-out residuals have the smallest median."""
    trend = _trend(points)

    def usual(kernel: np.ndarray) -> float:
        return float(np.median(np.linalg.norm(_left_out(_precision(kernel, trend), values)[0], axis=1)))

    return min((_matern(points, length) for length in LENGTHS), key=usual)


def _exchanged(
    kernel: np.ndarray, points: np.ndarray, values: np.ndarray, kept: np.ndarray, rows: np.ndarray
) -> dict[int, int]:
    """Return suspicious row -> the suspicious row at which its spectrum is expected, if that fits far better."""
    if len(rows) < 2:
        return {}
    trend = _trend(points)[:, : _trend(points[kept]).shape[1]]
    inverse = scipy.linalg.inv(kernel[np.ix_(kept, kept)])
    through = inverse @ trend[kept]
    slopes = np.linalg.solve(trend[kept].T @ through, through.T @ values[kept])
    rest = inverse @ (values[kept] - trend[kept] @ slopes)
    predicted = trend[rows] @ slopes + kernel[np.ix_(rows, kept)] @ rest
    # miss[i, j]: spectrum of row i held against what is expected at row j.
    miss = np.linalg.norm(values[rows][:, None] - predicted[None], axis=2)
    best = miss.argmin(axis=1)
    return {
        int(rows[i]): int(rows[j])
        for i, j in enumerate(best.tolist())
        if i != j and miss[i, j] < 0.25 * miss[i, i]
    }
