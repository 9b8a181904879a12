"""The inner loops of a fit, compiled by Numba: templates on pixels, and the sums over pixels of least squares.

Every pass over the pixels of a star happens while they are in the cache; what is summed is stated in `objective`. One
file that takes nothing from its neighbours, because Numba's cache on disk notices changes of the compiled file only.
"""

from __future__ import annotations

import numpy as np

from specvit.numerics.compiling import kept_on_disk


@kept_on_disk
def see_rows(
    rows: np.ndarray,
    position: np.ndarray,
    log_width: np.ndarray,
    log_nodes: np.ndarray,
    edges: np.ndarray,
    seen: np.ndarray,
) -> None:
    """Write templates and derivatives on pixels.

    Args:
        rows: splines' coefficients of template and its derivatives at three widths, shape (N, R, 3, count).
        position: of the pixels in points of the fine grid, shape (N, L).
        log_width: ln(line width / nominal) at the pixels, shape (N, L).
        log_nodes: 2 ln(line width / nominal) of the three widths.
        edges: lowest and highest ln(line width / nominal) that is interpolated.
        seen: shape (N, R + 2, L): the rows at the pixels, and the derivatives of the first of them by position and
            by ln(line width).
    """
    count = rows.shape[3]
    a, b, c = log_nodes[0], log_nodes[1], log_nodes[2]
    norm_a, norm_b, norm_c = 1 / ((a - b) * (a - c)), 1 / ((b - a) * (b - c)), 1 / ((c - a) * (c - b))
    last = rows.shape[1]
    for n in range(rows.shape[0]):
        for pixel in range(position.shape[1]):
            # Lagrange's weights of the three widths, and their derivatives.
            width = 2 * min(max(log_width[n, pixel], edges[0]), edges[1])
            u, v, w = width - a, width - b, width - c
            weight_a, weight_b, weight_c = v * w * norm_a, u * w * norm_b, u * v * norm_c
            slope_a, slope_b, slope_c = 2 * (v + w) * norm_a, 2 * (u + w) * norm_b, 2 * (u + v) * norm_c
            # Cubic B-splines and their derivatives.
            at = min(max(int(np.floor(position[n, pixel])), 1), count - 3)
            t = position[n, pixel] - at
            s = 1 - t
            tap_0, tap_3 = s * s * s / 6, t * t * t / 6
            tap_1, tap_2 = (3 * t * t * t - 6 * t * t + 4) / 6, (3 * s * s * s - 6 * s * s + 4) / 6
            by_0, by_3 = -s * s / 2, t * t / 2
            by_1, by_2 = (3 * t * t - 4 * t) / 2, (-3 * s * s + 4 * s) / 2
            at -= 1
            for r in range(last):
                part = rows[n, r]
                on_a = (
                    tap_0 * part[0, at]
                    + tap_1 * part[0, at + 1]
                    + tap_2 * part[0, at + 2]
                    + tap_3 * part[0, at + 3]
                )
                on_b = (
                    tap_0 * part[1, at]
                    + tap_1 * part[1, at + 1]
                    + tap_2 * part[1, at + 2]
                    + tap_3 * part[1, at + 3]
                )
                on_c = (
                    tap_0 * part[2, at]
                    + tap_1 * part[2, at + 1]
                    + tap_2 * part[2, at + 2]
                    + tap_3 * part[2, at + 3]
                )
                seen[n, r, pixel] = weight_a * on_a + weight_b * on_b + weight_c * on_c
                if r == 0:
                    seen[n, last + 1, pixel] = slope_a * on_a + slope_b * on_b + slope_c * on_c
            part = rows[n, 0]
            drift = 0.0
            for tap in range(4):
                by = by_0 if tap == 0 else by_1 if tap == 1 else by_2 if tap == 2 else by_3
                drift += by * (
                    weight_a * part[0, at + tap] + weight_b * part[1, at + tap] + weight_c * part[2, at + tap]
                )
            seen[n, last, pixel] = drift


