"""What the diagrams of the blocks are drawn with: boxes, maps of a few positions, stacks of maps, arrows."""

from collections.abc import Sequence

from attncourse.plots import SHADES

PALE = "#E5E7EB"  # of a box whose colour means nothing


def box(axis, x: float, y: float, width: float, height: float, colour: str, words: str = "", alpha: float = 1,
        text_colour: str = "black") -> None:
    """A rectangle with its lower left corner at (x, y) and words in its middle."""
    from matplotlib.patches import Rectangle
    axis.add_patch(Rectangle((x, y), width, height, fc=colour, ec="black", lw=0.8, alpha=alpha))
    axis.text(x + width / 2, y + height / 2, words, ha="center", va="center", color=text_colour)


def shaded_box(axis, x: float, y: float, width: float, height: float, colour: str, value: float) -> None:
    """A box that is white for the value 0 and has its full colour for 1, whatever lies behind it."""
    box(axis, x, y, width, height, "white")
    box(axis, x, y, width, height, colour, alpha=value)


def patchwork(axis, x: float, y: float, side: float, values: Sequence[Sequence[float]], colour: str = "") -> None:
    """A square map: 0 is white and 1 the colour, or, without a colour, 0 is black and 1 white."""
    cell = side / len(values)
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            place = x + j * cell, y + side - (i + 1) * cell, cell, cell
            shaded_box(axis, *place, colour or "black", value if colour else 1 - value)


def stack(axis, x: float, y: float, side: float, shift: float, channels: Sequence[float] = (1,) * 5,
          places: Sequence[Sequence[float]] = ((1,),)) -> None:
    """Five maps, drawn from the back, each value the product of its channel's gate and its place's.

    Args:
        x, y: the lower left corner of the map in front. shift: how far each map stands behind the next.
    """
    for k, gate in enumerate(channels):
        left, bottom = x + shift * (4 - k), y + shift * (4 - k)
        patchwork(axis, left, bottom, side, [[gate * place for place in row] for row in places], SHADES[k])


def arrow(axis, start: tuple[float, float], end: tuple[float, float], words: str = "", above: float = 0.15,
          colour: str = "black", gap: float = 2) -> None:
    """An arrow, and words above its middle. It keeps a gap, in points, at both ends; with 0 it meets a line."""
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.2, "shrinkA": gap,
                                              "shrinkB": gap})
    axis.text((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + above, words, ha="center", fontsize=9)
