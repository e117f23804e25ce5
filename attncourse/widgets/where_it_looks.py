"""Widget of the chapter on where networks look: a map, cut at a threshold, against the mask of the object.

It rests on plain functions (``as_bytes``, ``cut``) that work and are tested without any widget.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attncourse.widgets.base import QUIET, UP, CourseWidget, control, front_end

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

THRESHOLDS = tuple(range(10, 100, 10))  # per cent of the map's maximum
BOTH, MAP_ONLY, OBJECT_ONLY = (0, 158, 115), (213, 94, 0), (0, 114, 178)
LEGEND = ("both", "map only", "object only")


class Cut(NamedTuple):
    """A map cut at a threshold, and a mask: pixels."""

    region: int
    both: int
    iou: float


def as_bytes(one_map: np.ndarray) -> np.ndarray:
    """A map that is not negative, as uint8: 255 is its maximum. A map that is 0 everywhere counts as flat."""
    highest = one_map.max()
    return np.round(255 * (one_map / highest if highest > 0 else np.ones_like(one_map))).astype(np.uint8)


def cut(values: np.ndarray, mask: np.ndarray, percent: int) -> Cut:
    """The pixels of values, uint8 (S, S), that reach so many per cent of 255, against the mask, bool (S, S)."""
    region = values >= 2.55 * percent
    both = int((region & mask).sum())
    return Cut(int(region.sum()), both, both / int((region | mask).sum()))


def checked(images: "Tensor | np.ndarray", masks: "Tensor | np.ndarray", names: Sequence[str],
            maps: Mapping[str, Sequence["Tensor | np.ndarray"]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, S, S, 3), uint8, masks (N, S, S), bool, and maps (K, P, N, S, S), uint8, or a ValueError that says
    what is wrong."""
    pictures, objects = np.asarray(images), np.asarray(masks)
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1] != 3:
        raise ValueError(f"images must be uint8 (N, 3, S, S), got {pictures.dtype} {pictures.shape}")
    shape = len(pictures), *pictures.shape[2:]
    if objects.dtype != bool or objects.shape != shape or not objects.any((1, 2)).all():
        raise ValueError(f"masks must be bool {shape}, each True somewhere, got {objects.dtype} {objects.shape}")
    if len(names) != len(pictures):
        raise ValueError(f"names must name {len(pictures)} images, got {len(names)}")
    if not maps or len({len(places) for places in maps.values()}) != 1:
        raise ValueError(f"maps must hold as many places for each name, got "
                         f"{ {name: len(places) for name, places in maps.items()} }")
    for name, places in maps.items():
        for place, each in enumerate(places, 1):
            each = np.asarray(each)
            if each.shape != shape:
                raise ValueError(f"{name}, place {place}: a map must be {shape}, got {each.shape}")
            if not np.isfinite(each).all() or each.min() < 0:
                raise ValueError(f"{name}, place {place}: a map must be finite and not negative, its lowest value is "
                                 f"{each.min():.3g}")
    values = np.array([[[as_bytes(np.asarray(one_map, dtype=float)) for one_map in place] for place in places]
                       for places in maps.values()])
    return pictures.transpose(0, 2, 3, 1), objects, values


