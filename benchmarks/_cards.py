"""What accelerators can do at most, by the name they give themselves.

Dense bfloat16 products with sums in float32, and device memory, as the makers' data sheets state them. A data sheet's
rate "with sparsity" is twice the dense one. A card that is not here has no peak: utilisation is then given against the
rate of a large product that the same visit measured, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peak:
    """Peaks of one card.

    Args:
        flops: dense bfloat16, FLOP/s.
        bytes_per_second: of device memory.
        source: data sheet.
    """

    flops: float
    bytes_per_second: float
    source: str


H100 = "NVIDIA H100 Tensor Core GPU data sheet"
A100 = "NVIDIA A100 Tensor Core GPU data sheet"

#: Words that a card's name begins with -> peaks; the first that fits counts.
PEAKS: tuple[tuple[str, Peak], ...] = (
    ("NVIDIA H200 NVL", Peak(835.5e12, 4.8e12, "NVIDIA H200 Tensor Core GPU data sheet")),
    ("NVIDIA H200", Peak(989.5e12, 4.8e12, "NVIDIA H200 Tensor Core GPU data sheet")),
    ("NVIDIA H100 PCIe", Peak(756.5e12, 2.0e12, H100)),
    ("NVIDIA H100 NVL", Peak(835.5e12, 3.9e12, H100)),
    ("NVIDIA H100", Peak(989.5e12, 3.35e12, H100)),
    ("NVIDIA A100-SXM4-80GB", Peak(312e12, 2.039e12, A100)),
    ("NVIDIA A100 80GB PCIe", Peak(312e12, 1.935e12, A100)),
    ("NVIDIA A100", Peak(312e12, 1.555e12, A100)),
    ("NVIDIA L40S", Peak(362e12, 0.864e12, "NVIDIA L40S data sheet")),
    ("NVIDIA L4", Peak(121e12, 0.3e12, "NVIDIA L4 Tensor Core GPU data sheet")),
    ("NVIDIA GeForce RTX 4090", Peak(165.2e12, 1.008e12, "NVIDIA Ada GPU Architecture, appendix A")),
)


def peak_of(name: str) -> Peak | None:
    """Return the peaks of a card by its name, None for one that is not known."""
    return next((peak for words, peak in PEAKS if f"{name} ".startswith((f"{words} ", f"{words}-"))), None)
