"""SpecViT, the vision transformer on spectra."""

from specvit.models.vit.spec_vit import SpecViT, ViTConfig

__all__ = ["SpecViT", "ViTConfig"]
