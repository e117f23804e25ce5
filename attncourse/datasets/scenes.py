"""Scenes drawn in code: one coloured shape to find, among grey shapes, loose strokes and soft blobs.

The rule: exactly one shape in a scene has a colour, and its kind is the label. The grey shapes, the strokes and the
background say nothing about the label, so a network has to find the coloured shape and to look at that place only.
Because the scene is drawn here, the place is known: every scene comes with the mask of its coloured shape and with a
sentence that describes it.

Shapes are signed distances: negative inside, zero on the outline. Their minimum is a union, their maximum an
intersection (A. Ricci, "A constructive geometry for computer graphics", 1973), and half a pixel on either side of the
outline gives a smooth edge.

The same seed gives the same pixels on every machine. For this, all randomness is PCG64's raw bits, and the arithmetic
is +, -, ×, ÷ and square root, which IEEE 754 rounds in one way only; a sine, a power or a matrix product may differ in
the last bit from one machine to the next. The layout does not depend on the size: the same seed draws the same scene at
32 and at 128 pixels, only finer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attncourse.datasets.captions import CaptionData, CaptionSplit
from attncourse.datasets.images import ImageData, Split, digest

# Distances to shapes that fit into a circle of radius EXTENT, for coordinates x and y of equal shape, y pointing down.

EXTENT = 1.12


def circle(x, y):
    return np.sqrt(x * x + y * y) - 0.88


def square(x, y):
    return np.maximum(abs(x), abs(y)) - 0.78


def triangle(x, y):
    sides = abs(x) * 0.8660254 - y * 0.5  # both slanted sides at once, by symmetry
    return np.maximum(sides, y) - 0.52


def star(x, y):
    """Fold the plane until only half of one point is left, then measure to its one edge."""
    x = abs(x)
    for normal_x, normal_y in ((0.80901699, 0.58778525), (-0.80901699, 0.58778525)):
        beyond = 2 * np.maximum(normal_x * x + normal_y * y, 0)  # mirror what lies beyond this axis
        x, y = x - beyond * normal_x, y - beyond * normal_y
    return abs(x) * 0.89 - (y + 1.08) * 0.456


def cross(x, y):
    x, y = abs(x), abs(y)
    return np.minimum(np.maximum(x - 0.32, y - 0.95), np.maximum(x - 0.95, y - 0.32))


def ring(x, y):
    return abs(np.sqrt(x * x + y * y) - 0.72) - 0.23


def heart(x, y):
    """A square on its corner, and a circle on each of its two upper sides."""
    x, y = abs(x), y - 0.1
    diamond = (x + abs(y)) * 0.70710678 - 0.55
    lobe = np.sqrt((x - 0.389) ** 2 + (y + 0.389) ** 2) - 0.55
    return np.minimum(diamond, lobe)


def moon(x, y):
    x = x + 0.12
    outer = np.sqrt(x * x + y * y) - 0.92
    bite = np.sqrt((x - 0.5) ** 2 + y * y) - 0.72
    return np.maximum(outer, -bite)


SHAPES: dict[str, Callable] = {shape.__name__: shape for shape in
                               (circle, square, triangle, star, cross, ring, heart, moon)}
CLASSES = tuple(SHAPES)
COLOURS = {"red": (222, 58, 62), "orange": (240, 140, 40), "yellow": (244, 208, 63), "green": (62, 166, 88),
           "blue": (52, 120, 214), "purple": (146, 82, 190)}
BACKGROUNDS = ((208, 198, 182), (182, 194, 196), (192, 186, 202), (176, 186, 172),  # sand, mist, lilac, sage
               (122, 132, 146), (124, 126, 120), (112, 112, 132), (98, 114, 114))  # slate, stone, dusk, pine
PLACES = ("in the upper left", "at the top", "in the upper right", "on the left", "in the centre", "on the right",
          "in the lower left", "at the bottom", "in the lower right")  # the cells of a 3 × 3 grid, row by row
COUNTS = ("no", "one", "two", "three", "four")  # of grey shapes
STROKES, BLOBS = 5, 3
SIDES = (32, 224)  # smallest and largest image, pixels
MEAN, STD = (0.593, 0.593, 0.592), (0.178, 0.152, 0.160)  # of 20,000 scenes


@dataclass(frozen=True)
class Scenes:
    """N scenes of H × W pixels.

    Args:
        images: (N, 3, H, W), uint8.
        labels: (N,), int64: which of CLASSES the coloured shape is.
        masks: (N, H, W), bool: the pixels of the coloured shape, which is never hidden.
        captions: N sentences, such as "a large red star in the upper left, among four grey rings".
    """

    images: Tensor
    labels: Tensor
    masks: Tensor
    captions: list[str]


def scenes(n: int, size: int = 32, seed: int | Sequence[int] = 0) -> Scenes:
    """Draw n scenes of size × size pixels. A longer call with the same seed begins with the same scenes.

    Raises:
        ValueError: if n is below 1 or size is not from 32 to 224.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if not SIDES[0] <= size <= SIDES[1]:
        raise ValueError(f"size must be from {SIDES[0]} to {SIDES[1]} pixels, got {size}")
    layout_seed, grain_seed = np.random.SeedSequence(seed).spawn(2)
    layout, grain = Layout(n, layout_seed), np.random.PCG64(grain_seed)
    images, masks = np.empty((n, 3, size, size), np.uint8), np.empty((n, size, size), bool)
    chunk = max(1, 2**16 // size**2)  # so many that their arrays fit into the processor's cache
    for start in range(0, n, chunk):
        part = slice(start, start + chunk)
        images[part], masks[part] = draw(layout, part, size, grain)
    return Scenes(torch.from_numpy(images), torch.from_numpy(layout.kind), torch.from_numpy(masks), layout.captions())


def load_scenes(train: int = 20_000, val: int = 2_000, test: int = 2_000, size: int = 32, seed: int = 0) -> ImageData:
    """Scenes as a data set to train on. The splits do not depend on each other's length.

    Raises:
        ValueError: if a split is empty or size is not from 32 to 224.
    """
    splits = []
    for number, n in enumerate((train, val, test)):
        drawn = scenes(n, size, (seed, number))
        splits.append(Split(drawn.images, drawn.labels))
    order = f"as drawn with seed {seed}, {size} pixels"
    return ImageData("Scenes", CLASSES, *splits, MEAN, STD, order, digest(*splits))


def load_captioned_scenes(train: int = 10_000, val: int = 500, test: int = 500, size: int = 64,
                          seed: int = 0) -> CaptionData:
    """Scenes with their captions, one each, to learn to write on. The splits do not depend on each other's length.

    Raises:
        ValueError: if a split is empty or size is not from 32 to 224.
    """
    splits = []
    for number, n in enumerate((train, val, test)):
        drawn = scenes(n, size, (seed, number))
        names = tuple(f"scene {position}" for position in range(n))
        splits.append(CaptionSplit(names, tuple((caption,) for caption in drawn.captions), drawn.images.__getitem__))
    return CaptionData("Scenes", *splits)


class Layout:
    """What is where in n scenes, in units of the image's side: every array has n rows."""

    def __init__(self, n: int, seed: np.random.SeedSequence):
        streams = iter(seed.spawn(32))  # one for each property, so that scene i does not depend on n

        def uniform(low: float, high: float, *shape: int) -> np.ndarray:
            raw = np.random.PCG64(next(streams)).random_raw((n, *shape))  # these bits are promised never to change
            return (low + (high - low) * ((raw >> np.uint64(11)) * 2.0**-53)).astype(np.float32)

        def choice(options: int, *shape: int) -> np.ndarray:
            return uniform(0, options, *shape).astype(np.int64).clip(max=options - 1)

        grey = len(COUNTS) - 1
        self.kind, self.colour, self.large = choice(len(SHAPES)), choice(len(COLOURS)), choice(2)
        self.grey_kind, self.grey_count = choice(len(SHAPES)), choice(len(COUNTS))
        cells = uniform(0, 1, 9).argsort(1, kind="stable")  # of the 3 × 3 grid: no two shapes in one cell
        middle = (cells == 4) & (np.arange(9) > 0)
        cells = np.where(middle, cells[:, [1 + grey]], cells)[:, :1 + grey]  # grey ones avoid its centre
        self.cell = cells[:, 0]
        self.radius = np.where(self.large, uniform(0.25, 0.28), uniform(0.19, 0.21))
        self.grey_radius = uniform(0.07, 0.11, grey)
        radius = np.concatenate([self.radius[:, None], self.grey_radius], 1)
        pitch = np.where(np.arange(1 + grey) == 0, np.float32(0.16), np.float32(0.32))  # grey shapes lie further out
        x = (cells % 3 - 1).astype(np.float32) * pitch + uniform(0.45, 0.55, 1 + grey)
        y = (cells // 3 - 1).astype(np.float32) * pitch + uniform(0.45, 0.55, 1 + grey)
        margin = EXTENT * radius + np.float32(0.01)
        x, y = (np.clip(z, margin, 1 - margin) for z in (x, y))  # all of it inside the picture
        self.x, self.y = x[:, 0], y[:, 0]
        dx, dy = x[:, 1:] - x[:, :1], y[:, 1:] - y[:, :1]
        near = self.radius[:, None] + self.grey_radius
        push = np.maximum(near / np.sqrt(dx * dx + dy * dy), 1)  # a grey shape that would be covered moves outwards
        self.grey_x, self.grey_y = (np.clip(centre[:, :1] + push * shift, 0.06, 0.94)
                                    for centre, shift in ((x, dx), (y, dy)))
        t = uniform(-0.1, 0.1, 1 + grey)  # tan(angle / 2), up to 11 degrees: cosine and sine without a series
        cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
        self.cosine, self.sine, self.grey_cosine, self.grey_sine = cosine[:, 0], sine[:, 0], cosine[:, 1:], sine[:, 1:]

        self.rgb = np.array(list(COLOURS.values()), np.float32)[self.colour] + uniform(-12, 12, 3)
        self.background = np.array(BACKGROUNDS, np.float32)[choice(len(BACKGROUNDS))] + uniform(-6, 6, 3)
        side = np.where(self.background[:, 1] > 150, -1, 1).astype(np.float32)  # darker on light ground, and vice versa
        self.grey = self.background.mean(1) + side * uniform(35, 75)

        self.gradient = uniform(-30, 30, 2)
        self.blob_x, self.blob_y = uniform(0, 1, BLOBS), uniform(0, 1, BLOBS)
        self.blob_radius, self.blob_shade = uniform(0.2, 0.5, BLOBS), uniform(-20, 20, BLOBS)
        self.stroke_x, self.stroke_y = uniform(0, 1, STROKES), uniform(0, 1, STROKES)
        self.stroke_dx, self.stroke_dy = uniform(-0.35, 0.35, STROKES), uniform(-0.35, 0.35, STROKES)
        self.stroke_width, self.stroke_shade = uniform(0.006, 0.016, STROKES), uniform(-45, 45, STROKES)

    def captions(self) -> list[str]:
        colours, sentences = list(COLOURS), []
        for kind, colour, large, cell, grey_kind, count in zip(
                self.kind, self.colour, self.large, self.cell, self.grey_kind, self.grey_count):
            plural = "" if count == 1 else "es" if CLASSES[grey_kind] == "cross" else "s"
            company = f"{'beside' if count == 1 else 'among'} {COUNTS[count]} grey {CLASSES[grey_kind]}{plural}"
            sentences.append(f"a {'large' if large else 'small'} {colours[colour]} {CLASSES[kind]} {PLACES[cell]}, "
                             f"{company if count else 'alone'}")
        return sentences


def draw(layout: Layout, part: slice, size: int, grain: np.random.PCG64) -> tuple[np.ndarray, np.ndarray]:
    """Images (B, 3, H, W), uint8, and masks (B, H, W), bool, of the scenes in a part of the layout."""
    def plane(values: np.ndarray) -> np.ndarray:
        return values[part, None, None]  # (B,) -> (B, 1, 1), to be combined with (B, H, W)

    position = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    x, y = position[None, None, :], position[None, :, None]  # (1, 1, W), (1, H, 1)
    light = ground(layout, plane, x, y, size)  # (B, H, W)
    B = len(light)
    image = layout.background[part, :, None, None] + light[:, None]  # (B, 3, H, W)

    scene, slot = np.nonzero(np.arange(len(COUNTS) - 1) < layout.grey_count[part, None])
    distances = shape_distance(
        layout.grey_kind[part][scene], x, y, *(values[part][scene, slot][:, None, None] for values in
                                               (layout.grey_x, layout.grey_y, layout.grey_radius, layout.grey_cosine,
                                                layout.grey_sine)))
    grey = np.full((B, size, size), np.float32(1))
    for number in range(len(COUNTS) - 1):
        chosen = slot == number
        grey[scene[chosen]] = np.minimum(grey[scene[chosen]], distances[chosen])  # the union of a scene's grey shapes
    paint(image, grey, size, np.broadcast_to(plane(layout.grey)[:, None], (B, 3, 1, 1)))

    target = shape_distance(layout.kind[part], x, y, *map(plane, (layout.x, layout.y, layout.radius, layout.cosine,
                                                                  layout.sine)))
    paint(image, target, size, layout.rgb[part, :, None, None])

    noise = grain.random_raw((B, -(-size * size // 8))).view(np.int8)[:, :size * size].reshape(B, 1, size, size)
    image += noise * np.float32(8 / 128)
    return np.clip(image + np.float32(0.5), 0, 255).astype(np.uint8), target < 0


def ground(layout: Layout, plane: Callable, x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """How much lighter or darker than its colour the background is, (B, H, W): a gradient, blobs and strokes."""
    light = plane(layout.gradient[:, 0]) * (x - np.float32(0.5)) + plane(layout.gradient[:, 1]) * (y - np.float32(0.5))
    for k in range(BLOBS):
        dx, dy = x - plane(layout.blob_x[:, k]), y - plane(layout.blob_y[:, k])
        inside = np.maximum(1 - (dx * dx + dy * dy) / plane(layout.blob_radius[:, k] ** 2), 0)
        light += plane(layout.blob_shade[:, k]) * inside * inside
    for k in range(STROKES):
        dx, dy = plane(layout.stroke_dx[:, k]), plane(layout.stroke_dy[:, k])
        x0, y0 = x - plane(layout.stroke_x[:, k]), y - plane(layout.stroke_y[:, k])
        along = np.clip((x0 * dx + y0 * dy) / (dx * dx + dy * dy + np.float32(1e-6)), 0, 1)  # nearest point, 0 to 1
        x0, y0 = x0 - along * dx, y0 - along * dy
        distance = np.sqrt(x0 * x0 + y0 * y0) - plane(layout.stroke_width[:, k])
        light += plane(layout.stroke_shade[:, k]) * np.clip(np.float32(0.5) - distance * size, 0, 1)
    return light


def shape_distance(kind, x, y, centre_x, centre_y, radius, cosine, sine) -> np.ndarray:
    """Signed distance (B, H, W) to shape number kind (B,), shifted, turned and scaled, in units of the image's side."""
    x, y = (x - centre_x) / radius, (y - centre_y) / radius
    x, y = cosine * x + sine * y, cosine * y - sine * x
    distance = np.empty_like(x)
    for number, shape in enumerate(SHAPES.values()):
        chosen = kind == number
        distance[chosen] = shape(x[chosen], y[chosen])
    return distance * radius


def paint(image: np.ndarray, distance: np.ndarray, size: int, rgb: np.ndarray) -> None:
    """Put a shape of one colour, with a soft shadow around it, on the image (B, 3, H, W), in place."""
    image *= (1 - np.float32(0.14) * np.clip(1 - distance / np.float32(0.05), 0, 1))[:, None]
    cover = np.clip(np.float32(0.5) - distance * size, 0, 1)[:, None]  # the part of each pixel that the shape covers
    image += cover * (rgb - image)
