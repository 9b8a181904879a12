"""What is recorded of a tile of spectra, compiled for the processor by Numba: every pass over a row of pixels
happens while the row is in the first cache.

The definition is that of `deviates` and `observer`, which accelerators use, and CPUs without Numba: the same
random bits, the same arithmetic but for the order of roundings. One file that takes no compiled function from others,
because Numba's cache on disk notices changes of the compiled file only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np

from specvit.numerics.compiling import OPTIONS, kept_on_disk

F32, I32, U64 = np.float32, np.int32, np.uint64

#: Numba compiles for the type of what arrives; NumPy's annotations do not follow 32-bit arithmetic.
Row = np.ndarray
Number = Any

Function = TypeVar("Function", bound=Callable[..., Any])

#: Rows of the work space: the first two are the deviates of two spectra.
VARIANCE, SIGMA_PER_ROOT, OBSERVED, RATIO = range(2, 6)
WORK_ROWS = 6

#: The largest whole number, also all bits of a number but its sign.
LARGEST = I32(2**31 - 1)
INFINITY, INFINITY_BITS = F32(np.inf), I32(0x7F800000)

#: Nothing of interest is larger, and its square is a float32.
ENORMOUS = F32(1e18)

#: Counts before `lower_median` leaves its guesses for a bisection.
POINTS = 24


class BlockProducts(NamedTuple):
    """A tile's matrix products, float32, C order: what `NoiseModel.combine` takes; and noise levels, (B,)."""

    flux: np.ndarray
    response: np.ndarray
    sky: np.ndarray
    constant: np.ndarray
    noise_level: np.ndarray


class Convention(NamedTuple):
    """The options of an `Observer`, what the instrument adds, and `observer.parts_of` (empty unless it tilts sigma).

    `segments` are the first pixels of the pieces without a gap, and L: int64, shape (S + 1,).
    """

    continuum: np.ndarray
    segments: np.ndarray
    floor: np.float32
    minimum_level: np.float32
    observed_median: bool
    pipeline_sigma: bool
    bounds: np.ndarray
    weights: np.ndarray
    steepest: np.float32


class Written(NamedTuple):
    """Where a tile is written, float32, C order; the three of the truth have no rows if it is not wanted."""

    flux: np.ndarray
    sigma: np.ndarray
    snr: np.ndarray
    true_flux: np.ndarray
    true_sigma: np.ndarray
    scale: np.ndarray


compiled: Callable[[Function], Function] = numba.njit(**OPTIONS)
compiled_in_any_order: Callable[[Function], Function] = numba.njit(
    fastmath={"reassoc", "contract", "nsz"}, **OPTIONS
)


@kept_on_disk
def record_tile(
    state: np.ndarray,
    warm_up: int,
    products: BlockProducts,
    convention: Convention,
    written: Written,
    words: np.ndarray,
    work: np.ndarray,
) -> None:
    """Write what is observed of a tile of clean flux (B, L), B even; see `Observer.record`.

    Args:
        state, warm_up: of the tile's stream of bits, see `deviates.stream_state`.
        products, convention, written: see there.
        words: int32, shape (B L,); overwritten.
        work: float32, shape (`WORK_ROWS`, L); overwritten.
    """
    _fill_with_bits(state, warm_up, words.view(U64))
    rows, pixels = products.flux.shape
    half = rows // 2
    for row in range(half):
        radius_words = words[row * pixels : (row + 1) * pixels]
        angle_words = words[(half + row) * pixels : (half + row + 1) * pixels]
        _deviates(radius_words, angle_words, work[0], work[1])
        for part in range(2):
            _record_row(part * half + row, work[part], products, convention, written, work)


@compiled
def _record_row(
    row: int, deviates: Row, products: BlockProducts, convention: Convention, written: Written, work: Row
) -> None:
    flux, response, sky = products.flux[row], products.response[row], products.sky[row]
    constant, noise_level = products.constant[row], products.noise_level[row]
    variance, sigma_per_root = work[VARIANCE], work[SIGMA_PER_ROOT]
    observed, ratio = work[OBSERVED], work[RATIO]
    for segment in range(convention.segments.size - 1):
        first, last = convention.segments[segment], convention.segments[segment + 1]
        # Every segment's sky has a pixel more on both sides.
        around = sky[first + 2 * segment : last + 2 * segment + 2]
        _observe(
            flux[first:last],
            response[first:last],
            around,
            constant,
            noise_level,
            deviates[first:last],
            convention.floor,
            variance[first:last],
            sigma_per_root[first:last],
            observed[first:last],
            ratio[first:last],
        )
    written.snr[row] = lower_median(ratio.view(I32), *_mean_and_spread(ratio))
    known = max(lower_median(observed.view(I32), *_mean_and_spread(observed)), convention.minimum_level)
    level = known
    if not convention.observed_median:
        level = lower_median(flux.view(I32), *_mean_and_spread(flux))
    scale = F32(1) / level
    _multiply(observed, scale, written.flux[row])
    if convention.weights.size:
        _tilt(observed, known, convention, ratio)
    elif convention.pipeline_sigma:
        _multiply(convention.continuum, known, ratio)
    assumed = ratio if convention.pipeline_sigma else flux
    _sigma(assumed, scale, response, variance, sigma_per_root, written.sigma[row])
    if written.scale.size:
        _multiply(flux, scale, written.true_flux[row])
        _sigma(flux, scale, response, variance, sigma_per_root, written.true_sigma[row])
        written.scale[row] = scale


