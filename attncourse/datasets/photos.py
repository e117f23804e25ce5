"""Four freely licensed photographs to look at; see ``photos/LICENSES.md`` for who took them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


def photo(name: str) -> Tensor:
    """The photograph of that name, (3, H, W), uint8; its longer side has 320 pixels.

    Raises:
        ValueError: if there is no photograph of that name.
    """
    from PIL import Image
    if name not in PHOTOS:
        raise ValueError(f"there is no photograph {name!r}: choose one of {', '.join(PHOTOS)}")
    with Image.open(Path(__file__).parent / "photos" / f"{name}.jpg") as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()  # (H, W, 3) -> (3, H, W)