@kept_on_disk
def running_median(values: np.ndarray, size: int, found: np.ndarray) -> None:
    """Write the medians of windows of `size` about each pixel, the end pixels repeated beyond the ends.

    Of an even number of pixels it is the upper one of the two in the middle, and one more lies before the pixel than
    behind it, as in `scipy.ndimage.median_filter`.

    Args:
        values: shape (L,), finite.
        size: from 1 to L.
        found: shape (L,).
    """
    last, half = values.shape[0] - 1, size // 2
    # The window in rising order, with room for one more; each step takes out one number and puts in another.
    window, rest = np.empty(size + 1), np.empty(size + 1)
    for k in range(size):
        window[k] = values[min(max(k - half, 0), last)]
    window[:size].sort()
    found[0] = window[half]
    rest[0] = -np.inf
    for pixel in range(1, last + 1):
        old = values[max(pixel - 1 - half, 0)]
        new = values[min(pixel - 1 - half + size, last)]
        # Without branches: whole vectors of the processor are compared and moved at once.
        window[size] = np.inf
        for k in range(size):
            rest[k + 1] = window[k] if window[k] < old else window[k + 1]
        for k in range(size):
            window[k] = min(rest[k + 1], max(rest[k], new))
        found[pixel] = window[half]


@kept_on_disk
def continuum_sums(
    template: np.ndarray,
    star: np.ndarray,
    flux: np.ndarray,
    root: np.ndarray,
    columns: np.ndarray,
    moments: np.ndarray,
    right: np.ndarray,
) -> None:
    """Write the sums that the continuum of N templates follows from.

    Args:
        template: shape (N, L).
        star: of each template, shape (N,).
        flux, root: of the stars and the roots of its weights, shape (B, L).
        columns: T_k of every pixel, shape (B, L, 2 C - 1).
        moments: Σ weight template² T_k, shape (N, 2 C - 1).
        right: Σ weight template flux T_k, shape (N, C).
    """
    few = right.shape[1]
    for n in range(template.shape[0]):
        k = star[n]
        moments[n], right[n] = 0.0, 0.0
        for pixel in range(template.shape[1]):
            scaled = root[k, pixel] * template[n, pixel]
            square, product = scaled * scaled, scaled * root[k, pixel] * flux[k, pixel]
            row = columns[k, pixel]
            for column in range(row.shape[0]):
                moments[n, column] += square * row[column]
            for column in range(few):
                right[n, column] += product * row[column]


@kept_on_disk
def continuum_levels(
    coefficients: np.ndarray, star: np.ndarray, columns: np.ndarray, level: np.ndarray
) -> None:
    """Write the continua (N, L) of coefficients (N, C), float32; `star` and `columns` as in `continuum_sums`."""
    few = coefficients.shape[1]
    even = few - few % 4
    for n in range(level.shape[0]):
        k = star[n]
        for pixel in range(level.shape[1]):
            row = columns[k, pixel]
            # Four sums that do not wait for each other.
            a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for column in range(0, even, 4):
                a += coefficients[n, column] * row[column]
                b += coefficients[n, column + 1] * row[column + 1]
                c += coefficients[n, column + 2] * row[column + 2]
                d += coefficients[n, column + 3] * row[column + 3]
            for column in range(even, few):
                a += coefficients[n, column] * row[column]
            level[n, pixel] = (a + b) + (c + d)


@kept_on_disk
def residual_sums(
    seen: np.ndarray,
    level: np.ndarray,
    star: np.ndarray,
    flux: np.ndarray,
    root: np.ndarray,
    columns: np.ndarray,
    chi2: np.ndarray,
    gradient: np.ndarray,
    curvature: np.ndarray,
    shared: np.ndarray,
) -> None:
    """Write what χ² and its derivatives are made of.

    Args:
        seen: templates and their derivatives, shape (N, R + 1, L).
        level: their continua, shape (N, L).
        star, flux, root, columns: as in `continuum_sums`.
        chi2: Σ residual², shape (N,).
        gradient: Σ residual slope, shape (N, R).
        curvature: Σ slope slope', shape (N, R, R); the upper triangle is written.
        shared: Σ slope (weight^½ template T_k), shape (N, R, C).
    """
    size, few = gradient.shape[1], shared.shape[2]
    slopes = np.empty(size)
    for n in range(seen.shape[0]):
        k = star[n]
        chi2[n], gradient[n], curvature[n], shared[n] = 0.0, 0.0, 0.0, 0.0
        for pixel in range(seen.shape[2]):
            weight = root[k, pixel]
            if weight > 0:
                scaled = weight * level[n, pixel]
                template = weight * seen[n, 0, pixel]
                residual = weight * flux[k, pixel] - level[n, pixel] * template
                chi2[n] += residual * residual
                row = columns[k, pixel]
                for p in range(size):
                    slopes[p] = scaled * seen[n, p + 1, pixel]
                    gradient[n, p] += slopes[p] * residual
                for p in range(size):
                    for q in range(p, size):
                        curvature[n, p, q] += slopes[p] * slopes[q]
                    product = slopes[p] * template
                    for column in range(few):
                        shared[n, p, column] += product * row[column]
