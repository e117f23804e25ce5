"""Widget of the CBAM chapter: a photograph in a trained network, and what each of the two gates lets through.

It rests on a plain function (``read_block``) that works and is tested without any widget.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from attncourse.cbam import CBAM
from attncourse.widgets.base import QUIET, UP, CourseWidget, control, front_end

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

GATES = ("both gates", "channel gate alone", "spatial gate alone", "no gate")
TITLES = ("picture", "strength before", "spatial gate", "strength after")


class Place(NamedTuple):
    """What one CBAM does to B photographs. Strength is the mean of |x| over the channels at each position."""

    channel: np.ndarray  # (B, C), the channel gate
    strength: np.ndarray  # (B, H, W), before any gate
    scaled: np.ndarray  # (B, H, W), after the channel gate
    spatial: np.ndarray  # (B, H, W), the spatial gate, which looks at the scaled map
    alone: np.ndarray  # (B, H, W), the spatial gate when the channel gate is off: it looks at x


@torch.no_grad()
def read_block(block: CBAM, x: "Tensor") -> Place:
    """The gates of a CBAM (channel first, in evaluation mode) for the maps x (B, C, H, W), and what they let through.

    Raises:
        ValueError: if the block has another arrangement.
    """
    if block.arrangement != "channel-first":
        raise ValueError(f"the widget shows channel-first blocks, got {block.arrangement}")
    channel = block.channel.attention(x)
    scaled = x * channel
    parts = (channel[:, :, 0, 0], x.abs().mean(1), scaled.abs().mean(1), block.spatial.attention(scaled)[:, 0],
             block.spatial.attention(x)[:, 0])
    return Place(*(part.double().numpy() for part in parts))


def passed(place: Place, photo: int, gates: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The channel gate (C,), the spatial gate (H, W) and the strength behind them (H, W), with some gates switched off.

    Args:
        gates: an index into ``GATES``. A gate that is off is 1 everywhere.
    """
    with_channel, with_spatial = gates in (0, 1), gates in (0, 2)
    channel = place.channel[photo] if with_channel else np.ones_like(place.channel[photo])
    strength = (place.scaled if with_channel else place.strength)[photo]
    spatial = (place.spatial if with_channel else place.alone)[photo] if with_spatial else np.ones_like(strength)
    return channel, spatial, strength * spatial


def checked(photos: "Tensor | np.ndarray", names: Sequence[str], places: Sequence[Place]) -> np.ndarray:
    """The photographs (B, H, W, 3) as a canvas wants them, or a ValueError that says what is wrong."""
    array = np.asarray(photos)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1] != 3:
        raise ValueError(f"photos must be uint8 (B, 3, H, W), got {array.dtype} {array.shape}")
    if len(names) != len(array):
        raise ValueError(f"names must name {len(array)} photographs, got {len(names)}")
    if len(places) == 0:
        raise ValueError("places must hold what at least one block does, got none")
    for number, place in enumerate(places, 1):
        if any(len(part) != len(array) for part in place):
            raise ValueError(f"place {number} must hold {len(array)} photographs, got {len(place.channel)}")
    return array.transpose(0, 2, 3, 1)


def as_bytes(values: np.ndarray, largest: float = 1.0) -> np.ndarray:
    """0 to the largest becomes 0 to 255, flat."""
    return np.round(255 * np.clip(values / largest, 0, 1)).astype(np.uint8).ravel()


class CBAMOnPhoto(CourseWidget):
    """Photographs in a trained network with CBAM: the two gates of each block, together, alone, and switched off.

    Args:
        photos: (B, 3, H, W), uint8.
        names: what each photograph shows: "a cat".
        places: what each block does to them, made by ``read_block``.

    Raises:
        ValueError: if the photographs have another type or shape, or names or places do not fit them.
    """

    _esm = front_end("cbam_gates.js")

    def __init__(self, photos: "Tensor | np.ndarray", names: Sequence[str], places: Sequence[Place]):
        self._photos, self._names, self._places = checked(photos, names, places), list(names), list(places)
        parts = [self._photos.ravel()]
        for place in self._places:  # the order that the front end counts on
            for photo, most in enumerate(place.strength.max((1, 2))):
                parts += [as_bytes(place.channel[photo]), as_bytes(place.strength[photo], most),
                          as_bytes(place.scaled[photo], most), as_bytes(place.spatial[photo]),
                          as_bytes(place.alone[photo])]
        super().__init__(
            label="A picture in a network with CBAM",
            controls=[
                control("photo", "Picture", self._names),
                control("place", "Place in the network", [
                    f"{number} ({place.channel.shape[1]} channels, {place.strength.shape[1]} × "
                    f"{place.strength.shape[2]})" for number, place in enumerate(self._places, 1)]),
                control("gates", "Switched on", list(GATES)),
            ],
            state={"photo": 0, "place": 0, "gates": 0},
            data=np.concatenate(parts),
            meta={"photo": list(self._photos.shape[1:3]), "photos": len(self._photos), "titles": list(TITLES),
                  "places": [[place.channel.shape[1], *place.strength.shape[1:]] for place in self._places]},
        )

    def describe(self, state: Mapping[str, int]) -> str:
        photo, place = state["photo"], self._places[state["place"]]
        channel, spatial, after = passed(place, photo, state["gates"])
        i, j = np.unravel_index(spatial.argmax(), spatial.shape)
        share = after.sum() / place.strength[photo].sum()
        parts = []
        if state["gates"] in (0, 1):
            parts.append(f"The channel gates run from {channel.min():.2f} to {channel.max():.2f}.")
        if state["gates"] in (0, 2):
            parts.append(f"The spatial gate runs from {spatial.min():.2f} to {spatial.max():.2f}, highest at row {i}, "
                         f"column {j} of {spatial.shape[0]} × {spatial.shape[1]}.")
        if state["gates"] == 2:
            change = np.abs(spatial - place.spatial[photo]).max()
            parts.append(f"Without the channel gate it sees another map: it differs from the one with both gates by up "
                         f"to {change:.2f}.")
        return (f"{self._names[photo][0].upper()}{self._names[photo][1:]}, place {state['place'] + 1}, "
                f"{GATES[state['gates']]}: {100 * share:.0f}% of the strength passes. {' '.join(parts)}").strip()

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched

        photo, place = self.state["photo"], self._places[self.state["place"]]
        channel, spatial, after = passed(place, photo, self.state["gates"])
        figure = Figure(figsize=(7.6, 3.6), layout="constrained")
        panels = figure.subplot_mosaic([["a", "b", "c", "d"], ["e"] * 4], height_ratios=(3, 2))
        most = place.strength[photo].max()
        panels["a"].imshow(self._photos[photo])
        for key, image, largest in (("b", place.strength[photo], most), ("c", spatial, 1), ("d", after, most)):
            panels[key].imshow(image, cmap="gray", vmin=0, vmax=largest)
        for key, title in zip("abcd", TITLES):
            panels[key].set(xticks=[], yticks=[])
            panels[key].set_title(title, size="medium")
        panels["e"].bar(range(len(channel)), channel, color=UP, width=0.8)
        panels["e"].axhline(0.5, color=QUIET, lw=0.8, ls="--")
        panels["e"].set(ylim=(0, 1), ylabel="channel gate", xlabel="channel")
        panels["e"].margins(x=0.01)
        panels["e"].spines[["top", "right"]].set_visible(False)
        figure.suptitle(f"{self._names[photo]}, place {self.state['place'] + 1}, {GATES[self.state['gates']]}",
                        size="medium")
        return figure
