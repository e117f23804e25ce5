"""Pictures of the SE chapter."""

from itertools import pairwise

from torch import Tensor

from attncourse.plots import BLUE, GREY, ORANGE, SHADES, diagram, new_figure


def jacobian(matrix: Tensor, title: str):
    """How each gate (row) answers when the mean of each channel (column) rises. (C, C), blue falls, red rises."""
    figure, axis = new_figure(5.2, 4.4)
    limit = matrix.abs().quantile(0.99).item()
    image = axis.imshow(matrix.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set(xlabel="mean of channel j", ylabel="gate i")
    axis.set_title(title, loc="left")
    figure.colorbar(image, ax=axis, label=r"$\partial s_i / \partial z_j$", fraction=0.045)
    return figure


def se_diagram():
    """The three steps of an SE block, from a (C, H, W) map to the same map with scaled channels."""
    figure, axis = new_figure(7.2, 2.6)
    axis.set(xlim=(0, 14.4), ylim=(0, 5))
    axis.set_axis_off()
    gates = [0.9, 0.25, 0.7, 0.15, 1.0]
    diagram.stack(axis, 0.3, 1.2, 1.2, 0.28)
    diagram.stack(axis, 12.0, 1.2, 1.2, 0.28, gates)
    for x, values, name in ((4.4, [0.6, 0.5, 0.8, 0.3, 0.7], "z"), (9.9, gates, "s")):
        for k, value in enumerate(values):
            diagram.shaded_box(axis, x, 0.9 + 0.62 * (4 - k), 0.5, 0.5, SHADES[k], value)
        axis.text(x + 0.25, 4.25, f"${name}$", ha="center", fontsize=12)
    for k in range(2):
        diagram.box(axis, 7.1, 1.6 + 0.75 * k, 0.5, 0.5, diagram.PALE)
    axis.text(7.35, 4.25, "$C/r$", ha="center", fontsize=12)
    axis.text(1.5, 4.25, r"$x$: $C \times H \times W$", ha="center")
    axis.text(13.2, 4.25, r"$s_c \cdot x_c$", ha="center")
    for start, end, words in ((2.8, 4.3, "mean"), (5.0, 7.0, "$W_1$, ReLU"), (7.7, 9.8, "$W_2$, sigmoid"),
                              (10.5, 11.9, "multiply")):
        diagram.arrow(axis, (start, 2.3), (end, 2.3), words, above=0.2)
    for x, words in ((3.55, "1 squeeze"), (7.35, "2 excite"), (11.2, "3 scale")):
        axis.text(x, 0.25, words, ha="center", weight="bold", color=BLUE)
    return figure


def se_placements():
    """The four places of an SE block in a residual block."""
    figure, axes = new_figure(7.2, 3.6, 1, 4)
    layouts = {  # where the SE box stands: (x, y), and the formula below
        "standard": ((0.62, 0.42), r"$x + SE(F(x))$"), "pre": ((0.62, 0.78), r"$x + F(SE(x))$"),
        "post": ((0.4, 0.08), r"$SE(x + F(x))$"), "identity": ((0.18, 0.6), r"$SE(x) + F(x)$"),
    }
    for axis, (name, ((x, y), formula)) in zip(axes, layouts.items()):
        axis.set(xlim=(0, 1), ylim=(-0.12, 1.1))
        axis.set_axis_off()
        for points in ([(0.4, 1.05), (0.4, 0.94), (0.18, 0.94), (0.18, 0.27), (0.34, 0.27)],
                       [(0.4, 0.94), (0.62, 0.94), (0.62, 0.27), (0.46, 0.27)], [(0.4, 0.21), (0.4, -0.05)]):
            for start, end in pairwise(points):
                axis.annotate("", end, start, zorder=0,
                              arrowprops={"arrowstyle": "-", "color": GREY, "lw": 1.4, "shrinkA": 0, "shrinkB": 0})
        axis.text(0.4, 0.27, "+", ha="center", va="center", bbox={"boxstyle": "circle", "fc": "white", "ec": GREY})
        diagram.box(axis, 0.62 - 0.14, 0.6 - 0.06, 0.28, 0.12, diagram.PALE, "F")
        diagram.box(axis, x - 0.13, y - 0.055, 0.26, 0.11, ORANGE, "SE", text_colour="white")
        axis.set_title(name, weight="bold")
        axis.text(0.4, -0.11, formula, ha="center", va="top", fontsize=10)
    return figure
