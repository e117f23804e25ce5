"""Pictures of the audit: a number's way, pairs of rows, two losses, lost classes, two sizes, three columns."""

from collections.abc import Mapping, Sequence

import numpy as np

from attncourse.plots import BLUE, GREY, ORANGE, diagram, new_figure


def chain():
    """The way of a number from a text to a claim, and the question that belongs to each step."""
    figure, axis = new_figure(7.2, 2.0)
    axis.set(xlim=(0, 15), ylim=(0.5, 3.9))
    axis.set_axis_off()
    words = ("text", "code", "runs", "table", "claim")
    questions = ("does the code build\nwhat the text says?", "did it train\nas it was meant to?",
                 "how far does\na mean stray?", "is the difference\nlarger than that?")
    for number, word in enumerate(words):
        x = 0.1 + 3.2 * number
        diagram.box(axis, x, 2.4, 1.8, 1.1, BLUE if word == "claim" else diagram.PALE, word,
                    text_colour="white" if word == "claim" else "black")
        if number:
            diagram.arrow(axis, (x - 1.4, 2.95), (x, 2.95))
            axis.text(x - 0.7, 1.7, questions[number - 1], ha="center", va="top", fontsize=8, color=ORANGE)
            axis.plot([x - 0.7, x - 0.7], [1.75, 2.8], color=ORANGE, lw=0.8, ls=":")
    axis.set_title("A number's way into a claim, and a question for each step", loc="left")
    return figure


def pair_matrix(names: Sequence[str], differences: Mapping[tuple[int, int], float],
                verdicts: Mapping[tuple[int, int], int], meanings: Sequence[str], title: str):
    """The difference of every two rows of a table, coloured by what can be said of it.

    Args:
        names: of the rows.
        differences: (i, j) with i > j -> row i minus row j, in points.
        verdicts: the same pairs -> 0, 1 or 2, an index into ``meanings``.
        meanings: three legends, from nothing shown to most certain. title: the finding.
    """
    from matplotlib.patches import Patch

    colours, n = ("#E5E7EB", "#9CC9E6", BLUE), len(names)
    figure, axis = new_figure(7.2, 4.3)
    for (i, j), difference in differences.items():
        verdict = verdicts[i, j]
        diagram.box(axis, j - 0.5, i - 0.5, 1, 1, colours[verdict], f"{difference:+.1f}".replace("-", "−"),
                    text_colour="white" if verdict == 2 else "black")
    axis.set(xlim=(-0.5, n - 1.5), ylim=(n - 0.5, 0.5))
    axis.set_xticks(range(n - 1), names[:-1], rotation=35, ha="right")
    axis.set_yticks(range(1, n), names[1:])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.legend([Patch(fc=colour, ec="black", lw=0.8) for colour in colours], meanings, loc="upper right",
                frameon=False, fontsize=9, title="row minus column, in points", title_fontsize=9, alignment="left")
    axis.set_title(title, loc="left")
    return figure


