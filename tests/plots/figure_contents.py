"""What a figure says and shows, for tests of what was drawn."""

import io

import torch
from matplotlib.figure import Figure


def png(figure: Figure) -> bytes:
    """The figure as a file, without a version in it: two equal figures are equal bytes."""
    stored = io.BytesIO()
    figure.savefig(stored, format="png", metadata={"Software": None})
    return stored.getvalue()


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def drawn(axis) -> torch.Tensor:
    """The values of the axis's first image."""
    return torch.as_tensor(axis.images[0].get_array().data)