@compiled
def _observe(
    flux: Row,
    response: Row,
    sky: Row,
    constant: Row,
    noise_level: Number,
    deviates: Row,
    floor: Number,
    variance: Row,
    sigma_per_root: Row,
    observed: Row,
    ratio: Row,
) -> None:
    """Write variance, sigma per root of it, observed flux and flux / sigma of a segment of one row."""
    per_level = F32(1) / noise_level
    for i in range(flux.size):
        before, own, after = sky[i], sky[i + 1], sky[i + 2]
        largest = before if before > after else after
        largest = largest if largest > own else own
        variance[i] = own + floor * largest * largest + constant
        electrons = flux[i] * response[i]
        total = variance[i] + electrons
        root = np.sqrt(total)
        # One division for both: 1 / response = root · q, and 1 / root = response · q.
        q = F32(1) / (root * response[i])
        sigma_per_root[i] = root * q * noise_level
        # total · q = root / response, the σ of the pixel.
        observed[i] = flux[i] + deviates[i] * (total * q * noise_level)
        ratio[i] = electrons * (response[i] * q) * per_level if q < INFINITY else F32(0)


# Fast arithmetic, as these are guesses only: they decide how long `lower_median` takes, not what it returns.
@compiled_in_any_order
def _mean_and_spread(values: Row) -> tuple[Number, Number]:
    """Return mean and standard deviation, roughly: sums in any order, dead pixels (inf) as zeros."""
    total, squares = F32(0), F32(0)
    for i in range(values.size):
        value = values[i] if abs(values[i]) < ENORMOUS else F32(0)
        total += value
        squares += value * value
    mean = total / F32(values.size)
    return mean, np.sqrt(squares / F32(values.size) - mean * mean)


@compiled
def _multiply(values: Row, factor: Number, out: Row) -> None:
    for i in range(values.size):
        out[i] = values[i] * factor


@compiled
def _sigma(flux: Row, scale: Number, response: Row, variance: Row, sigma_per_root: Row, out: Row) -> None:
    for i in range(out.size):
        out[i] = np.sqrt(variance[i] + flux[i] * response[i]) * sigma_per_root[i] * scale


@compiled
def _tilt(observed: Row, known: Number, convention: Convention, out: Row) -> None:
    """Write the continuum at its level, tilted as the observed flux is; see `observer.observed_slope`."""
    for i in range(out.size):
        out[i] = observed[i] / convention.continuum[i]
    slope = F32(0)
    for part in range(convention.weights.size):
        some = out[convention.bounds[part] : convention.bounds[part + 1]]
        slope += convention.weights[part] * lower_median(some.view(I32), *_mean_and_spread(some))
    slope /= known
    slope = min(max(slope, -convention.steepest), convention.steepest) if abs(slope) < INFINITY else F32(0)
    step = F32(2) / F32(max(out.size - 1, 1))
    for i in range(out.size):
        out[i] = known * convention.continuum[i] * (F32(1) + slope * (F32(i) * step - F32(1)))


@compiled
def _fill_with_bits(state: Row, warm_up: int, words: Row) -> None:
    """Fill words (uint64) with SFC64 (Doty-Humphrey, PractRand) from `state`, less the first `warm_up`."""
    a, b, c, counter = state
    for k in range(-warm_up, words.size):
        word = a + b + counter
        counter += U64(1)
        a = b ^ (b >> U64(11))
        b = c + (c << U64(3))
        c = ((c << U64(24)) | (c >> U64(40))) + word
        if k >= 0:
            words[k] = word


