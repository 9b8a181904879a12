"""Whether a spectrum is one of those an estimator was made for: a verdict on the input, whatever the estimator says.

Training spectra are described as Gaussian, y = m + Bᵀc + noise with c ~ N(0, I) (see `SubspaceProjection`). Tests look at
what that leaves of a spectrum: chi² and single pixels, the size of c, and the score of directions in which spectra go
wrong in practice (velocity, resolution, continuum). The score of a direction d is dᵀ S⁻¹ (y - m) / √(dᵀ S⁻¹ d), of unit
variance if S = BᵀB + W⁻¹ were all there is (Rao 1948, Proc. Camb. Phil. Soc. 44, 50); with the Wiener estimate ĉ,
S⁻¹ (y - m) = W (y - m - Bᵀĉ), so no matrix of pixels is ever made.

What counts as strange is not computed but counted, on held-out spectra of the training's own world (`Norm`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from specvit.documents.tensors import Tensors
from specvit.models.conditioning import normalise
from specvit.models.norm import Norm
from specvit.models.prediction import Diagnostics
from specvit.models.subspace import EXACT_ROWS, Solution, SubspaceProjection
from specvit.models.usable import usable_pixels
from specvit.numerics import triangular_inverse
from specvit.spectra import SPEED_OF_LIGHT_KM_S, SpectraSource, WavelengthGrid, take

#: Training spectra that span the subspace, its components and weight patterns, at most.
SAMPLE, COMPONENTS, PATTERNS = 1024, 64, 12

#: Held-out spectra by which strangeness is measured, at most, and how many are judged at once.
HELD_OUT, ROWS = 4_000, 256

#: Sigma is taken as no smaller than this share of the smallest of the training: float32 has room for what follows.
LEAST_SIGMA = 0.2

#: Least share of usable pixels: with fewer, lines that decide between stars may all be gone.
USABLE = 0.7

#: Axes of the arrays of a `SubspaceProjection`.
AXES = {
    **{"mean": "L", "basis": "KL", "reference": "L", "pattern": "JL"},
    **{"normal": "JKK", "level_centre": "J", "level_scale": "J"},
}

#: Velocities, km/s, by which lines are moved too far for their slope to tell.
SHIFTS = (-500.0, -350.0, -250.0, -150.0, -100.0, -60.0, 60.0, 100.0, 150.0, 250.0, 350.0, 500.0)


class JudgedPart(NamedTuple):
    """Some spectra, judged.

    diagnostics: strangeness, chi² and degrees of freedom.
    usable: which of their pixels are, shape (B, L), bool.
    solution: their Wiener estimates; None if a sigma had to be raised for them.
    """

    diagnostics: Diagnostics
    usable: Tensor
    solution: Solution | None


class _Measured(NamedTuple):
    """Noise level (B,), statistics (B, S), usable share, chi², degrees of freedom (B,), float64; see `JudgedPart`."""

    level: Tensor
    statistics: Tensor
    share: Tensor
    chi2: Tensor
    freedom: Tensor
    usable: Tensor
    solution: Solution | None


class InputDomain:
    """Judges spectra by how the spectra of a training look.

    Args:
        space: of the training spectra, fitted.
        grid: their pixels.
        norm: what their statistics look like.
    """

    def __init__(self, space: SubspaceProjection, grid: WavelengthGrid, norm: Norm) -> None:
        self.space, self.grid, self.norm = space, grid, norm

    @cached_property
    def directions(self) -> Directions:
        """The directions in which spectra go wrong, made when the first spectrum is judged."""
        return Directions(self.space, self.grid)

    @classmethod
    @torch.no_grad()
    def fit(cls, train: SpectraSource, validation: SpectraSource) -> Self | None:
        """Return the domain of a training; None if its spectra do not say what they are without noise, or have none.

        Spectra without a usable pixel, or whose noise-free flux is not finite, are passed over.

        Args:
            train: training spectra.
            validation: of the same world; used where the training has no reserve of further spectra.
        """
        sample = take(train, SAMPLE)
        if sample.truth is None:
            return None
        known = usable_pixels(sample.flux, sample.sigma).any(dim=1) & sample.truth.flux.isfinite().all(dim=1)
        clean, flux, sigma = (values[known] for values in (sample.truth.flux, sample.flux, sample.sigma))
        components = min(COMPONENTS, len(clean) // 4, train.grid.size // 8)
        if components < 1:
            return None
        space = SubspaceProjection(train.grid.size, components, min(PATTERNS, components))
        space.fit(clean, flux, sigma)
        domain = cls(space, train.grid, Norm.unknown())
        levels, statistics, count = [], [], 0
        # A small training has not much to say of what is normal, and is not to wait for it.
        wanted = min(HELD_OUT, len(train))
        held_out = train.reserve(wanted) or validation
        for batch in held_out.batches(ROWS):
            level, found, *_ = domain._measured(batch.flux, batch.sigma)
            # One NaN among them would make every limit NaN.
            finite = level.isfinite() & found.isfinite().all(dim=1)
            levels.append(level[finite])
            statistics.append(found[finite])
            count += len(batch)
            if count >= wanted:
                break
        if not sum(map(len, levels)):
            return None
        domain.norm = Norm.of(torch.cat(levels), torch.cat(statistics))
        return domain

    def judge(self, flux: Tensor, sigma: Tensor) -> Diagnostics:
        """Return strangeness, chi² and degrees of freedom of spectra (B, L) in any one unit each."""
        return Diagnostics.joined([part.diagnostics for part in self.parts(flux, sigma)])

    @torch.no_grad()
    def parts(self, flux: Tensor, sigma: Tensor) -> Iterator[JudgedPart]:
        """Yield what `judge` says of spectra (B, L), some at a time, with what it was found from."""
        for start in range(0, len(flux), ROWS):
            found = self._measured(flux[start : start + ROWS], sigma[start : start + ROWS])
            noise = self.norm.noise_strangeness(found.level)
            pixels = torch.where(found.share < USABLE, 1 + USABLE - found.share, found.share.new_zeros(()))
            strange = self.norm.strangeness(found.level, found.statistics)
            yield JudgedPart(
                Diagnostics(
                    strangeness=torch.cat([noise[:, None], pixels[:, None], strange], dim=1),
                    chi2=found.chi2,
                    degrees_of_freedom=found.freedom.round().long(),
                ),
                found.usable,
                found.solution,
            )

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the arrays by the names they are stored under."""
        state = {f"space.{name}": value for name, value in self.space.state_dict().items()}
        return state | {f"norm.{name}": value for name, value in self.norm.to_tensors().items()}

    @classmethod
    def read(cls, tensors: Tensors, grid: WavelengthGrid) -> Self:
        """Return the domain stored as `to_tensors` gives it.

        Raises:
            DataError: if an array is missing, of another type or shape, or makes no sense.
        """
        norm = Norm.read(tensors.part("norm."))
        part = tensors.part("space.")
        part.sizes["L"] = grid.size
        state = {name: part.take(name, axes, torch.float32) for name, axes in AXES.items()}
        part.finish()
        space = SubspaceProjection(grid.size, *(len(state[name]) for name in ("basis", "pattern")))
        space.load_state_dict(state)
        return cls(space, grid, norm)

    def _measured(self, flux: Tensor, sigma: Tensor) -> _Measured:
        usable, flux, sigma, _ = normalise(flux.to(self.space.mean.device), sigma.to(self.space.mean.device))
        level = torch.where(usable, sigma, torch.nan).nanmedian(dim=1).values.double().log()
        # Such spectra are outside by their noise alone.
        least = LEAST_SIGMA * float(self.norm.bounds[0].exp())
        raised = bool((sigma < least).any())
        found = self.space.solve(usable, flux, sigma.clamp(min=least) if raised else sigma)
        left = torch.where(usable, flux - self.space.mean - found.coefficients @ self.space.basis, 0.0)
        pull = left * found.weight.sqrt()
        chi2, pixels = pull.double().square().sum(dim=1), usable.sum(dim=1).double()
        # L⁻¹, of which (I + N)⁻¹ = L⁻ᵀ L⁻¹.
        root = triangular_inverse(found.factor)
        # Σ eigenvalues of (I + N)⁻¹ N: how many of the K coefficients the spectrum determines.
        freedom = pixels - (self.space.components - root.square().sum(dim=(1, 2)).double())
        columns = [
            (chi2 - freedom) / (2 * freedom.clamp(min=1)).sqrt(),
            (1 + found.coefficients.double().square().sum(dim=1)).log(),
            pull.abs().amax(dim=1).double(),
        ]
        columns += self.directions.scores(found, left * found.weight, root)
        return _Measured(
            level.cpu(),
            torch.stack(columns, dim=1).cpu(),
            (pixels / usable.shape[1]).cpu(),
            chi2.cpu(),
            freedom.cpu(),
            usable,
            None if raised else found,
        )


