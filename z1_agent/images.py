"""Camera images to what the vision tower reads.

Resizing keeps the aspect ratio, pads with black and filters as Pillow's BILINEAR does (it widens its kernel when it
shrinks an image, unlike torch's): what π0.5 was trained and is served with. Tests hold it to the public code's bytes.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


def resize_with_padding(images: NDArray, px: int) -> NDArray:
    """uint8 [B, h, w, 3] → uint8 [B, px, px, 3]; the same array where it has that size already."""
    B, height, width, _ = images.shape
    if (height, width) == (px, px):
        return images
    ratio = max(width / px, height / px)
    new_height, new_width = max(1, int(height / ratio)), max(1, int(width / ratio))
    top, left = (px - new_height) // 2, (px - new_width) // 2
    result = np.zeros((B, px, px, 3), np.uint8)
    for target, image in zip(result, images, strict=True):
        small = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR)
        target[top : top + new_height, left : left + new_width] = np.asarray(small)
    return result


def image_tensor(name: str, images: Any, batch: int, px: int, device: torch.device) -> Tensor:
    """uint8 [B, h, w, 3] of the camera `name` → float32 [B, 3, px, px] in [-1, 1] on `device`.

    Raises ValueError where they have another type or shape.
    """
    array = np.asarray(images)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[0] != batch or array.shape[3] != 3 or not array.size:
        raise ValueError(f"{name!r} needs uint8 [{batch}, height, width, 3], got {array.dtype} {list(array.shape)}")
    # To the device as bytes: a quarter of the traffic. A copy, because shared-memory images are read-only or reused.
    resized = torch.tensor(resize_with_padding(array, px)).to(device)
    return resized.permute(0, 3, 1, 2).float() / 255 * 2 - 1