@compiled
def _deviates(radius_words: Row, angle_words: Row, first: Row, second: Row) -> None:
    """Write the deviates that `deviates.normal_from_bits` makes of the same words (int32), to float32 rounding.

    Polynomials of Cephes (Moshier 1989; logf, sinf, cosf), because Numba calls the library's functions number by
    number: as plain arithmetic they become vectors.
    """
    for i in range(first.size):
        radius = np.sqrt(F32(-2) * _log(F32(F32(I32(radius_words[i] | I32(1))) * F32(2.0**-31))))
        # The nearest quarter turn, exact in whole numbers, and the angle from there.
        word = angle_words[i]
        turn = I32(I32(word + I32(2**29)) >> I32(30))
        angle = F32(I32(word - I32(turn << I32(30)))) * F32(np.pi * 2.0**-31)
        z = angle * angle
        sine = (F32(-1.9515295891e-4) * z + F32(8.3321608736e-3)) * z + F32(-1.6666654611e-1)
        sine = sine * z * angle + angle
        cosine = (F32(2.443315711809948e-5) * z + F32(-1.388731625493765e-3)) * z + F32(4.166664568298827e-2)
        cosine = cosine * z * z - F32(0.5) * z + F32(1)
        odd, behind, left = turn & I32(1), turn & I32(2), I32(turn + I32(1)) & I32(2)
        s = cosine if odd != 0 else sine
        c = sine if odd != 0 else cosine
        first[i] = radius * (-s if behind != 0 else s)
        second[i] = radius * (-c if left != 0 else c)


@compiled
def _log(x: Number) -> Number:
    """Return ln |x| of a normal float32."""
    x = F32(x)
    bits = I32(x.view(I32) & LARGEST)
    exponent = I32(I32(bits - I32(0x3F3504F3)) >> I32(23))  # of x / m, m in [sqrt(1/2), sqrt(2))
    mantissa_bits = I32(bits - I32(exponent << I32(23)))
    m = mantissa_bits.view(F32) - F32(1)
    p = F32(7.0376836292e-2)
    p = p * m + F32(-1.1514610310e-1)
    p = p * m + F32(1.1676998740e-1)
    p = p * m + F32(-1.2420140846e-1)
    p = p * m + F32(1.4249322787e-1)
    p = p * m + F32(-1.6668057665e-1)
    p = p * m + F32(2.0000714765e-1)
    p = p * m + F32(-2.4999993993e-1)
    p = p * m + F32(3.3333331174e-1)
    z = m * m
    return p * m * z - F32(0.5) * z + m + F32(exponent) * F32(0.6931471805599453)


@compiled
def lower_median(bits: Row, guess: Number, spread: Number) -> Number:
    """Return the lower median of floats, the element `numerics.row_median` picks.

    Counts how many lie below a point and moves the point. Each count is one vectorised pass; a spectrum takes
    six to eight of them, which is less time than NumPy's partition needs, and that cannot be called from here.
    Positive floats have the order of their bits; a median that is not positive, and whatever is not settled
    after `POINTS`, is bisected.

    Args:
        bits: int32, shape (L,): the bits of float32 numbers.
        guess, spread: of the median and of the values around it, float32; only the speed depends on them.
    """
    middle = (bits.size - 1) // 2
    low, high = I32(0), INFINITY_BITS
    at_low, at_high = -1, -1  # how many lie below them; -1: not counted
    point, per_rank = F32(guess), F32(2.5066) * spread / F32(bits.size)  # as near the centre of a normal one
    for _ in range(POINTS):
        at = _bits_of(point)
        if not low < at < high:
            at = I32(low + I32(high - low) // 2)
            point = _float_of(at)
        below = _count_below(bits, at)
        if below <= middle:
            low, at_low = at, below
        else:
            high, at_high = at, below
        if at_low == middle:
            return _float_of(_smallest_from(bits, low))
        missing = F32(middle - below) + F32(0.5)
        if at_low >= 0 and at_high >= 0:
            start = _float_of(low)
            per_rank = (_float_of(high) - start) / F32(at_high - at_low)
            point = start + (F32(middle - at_low) + F32(0.5)) * per_rank
        else:
            point = point + missing * per_rank
            per_rank *= F32(2)
    return _bisected(bits, middle)


@compiled
def _bisected(bits: Row, rank: int) -> Number:
    low, high = -(2**31), 2**31 - 1
    while low < high:
        at = (low + high + 1) // 2
        below = 0
        for i in range(bits.size):
            below += _in_order(bits[i]) < at
        if below <= rank:
            low = at
        else:
            high = at - 1
    return _float_of(_in_order(I32(low)))


@compiled
def _in_order(bits: Number) -> Number:
    """Return numbers that have the order of the floats with these bits; its own inverse."""
    return I32(bits ^ I32(I32(bits >> I32(31)) & LARGEST))


@compiled
def _count_below(bits: Row, at: Number) -> Number:
    below = I32(0)
    for i in range(bits.size):
        below = I32(below + (I32(1) if bits[i] < at else I32(0)))
    return below


@compiled
def _smallest_from(bits: Row, at: Number) -> Number:
    smallest = LARGEST
    for i in range(bits.size):
        smallest = min(smallest, LARGEST if bits[i] < at else bits[i])
    return smallest


@compiled
def _bits_of(value: Number) -> Number:
    value = F32(value)
    return I32(value.view(I32))


@compiled
def _float_of(bits: Number) -> Number:
    bits = I32(bits)
    return bits.view(F32)