def two_losses(margins: Sequence[float], losses: Mapping[str, Sequence[float]],
               pulls: Mapping[str, Sequence[float]], floor: float, title: str):
    """The loss of an image, and the gradient that it sends back, over how far the right class is ahead.

    Args:
        margins: the right class's logit minus that of the others.
        losses: by name. pulls: by the same names, the size of the gradient of the right class's logit.
        floor: the lowest loss of the second of them. title: the finding.
    """
    figure, (left, right) = new_figure(7.2, 3.1, 1, 2)
    for (name, loss), colour, style in zip(losses.items(), (BLUE, ORANGE), ("-", "--")):
        left.plot(margins, loss, color=colour, ls=style, lw=2, label=name)
        right.plot(margins, pulls[name], color=colour, ls=style, lw=2)
    left.axhline(floor, color=GREY, lw=1, ls=":")
    left.annotate(f"floor {floor:.2f}", (margins[0], floor), (2, -3), textcoords="offset points", va="top",
                  color=GREY, fontsize=9)
    left.set(ylabel="loss", ylim=(0, None), title="loss")
    right.set(ylabel="|gradient| of the right logit", ylim=(0, 1.05), title="what pulls the logit up")
    for axis in (left, right):
        axis.set_xlabel("right logit − the others\n← wrong          right →")
        axis.axvline(0, color=GREY, lw=0.8)
        axis.grid(alpha=0.3)
        axis.title.set_fontsize(10)
    left.legend(frameon=False, fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def class_regions(regions: Mapping[str, np.ndarray], points: np.ndarray, labels: np.ndarray, reach: float, title: str):
    """Which class a classifier predicts at each place of a plane, one panel each. Lost classes are crossed out.

    Args:
        regions: panel's title -> predicted class, (H, W), over the square from -reach to reach; row 0 is the lowest.
        points: of the training, (N, 2), in clouds around the middle. labels: their classes, (N,).
        title: the finding.
    """
    figure, axes = new_figure(7.2, 2.9, 1, len(regions))
    classes = np.unique(labels)
    for axis, (name, predicted) in zip(axes, regions.items()):
        axis.imshow(predicted, cmap="tab10", vmin=0, vmax=9, alpha=0.45, origin="lower", interpolation="nearest",
                    extent=(-reach, reach, -reach, reach))
        axis.plot(*points.T, ".", ms=1.5, color="black", alpha=0.4)
        for number in classes:
            x, y = 1.42 * points[labels == number].mean(0)
            lost = number not in predicted
            axis.text(x, y, "×" if lost else str(number), ha="center", va="center", fontsize=14 if lost else 9,
                      color="#B00020" if lost else "black", weight="bold" if lost else "normal")
        axis.set(xticks=[], yticks=[], aspect="equal")
        axis.set_title(f"{name}: {len(np.intersect1d(classes, predicted))} of {len(classes)} classes", fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def three_columns(columns: Mapping[str, Mapping[str, tuple[float, float | None]]], title: str):
    """Each network's accuracy in each column: a mean and, where there is one, the half width of its interval.

    Args:
        columns: up to three, by name -> network -> (mean, half width or None), in percent. A network that a column
            lacks is left out there.
        title: the finding.
    """
    networks = list(dict.fromkeys(network for column in columns.values() for network in column))
    figure, axis = new_figure(7.2, 0.48 * len(networks) + 1.3)
    for number, ((name, column), colour, marker) in enumerate(zip(columns.items(), (GREY, ORANGE, BLUE), "sDo")):
        rows = [networks.index(network) + 0.24 * (number - 1) for network in column]
        means = [mean for mean, _ in column.values()]
        axis.errorbar(means, rows, xerr=[half or 0 for _, half in column.values()], fmt=marker, ms=5, color=colour,
                      capsize=0, label=name)
    for row in range(1, len(networks)):
        axis.axhline(row - 0.5, color=GREY, lw=0.4, alpha=0.5)
    axis.set_yticks(range(len(networks)), networks)
    axis.set(xlabel="test accuracy in % (line: 95 % interval, where there are three runs or more)",
             ylim=(len(networks) - 0.5, -0.5))
    axis.grid(axis="x", alpha=0.3)
    axis.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def two_sizes(sizes: Mapping[str, tuple[float, float]], names: tuple[str, str], title: str):
    """Parameters of two networks, one comparison below the other.

    Args:
        sizes: by what was counted -> (millions of the one, millions of the other).
        names: of the two networks. title: the finding.
    """
    figure, axis = new_figure(7.2, 0.45 * len(sizes) + 1.5)
    for row, pair in enumerate(sizes.values()):
        axis.plot(pair, [row, row], color=GREY, lw=1.5, zorder=1)
        for value, colour, marker, name in zip(pair, (BLUE, ORANGE), "oD", names):
            right = value == max(pair)
            axis.scatter(value, row, s=60, color=colour, marker=marker, zorder=2, label=name if row == 0 else None)
            axis.annotate(f"{value:.2f}", (value, row), (9 if right else -9, 0), textcoords="offset points",
                          ha="left" if right else "right", va="center", color=colour, fontsize=9)
    axis.set_yticks(range(len(sizes)), sizes)
    axis.set(xlabel="million parameters", ylim=(len(sizes) - 0.5, -0.5))
    axis.margins(x=0.12)
    axis.grid(axis="x", alpha=0.3)
    axis.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure
