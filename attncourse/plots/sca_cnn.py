"""Pictures of the chapter on SCA-CNN."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from attncourse.plots import BLUE, GREEN, GREY, ORANGE, SHADES, diagram, draw_accuracies, gradcam, new_figure

COLUMNS, FRAME = 3, 1.1  # frames in a row of a film strip, and inches of each: few, so that a phone shows them, too
FULL = 4  # times the mean of a map: what is as high or higher is drawn brightest
SQUARE = ((0.1, 0.2, 0.1), (0.3, 1.0, 0.4), (0.1, 0.4, 0.2))  # α of the diagram
CHANNELS = (0.35, 1.0, 0.15, 0.6, 0.25)  # and its β


def step_diagram():
    """One word: β and α from the state before it, the modulated map's mean into the LSTM, and the word."""
    figure, axis = new_figure(4.9, 4.6)  # narrow, with letters that a phone shows large enough
    axis.set(xlim=(0, 9.8), ylim=(-4.6, 4.4))
    axis.set_axis_off()
    for x, channels, places, words in ((0.1, (1,) * 5, ((1,),), "$V$"), (3.9, CHANNELS, ((1,),), r"$\beta \circ V$"),
                                       (7.7, CHANNELS, SQUARE, r"$\alpha \circ \beta \circ V$")):
        diagram.stack(axis, x, 1.7, 1.1, 0.17, channels, places)
        axis.text(x + 1.0, 3.75, words, ha="center", fontsize=12)
    for x, letter, words in ((2.0, r"$\Phi_c$", "which\nchannels"), (5.8, r"$\Phi_s$", "which\npositions")):
        diagram.box(axis, x + 0.45, 1.95, 0.95, 0.85, "white", letter)
        diagram.arrow(axis, (x - 0.05, 2.4), (x + 0.45, 2.4))
        diagram.arrow(axis, (x + 1.4, 2.4), (x + 1.9, 2.4))
        axis.text(x + 0.92, 2.95, words, ha="center")
        diagram.arrow(axis, (x + 0.92, 0.8), (x + 0.92, 1.95), colour=ORANGE)
    axis.plot([1.0, 6.72], [0.8, 0.8], color=ORANGE, lw=1.2)
    axis.text(0.9, 0.8, r"$h_{t-1}$", ha="right", va="center", color=ORANGE, fontsize=12)
    axis.text(1.0, -0.25, "the state: has not read\nthe word before", color=ORANGE)
    for y, colour, words in ((0.0, "white", "mean"), (-2.0, diagram.PALE, "LSTM"), (-4.2, diagram.PALE, "MLP")):
        diagram.box(axis, 7.7, y, 1.9, 0.9, colour, words)
    diagram.arrow(axis, (8.65, 1.7), (8.65, 0.9))
    diagram.arrow(axis, (8.65, 0.0), (8.65, -1.1))
    diagram.arrow(axis, (8.65, -2.0), (8.65, -3.3), colour=ORANGE)
    axis.text(8.85, -2.75, "$h_t$", color=ORANGE, fontsize=12)
    diagram.arrow(axis, (6.72, 0.8), (7.7, -1.4), colour=ORANGE, gap=0)
    diagram.box(axis, 2.9, -2.3, 3.1, 0.9, "white", "word before")
    diagram.arrow(axis, (6.0, -1.8), (7.7, -1.6))
    diagram.arrow(axis, (5.2, -2.3), (7.7, -3.6))
    diagram.arrow(axis, (7.7, -3.85), (5.6, -3.85))
    diagram.box(axis, 2.9, -4.3, 2.7, 0.9, "white", "next word")
    return figure


def channel_curves(points: Tensor, curves: Mapping[str, Tensor], means: Tensor, title: str):
    """β over the mean of a channel, a line per word, and a tick for each channel's mean.

    Args:
        points: (n,) means at which the curves are drawn. curves: (n,) weights by word.
        means: (C,). title: the finding.
    """
    figure, axis = new_figure(5.4, 3.4)
    for (word, weights), colour, style in zip(curves.items(), SHADES, ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))):
        axis.plot(points.numpy(), weights.numpy(), color=colour, ls=style, lw=2, label=word)
    axis.plot(means.numpy(), [0] * len(means), "|", color=GREY, ms=9, alpha=0.5, transform=axis.get_xaxis_transform(),
              clip_on=False, label="one channel's mean")
    axis.set(xlabel="mean of the channel", ylabel=r"$\beta$ (mean over channels: 1)")
    axis.legend(frameon=False)
    axis.set_title(title, loc="left")
    return figure


