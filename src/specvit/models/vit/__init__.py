"""SpecViT, the vision transformer on spectra."""

from specvit.models.vit.spec_vit import GRAVITY_WINDOWS, SpecViT, ViTConfig

__all__ = ["GRAVITY_WINDOWS", "SpecViT", "ViTConfig"]
