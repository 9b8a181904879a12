"""Named tensors of a safetensors file, taken out one by one and checked. Knows names, axes and types, no meaning.

A checksum says that a file is what was written, not that what was written makes sense: every tensor is asked
for by name, type and axes, and axes of one letter must agree wherever they occur.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from specvit.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Tensors:
    """Tensors by name, each to be taken once.

    Args:
        tensors: name -> tensor.
        where: what messages call the file.
        mend: what to do about a damaged one.
        sizes: lengths of axes that are known beforehand, by letter.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        where: str,
        mend: str,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        self._tensors, self.where, self.mend = dict(tensors), where, mend
        self.sizes = dict(sizes or {})

    @classmethod
    def parse(cls, content: bytes, where: str, mend: str) -> Tensors:
        """Return the tensors of a safetensors file read into memory.

        Raises:
            DataError: if it is none, or cut short.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            # The format states the bytes of each tensor, so that no shape can ask for more than the file holds.
            return cls(load(content), where, mend)
        except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise DataError(f"{where}: not a complete safetensors file ({error}); {mend}") from error

    @property
    def names(self) -> list[str]:
        """Names of the tensors that were not taken yet."""
        return sorted(self._tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def take(
        self, name: str, axes: str | Sequence[int | str], dtype: torch.dtype | Sequence[torch.dtype]
    ) -> Tensor:
        """Return the tensor `name` and set it aside; its values are finite.

        Args:
            name: of the tensor.
            axes: one per dimension: a length, or a letter that stands for the same length everywhere.
            dtype: the type it must have, or those it may have.

        Raises:
            DataError: if it is missing, of another type or shape, or holds a value that is not finite.
        """
        if name not in self._tensors:
            raise self.problem(f"no tensor '{name}'; it holds {', '.join(self.names[:8]) or 'nothing'}")
        tensor = self._tensors.pop(name)
        self._check_type(name, tensor, dtype)
        self._check_shape(name, tensor, axes)
        # One NaN among the weights would make every estimate NaN.
        finite = tensor.isfinite()
        if not bool(finite.all()):
            raise self.problem(f"tensor '{name}' has {int((~finite).sum())} values that are not finite")
        return tensor

    def part(self, prefix: str) -> Tensors:
        """Return those whose names begin with `prefix`, without it, and set them aside here."""
        names = [name for name in self._tensors if name.startswith(prefix)]
        found = {name.removeprefix(prefix): self._tensors.pop(name) for name in names}
        return Tensors(found, f"{self.where}: {prefix.rstrip('.')}", self.mend, self.sizes)

    def state_of(self, module: nn.Module) -> dict[str, Tensor]:
        """Return all that is left as the state of `module`, which may lie on the meta device.

        Raises:
            DataError: as `take`, for the names, shapes and types of the module's own state, and for a tensor
                the module does not know.
        """
        state = {
            name: self.take(name, tuple(mine.shape), mine.dtype) for name, mine in module.state_dict().items()
        }
        self.finish()
        return state

    def finish(self) -> None:
        """Raise DataError if a tensor was not taken: the file is of another kind than it says."""
        if self._tensors:
            raise self.problem(f"unknown tensor '{self.names[0]}'")

    def problem(self, what: str) -> DataError:
        """Return the error that says `what` is wrong with this file."""
        return DataError(f"{self.where}: {what}; {self.mend}")

    def _check_type(self, name: str, tensor: Tensor, dtype: torch.dtype | Sequence[torch.dtype]) -> None:
        allowed = tuple(dtype) if isinstance(dtype, Sequence) else (dtype,)
        if tensor.dtype not in allowed:
            wanted = " or ".join(_type_name(each) for each in allowed)
            raise self.problem(f"tensor '{name}' is {_type_name(tensor.dtype)}, expected {wanted}")

    def _check_shape(self, name: str, tensor: Tensor, axes: str | Sequence[int | str]) -> None:
        shape = tuple(tensor.shape)
        expected = tuple(axis if isinstance(axis, int) else self.sizes.get(axis, axis) for axis in axes)
        fits = len(shape) == len(expected) and all(
            wanted == length if isinstance(wanted, int) else self.sizes.setdefault(wanted, length) == length
            for wanted, length in zip(expected, shape, strict=True)
        )
        if not fits:
            wanted = ", ".join(map(str, expected))
            raise self.problem(f"tensor '{name}' has shape {shape}, expected ({wanted})")


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
