"""Files as the world has them -> upright 8-bit sRGB pixels at a bounded size, or a coded error."""

from __future__ import annotations

from piqa_cli.images.loading import DEFAULT_POLICY, ImagePolicy, LoadedImage, LoadedPair, load_image, load_pair
from piqa_cli.images.reduction import resize_to_side

__all__ = ["DEFAULT_POLICY", "ImagePolicy", "LoadedImage", "LoadedPair", "load_image", "load_pair", "resize_to_side"]
