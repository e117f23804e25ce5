"""Pictures of the chapter on SCA-CNN."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from attncourse.plots import BLUE, GREEN, GREY, ORANGE, SHADES, diagram, draw_accuracies, gradcam, new_figure

COLUMNS, FRAME = 6, 1.07  # frames in a row of a film strip, and inches of each
FULL = 4  # times the mean of a map: what is as high or higher is drawn brightest
SQUARE = ((0.1, 0.2, 0.1), (0.3, 1.0, 0.4), (0.1, 0.4, 0.2))  # α of the diagram
CHANNELS = (0.35, 1.0, 0.15, 0.6, 0.25)  # and its β


def step_diagram():
    """One word: β and α from the state before it, the modulated map's mean into the LSTM, and the word."""
    figure, axis = new_figure(7.2, 3.9)
    axis.set(xlim=(0, 14.4), ylim=(-2.6, 5.2))
    axis.set_axis_off()
    for x, channels, places, words in ((0.2, (1,) * 5, ((1,),), "$V$"), (4.2, CHANNELS, ((1,),), r"$\beta \circ V$"),
                                       (8.2, CHANNELS, SQUARE, r"$\alpha \circ \beta \circ V$")):
        diagram.stack(axis, x, 2.3, 1.2, 0.2, channels, places)
        axis.text(x + 1.0, 4.55, words, ha="center")
    for x, letter, words in ((2.35, r"$\Phi_c$", "which\nchannels"), (6.35, r"$\Phi_s$", "which\npositions")):
        diagram.box(axis, x + 0.3, 2.65, 1.1, 0.9, "white", letter)
        diagram.arrow(axis, (x - 0.1, 3.1), (x + 0.3, 3.1))
        diagram.arrow(axis, (x + 1.4, 3.1), (x + 1.8, 3.1))
        axis.text(x + 0.85, 3.75, words, ha="center", fontsize=9)
        diagram.arrow(axis, (x + 0.85, 1.15), (x + 0.85, 2.65), colour=ORANGE)
    axis.plot([0.9, 7.2], [1.15, 1.15], color=ORANGE, lw=1.2)
    axis.text(0.75, 1.15, r"$h_{t-1}$", ha="right", va="center", color=ORANGE)
    axis.text(0.9, 0.7, "state before this word", color=ORANGE, fontsize=9)
    diagram.arrow(axis, (10.3, 3.1), (11.3, 3.1))
    diagram.box(axis, 11.3, 2.65, 1.9, 0.9, "white", "mean")
    diagram.arrow(axis, (12.25, 2.65), (12.25, 0.55))
    diagram.box(axis, 11.3, -0.45, 1.9, 1.0, diagram.PALE, "LSTM")
    diagram.arrow(axis, (7.2, 1.15), (11.3, 0.3), colour=ORANGE, gap=0)
    diagram.box(axis, 6.3, -0.75, 2.9, 0.9, "white", "word before")
    diagram.arrow(axis, (9.2, -0.2), (11.3, -0.1))
    diagram.arrow(axis, (12.25, -0.45), (12.25, -1.45), colour=ORANGE)
    axis.text(12.45, -1.0, "$h_t$", color=ORANGE)
    diagram.box(axis, 11.3, -2.4, 1.9, 0.9, diagram.PALE, "MLP")
    diagram.arrow(axis, (8.4, -0.75), (11.3, -1.8))
    diagram.arrow(axis, (11.3, -2.1), (5.6, -2.1))
    diagram.box(axis, 3.4, -2.5, 2.2, 0.9, "white", "next word")
    return figure


def channel_curves(points: Tensor, curves: Mapping[str, Tensor], means: Tensor, title: str):
    """β over the mean of a channel, a line per word, and a tick for each channel's mean.

    Args:
        points: (n,) means at which the curves are drawn. curves: (n,) weights by word.
        means: (C,). title: the finding.
    """
    figure, axis = new_figure(7.2, 3.2)
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
        channel: (T, C); of each word the three highest channels are named.
        mask: (H, W), bool, whose border is drawn. below: T lines, one below each frame.
    """
    rows = -(-len(words) // COLUMNS)
    height, lines = picture.shape[1] / picture.shape[2], (channel is not None) + (below is not None)
    figure, axes = new_figure(COLUMNS * FRAME, (FRAME * height + 0.28 + 0.17 * lines) * rows + 0.45, rows, COLUMNS,
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
        said = [] if below is None else [below[t]]
        if channel is not None:
            said.append(", ".join(str(c) for c in channel[t].topk(3).indices.tolist()))
        axis.set_xlabel("\n".join(said), fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
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

    Args:
        shares: the seeds' shares, 0 to 1, by variant and kind of word. levels: shares to compare with, by name.
        title: the finding.
    """
    kinds = list(next(iter(shares.values())))
    figure, axis = new_figure(7.2, 0.36 * len(kinds) + 1.6)
    for number, ((variant, values), colour, marker) in enumerate(zip(shares.items(), SHADES, "oDs^v")):
        y = [row + 0.12 * (number - (len(shares) - 1) / 2) for row in range(len(kinds))]
        axis.plot([100 * sum(values[kind]) / len(values[kind]) for kind in kinds], y, marker, color=colour, ms=6,
                  label=variant)
    for (name, level), style in zip(levels.items(), ("--", ":")):
        axis.axvline(100 * level, color=GREY if style == "--" else GREEN, ls=style, lw=1.5, label=name)
    axis.set_yticks(range(len(kinds)), kinds)
    axis.set(ylim=(len(kinds) - 0.5, -0.5), xlabel="share of the map inside the object, in %")
    axis.set_xlim(left=0)
    axis.grid(axis="x", alpha=0.3)
    figure.legend(frameon=False, ncols=3, loc="outside lower center")
    axis.set_title(title, loc="left")
    return figure