def film_strip(picture: Tensor, words: Sequence[str], spatial: Tensor, title: str, channel: Tensor | None = None,
               mask: Tensor | None = None, below: Sequence[str] | None = None):
    """A frame per word: its map on the grey picture, with the same scale in all frames. 0 leaves the picture grey.

    Args:
        picture: (3, H, W), values 0 to 255. words: T words.
        spatial: (T, h, w), not negative. title: the finding.
        channel: (T, C); of each word the three highest channels are named: once, where they are the same for all words.
        mask: (H, W), bool, whose border is drawn. below: T lines, one below each frame.
    """
    rows = -(-len(words) // COLUMNS)
    highest = [] if channel is None else [", ".join(map(str, row)) for row in channel.topk(3).indices.tolist()]
    if len(set(highest)) == 1:
        title, highest = f"{title}\ntop channels at every word: {highest[0]}", []
    height, lines = picture.shape[1] / picture.shape[2], bool(highest) + (below is not None)
    figure, axes = new_figure(COLUMNS * FRAME, (FRAME * height + 0.3 + 0.19 * lines) * rows + 0.65, rows, COLUMNS,
                              squeeze=False)
    maps = (spatial / spatial.mean((1, 2), keepdim=True) / FULL).clamp(max=1)
    H, W = (min(side, gradcam.REDUCED) for side in picture.shape[1:])
    for axis in axes.flat[len(words):]:
        axis.set_axis_off()
    for t, (axis, word) in enumerate(zip(axes.flat, words)):
        gradcam.draw_overlay(axis, picture, maps[t])
        if max(H, W) < gradcam.REDUCED:
            axis.images[0].set_interpolation("nearest")  # few pixels: sharp ones take fewer bytes
        if mask is not None:
            x, y = (((torch.arange(n) + 0.5) * size / n - 0.5).numpy() for n, size in zip(mask.shape[::-1], (W, H)))
            axis.contour(x, y, mask.numpy(), [0.5], colors="white", linewidths=1.2)
        axis.set_title(word, fontsize=11, fontweight="bold")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_xlabel("\n".join([*(below or [])[t:t + 1], *highest[t:t + 1]]), fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def word_tree(steps: Mapping[str, Mapping[str, float]], paths: Mapping[str, Sequence[str]], title: str):
    """All sentences of two words, with the probabilities of their words, and some paths marked.

    Args:
        steps: the probabilities of the first words under "<start>", and of the second ones under each first word.
        paths: the words of each path, by its name. title: the finding.
    """
    figure, axis = new_figure(7.2, 3.0)
    leaves = [(first, second) for first in steps["<start>"] for second in steps[first]]
    axis.set(xlim=(0, 14.4), ylim=(-len(leaves) + 0.5, 0.7))
    axis.set_axis_off()
    rows = {first: [i for i, leaf in enumerate(leaves) if leaf[0] == first] for first in steps["<start>"]}
    marked = {words: (name, colour) for (name, words), colour in zip(paths.items(), (ORANGE, BLUE))}
    middle = -(len(leaves) - 1) / 2
    axis.text(0.2, middle, "start", va="center")
    for first, p in steps["<start>"].items():
        y = -sum(rows[first]) / len(rows[first])
        on = [colour for words, (_, colour) in marked.items() if words[0] == first]
        diagram.arrow(axis, (1.3, middle), (3.6, y), f"{p:.2f}", above=0.3, colour=on[0] if on else "black")
        axis.text(3.7, y, first, va="center")
        for i in rows[first]:
            second = leaves[i][1]
            name, colour = marked.get((first, second), ("", "black"))
            diagram.arrow(axis, (4.7, y), (7.6, -i), f"{steps[first][second]:.2f}", colour=colour)
            axis.text(7.7, -i, second, va="center", color=colour)
            axis.text(9.6, -i, f"{p:.2f} × {steps[first][second]:.2f} = {p * steps[first][second]:.2f}   {name}",
                      va="center", color=colour)
    axis.set_title(title, loc="left")
    return figure


def caption_scores(measures: Mapping[str, Mapping[str, Sequence[float]]], baseline: str, title: str):
    """A panel per measure, in it a row per variant: each seed a dot, a bar at their mean, a line at the baseline's.

    Args:
        measures: the seeds' scores, 0 to 1, by measure and variant. title: the finding.
    """
    rows = len(next(iter(measures.values())))
    figure, axes = new_figure(7.2, 0.34 * rows + 1.2, 1, len(measures), sharey=True, squeeze=False)
    for axis, (name, values) in zip(axes[0], measures.items()):
        draw_accuracies(axis, values, baseline)
        low, high = axis.get_xlim()
        margin = max(0, 4 - (high - low)) / 2  # single runs that differ by tenths shall not look far apart
        axis.set_xlim(low - margin, high + margin)
        axis.set_xlabel(f"{name} × 100")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def word_shares(shares: Mapping[str, Mapping[str, Sequence[float]]], levels: Mapping[str, float], title: str):
    """A row per kind of word and in it a mark per variant: the share of the map inside the object, mean over seeds.
    Where a variant has several seeds, a small mark for each.

    Args:
        shares: the seeds' shares, 0 to 1, by variant and kind of word. levels: shares to compare with, by name.
        title: the finding.
    """
    kinds = list(next(iter(shares.values())))
    figure, axis = new_figure(5.4, 0.4 * len(kinds) + 2.0)
    for number, ((variant, values), colour, marker) in enumerate(zip(shares.items(), SHADES, "oDs^v")):
        y = [row + 0.12 * (number - (len(shares) - 1) / 2) for row in range(len(kinds))]
        axis.plot([100 * sum(values[kind]) / len(values[kind]) for kind in kinds], y, marker, color=colour, ms=6,
                  label=variant)
        for row, kind in enumerate(kinds):
            if len(values[kind]) > 1:
                axis.scatter([100 * share for share in values[kind]], [y[row]] * len(values[kind]), 9, color=colour,
                             alpha=0.6, marker=marker, linewidths=0)
    for (name, level), style in zip(levels.items(), ("--", ":")):
        axis.axvline(100 * level, color=GREY if style == "--" else GREEN, ls=style, lw=1.5, label=name)
    axis.set_yticks(range(len(kinds)), kinds)
    axis.set(ylim=(len(kinds) - 0.5, -0.5), xlabel="share of the map inside the object, in %")
    axis.set_xlim(left=0)
    axis.grid(axis="x", alpha=0.3)
    figure.legend(frameon=False, ncols=2, loc="outside lower center")
    axis.set_title(title, loc="left")
    return figure