class Directions(nn.Module):
    """Ways in which spectra go wrong, as directions in pixel space, and their scores.

    A direction is d = D(m + Bᵀĉ) with a linear D: what it does to the spectrum at hand. All sums over pixels but one are
    made beforehand for the weight patterns of the subspace, as in `SubspaceProjection`.

    Args:
        space: of the training spectra.
        grid: their pixels.
    """

    basis: Tensor
    rows: Tensor
    own: Tensor
    across: Tensor
    shifted: Tensor
    shifted_own: Tensor
    shifted_across: Tensor

    def __init__(self, space: SubspaceProjection, grid: WavelengthGrid) -> None:
        super().__init__()
        mean, basis = space.mean[None].double(), space.basis.double()
        both = torch.cat([mean, basis])
        rows = torch.stack([*_slopes(both, grid), *_waves(both)])
        shifted = torch.stack([_shifted(mean[0], grid, velocity) - mean[0] for velocity in SHIFTS])
        weights = space.pattern.double() * space.reference.double()
        self.register_buffer("basis", space.basis)
        self.register_buffer("rows", rows.float())
        self.register_buffer("own", _products(rows, rows, weights).float())
        self.register_buffer("across", _products(basis.expand(len(rows), -1, -1), rows, weights).float())
        self.register_buffer("shifted", shifted.float())
        self.register_buffer("shifted_own", torch.einsum("jl,sl->js", weights, shifted.square()).float())
        self.register_buffer("shifted_across", torch.einsum("kl,jl,sl->jks", basis, weights, shifted).float())

    def scores(self, found: Solution, weighted: Tensor, root: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return how far B spectra go in velocity, resolution and continuum, each (B,), float64.

        Args:
            found: their Wiener estimates.
            weighted: residuals W (y - m - Bᵀĉ), shape (B, L).
            root: inverses of their factors, shape (B, K, K).
        """
        # (1, ĉ): the weights of the mean and of the components in the direction.
        parts = torch.nn.functional.pad(found.coefficients, (1, 0), value=1.0)
        raw = torch.einsum(
            "bp,bdp->bd", parts, (weighted @ self.rows.flatten(0, 1).T).unflatten(1, (len(self.rows), -1))
        )
        velocity, resolution, tilt, curvature = (
            _normed(raw, *self._own(found, parts), root).abs().unbind(dim=1)
        )
        shift = _normed(weighted @ self.shifted.T, *self._shifted(found), root)
        # Small velocities by the slope of the star's own lines, large ones by where the lines of all stars would be.
        return torch.maximum(velocity, shift.amax(dim=1)), resolution, torch.maximum(tilt, curvature)

    def _own(self, found: Solution, parts: Tensor) -> tuple[Tensor, Tensor]:
        """Return dᵀ W d, shape (B, D), and B W d, shape (B, K, D), of what directions do to the spectra themselves."""
        if bool(found.poor.all()):
            return self._own_exact(found.weight, parts)
        own = (_composed(self.own, found.amplitudes, parts) * parts[:, None]).sum(dim=2)
        across = _composed(self.across, found.amplitudes, parts).transpose(1, 2).contiguous()
        if bool(found.poor.any()):
            own[found.poor], across[found.poor] = self._own_exact(found.weight[found.poor], parts[found.poor])
        return own, across

    def _own_exact(self, weight: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
        own, across = [], []
        for some, part in zip(weight.split(EXACT_ROWS), parts.split(EXACT_ROWS), strict=True):
            direction = part @ self.rows
            heavy = direction * some
            own.append((direction * heavy).sum(dim=2).T)
            across.append((heavy @ self.basis.T).permute(1, 2, 0))
        return torch.cat(own), torch.cat(across)

    def _shifted(self, found: Solution) -> tuple[Tensor, Tensor]:
        """Return the same, (B, S) and (B, K, S), for the mean spectrum at other velocities."""
        if bool(found.poor.all()):
            return self._shifted_exact(found.weight)
        own = found.amplitudes @ self.shifted_own
        across = torch.einsum("bj,jks->bks", found.amplitudes, self.shifted_across)
        if bool(found.poor.any()):
            own[found.poor], across[found.poor] = self._shifted_exact(found.weight[found.poor])
        return own, across

    def _shifted_exact(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        across = (weight @ self.shifted_rows.T).unflatten(1, (len(self.basis), len(self.shifted)))
        return weight @ self.shifted.square().T, across

    @cached_property
    def shifted_rows(self) -> Tensor:
        """Products of components and changed mean spectra, shape (K S, L), made when the first poor spectrum comes."""
        return (self.basis[:, None] * self.shifted).flatten(0, 1)


def _normed(raw: Tensor, own: Tensor, across: Tensor, root: Tensor) -> Tensor:
    """Return raw / √(own - acrossᵀ (I + N)⁻¹ across), shape (B, D), float64, for across of shape (B, K, D)."""
    within = (root @ across).square().sum(dim=1)
    # A spectrum without a usable pixel has no direction either.
    return raw.double() / (own - within).double().clamp(min=1e-12).sqrt()


def _composed(table: Tensor, amplitudes: Tensor, parts: Tensor) -> Tensor:
    """Return Σ_jp amplitudes_bj table_djqp parts_bp, shape (B, D, Q), for a table (D, J, Q, P).

    Not by einsum, which sums over the patterns J first: B x D x Q x P numbers on the way, and four times the time.
    """
    directions, patterns, rows, columns = table.shape
    across = parts @ table.permute(3, 1, 0, 2).reshape(columns, -1)
    composed = amplitudes[:, None] @ across.view(-1, patterns, directions * rows)
    return composed.view(-1, directions, rows)


def _products(left: Tensor, right: Tensor, weights: Tensor) -> Tensor:
    """Return Σ_l left_dpl weights_jl right_dql, shape (D, J, P, Q), for left (D, P, L) and right (D, Q, L)."""
    return torch.stack([(left * weight) @ right.transpose(1, 2) for weight in weights], dim=1)


def _slopes(rows: Tensor, grid: WavelengthGrid) -> tuple[Tensor, Tensor]:
    """Return the changes of spectra (N, L) with velocity, per km/s, and with the variance of the LSF, each (N, L)."""
    wavelength = torch.from_numpy(grid.wavelength.copy())
    first, second = torch.zeros_like(rows), torch.zeros_like(rows)
    for segment in grid.segments:
        # A pixel alone between two gaps has no slope.
        if segment.stop - segment.start > 1:
            spacing = (wavelength[segment],)
            first[:, segment] = torch.gradient(rows[:, segment], spacing=spacing, dim=1)[0]
            second[:, segment] = torch.gradient(first[:, segment], spacing=spacing, dim=1)[0]
    # A line moves to the red by λ v / c; a kernel of variance v adds v/2 times the second derivative.
    return -first * wavelength / SPEED_OF_LIGHT_KM_S, 0.5 * second


def _waves(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return spectra (N, L) times a tilt and a curvature over the pixels, each (N, L)."""
    position = torch.linspace(-1, 1, rows.shape[1], dtype=rows.dtype)
    return rows * position, rows * (position.square() - 1 / 3)


def _shifted(flux: Tensor, grid: WavelengthGrid, velocity: float) -> Tensor:
    """Return a spectrum (L,) as it would be seen at a velocity, km/s; constant beyond the ends of segments."""
    emitted = grid.wavelength / (1 + velocity / SPEED_OF_LIGHT_KM_S)
    pieces = [np.interp(emitted[s], grid.wavelength[s], flux.numpy()[s]) for s in grid.segments]
    return torch.from_numpy(np.concatenate(pieces))