class MapScores(CourseWidget):
    """Pictures with masks and maps laid over them: choose the map, its place, and where it is cut.

    Args:
        images: (N, 3, S, S), uint8.
        masks: (N, S, S), bool, True on the object.
        names: what each image shows: "red star".
        maps: by name, one (N, S, S) per place, not negative, laid over the pictures already.

    Raises:
        ValueError: if these have other types or shapes.
    """

    _esm = front_end("map_scores.js")

    def __init__(self, images: "Tensor | np.ndarray", masks: "Tensor | np.ndarray", names: Sequence[str],
                 maps: Mapping[str, Sequence["Tensor | np.ndarray"]]):
        self._pictures, self._masks, self._values = checked(images, masks, names, maps)
        self._names, self._kinds = list(names), list(maps)
        self._places = self._values.shape[1]
        self._areas = self._masks.mean((1, 2))
        self._energies = (self._values * self._masks).sum((3, 4)) / self._values.sum((3, 4), dtype=int)
        self._cuts = [[[[cut(one_map, mask, percent) for percent in THRESHOLDS]
                        for one_map, mask in zip(place, self._masks)] for place in kind] for kind in self._values]
        super().__init__(
            label="A map against the object",
            controls=[
                control("scene", "Picture", self._names),
                control("map", "Map", self._kinds),
                control("place", "Place", [str(place + 1) for place in range(self._places)], "range"),
                control("threshold", "Cut at, of the maximum", [f"{percent} %" for percent in THRESHOLDS], "range"),
            ],
            state={"scene": 0, "map": 0, "place": self._places - 1, "threshold": len(THRESHOLDS) // 2},
            data=np.concatenate([part.astype(np.uint8).ravel() for part in (self._pictures, self._masks,
                                                                            self._values)]),
            meta={"scenes": len(self._names), "places": self._places, "side": self._pictures.shape[1],
                  "thresholds": list(THRESHOLDS), "areas": [round(float(area), 3) for area in self._areas],
                  "colours": [list(BOTH), list(MAP_ONLY), list(OBJECT_ONLY)], "legend": list(LEGEND),
                  "ious": [[[[round(each.iou, 3) for each in cuts] for cuts in place] for place in kind]
                           for kind in self._cuts]},
        )

    def describe(self, state: Mapping[str, int]) -> str:
        scene, kind, place = state["scene"], state["map"], state["place"]
        each, size = self._cuts[kind][place][scene][state["threshold"]], int(self._masks[scene].sum())
        pixels = "1 pixel" if each.region == 1 else f"{each.region} pixels"
        return (f"{self._names[scene].capitalize()}, {self._kinds[kind]}, place {place + 1}, cut at "
                f"{THRESHOLDS[state['threshold']]} %: {pixels}, the object {size}, both {each.both}: IoU "
                f"{each.iou:.2f}. Energy {100 * self._energies[kind, place, scene]:.0f} %, flat "
                f"{100 * self._areas[scene]:.0f} %.")

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched

        scene, kind, place = self.state["scene"], self.state["map"], self.state["place"]
        values, mask = self._values[kind, place, scene], self._masks[scene]
        figure = Figure(figsize=(6.4, 2.3), layout="constrained")
        *pictures, chart = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.3))
        pictures[0].imshow(self._pictures[scene])
        pictures[1].imshow(values, cmap="gray", vmin=0, vmax=255)
        pictures[2].imshow(overlay(self._pictures[scene], values >= 2.55 * THRESHOLDS[self.state["threshold"]], mask))
        for axes, title in zip(pictures, ("picture", "map", "overlap")):
            axes.set(xticks=[], yticks=[])
            axes.set_title(title, size="medium")
        ious = [each.iou for each in self._cuts[kind][place][scene]]
        chart.plot(THRESHOLDS, ious, color=UP)
        chart.plot(THRESHOLDS[self.state["threshold"]], ious[self.state["threshold"]], "o", color=UP)
        chart.axhline(self._areas[scene], color=QUIET, ls="--", lw=1)
        chart.set(ylim=(0, 1), xlabel="cut at, %")
        chart.set_title("IoU", size="medium")
        figure.suptitle(", ".join(self.chosen.values()), size="medium")
        return figure


def overlay(photo: np.ndarray, region: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The photograph (S, S, 3) in grey, and in colour what is in the region, on the object, or both."""
    shown = np.repeat(photo.mean(2, keepdims=True), 3, axis=2)
    for where, colour in ((region & mask, BOTH), (region & ~mask, MAP_ONLY), (mask & ~region, OBJECT_ONLY)):
        shown[where] = 0.3 * shown[where] + 0.7 * np.array(colour)
    return np.round(shown).astype(np.uint8)
