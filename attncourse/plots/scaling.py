"""Pictures of scaling: ways to share work, the limits of an operation, folded seeds, plans, a ring, speed-ups."""

import statistics
from collections.abc import Mapping, Sequence

from attncourse.plots import BLUE, GREEN, GREY, ORANGE, SHADES, diagram, new_figure


def three_ways():
    """Seeds stacked on one device, runs shared by processes, one network copied to several devices."""
    figure, axes = new_figure(7.2, 2.5, 1, 3)
    titles = ("many seeds at once,\none device", "many runs,\nmany processes", "one run,\nmany devices")
    below = ("each operation does\nthe work of all seeds", "they share a folder,\nand nothing else",
             "after each step they\naverage their gradients")
    for axis, title, words in zip(axes, titles, below):
        axis.set(xlim=(0, 10), ylim=(-2.6, 6), aspect="equal")
        axis.set_axis_off()
        axis.set_title(title, fontsize=10)
        axis.text(5, -0.5, words, ha="center", va="top", fontsize=9)
    for k in range(3):
        diagram.box(axes[0], 2 + 0.8 * k, 3 - 0.8 * k, 4.4, 2.4, SHADES[k], f"seed {k}" if k == 2 else "",
                    text_colour="white")
        diagram.box(axes[1], 3.4 * k, 2.2, 2.8, 2.4, SHADES[k], f"run {k}", text_colour="white")
        diagram.box(axes[2], 3.4 * k, 2.2, 2.8, 2.4, BLUE, f"copy {k}", text_colour="white")
    for left in (2.8, 6.2):
        axes[2].annotate("", (left + 0.6, 3.4), (left, 3.4), arrowprops={"arrowstyle": "<->", "color": ORANGE,
                                                                       "lw": 2, "shrinkA": 0, "shrinkB": 0})
    axes[2].annotate("", (8.6, 2.1), (1.4, 2.1), arrowprops={"arrowstyle": "<->", "color": ORANGE, "lw": 2,
                                                           "connectionstyle": "arc3,rad=0.25"})
    return figure


def time_of_size(sizes: Sequence[float], seconds: Sequence[float], launch: float, bandwidth: float, title: str):
    """Time of an operation over the bytes that it moves, and the two limits.

    Args:
        sizes: bytes moved. seconds: measured, of one call.
        launch: seconds of the floor. bandwidth: bytes a second. title: the finding.
    """
    figure, axis = new_figure(7.2, 3.0)
    axis.loglog(sizes, [1e6 * value for value in seconds], "o-", color=BLUE, label="measured")
    axis.axhline(1e6 * launch, color=ORANGE, ls="--", lw=1.5, label="a start")
    axis.loglog(sizes, [1e6 * size / bandwidth for size in sizes], color=GREEN, ls="--", lw=1.5,
                label="bytes / bandwidth of a large copy")
    axis.set(xlabel="bytes read and written", ylabel="microseconds", ylim=(0.3 * 1e6 * launch, None))
    axis.set_title(title, loc="left")
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
    return figure


def roofline(rate: float, bandwidth: float, measured: Mapping[str, tuple[float, float]], title: str):
    """What a device can do at each arithmetic intensity, and what some operations did.

    Args:
        rate: FLOPs a second. bandwidth: bytes a second.
        measured: name -> (FLOPs a byte, FLOPs a second). title: the finding.
    """
    figure, axis = new_figure(7.2, 3.6)
    low, high = 0.5 * min(point[0] for point in measured.values()), 4 * max(rate / bandwidth,
                                                                     *(point[0] for point in measured.values()))
    ridge = rate / bandwidth
    roof = [(low, low * bandwidth), (ridge, rate), (high, rate)]
    axis.loglog(*zip(*[(x, y / 1e9) for x, y in roof]), color="black", lw=2)
    axis.axvline(ridge, color=GREY, ls=":", lw=1)
    places = axis.get_xaxis_transform()
    axis.text(ridge / 1.1, 1.0, "roof: the memory", transform=places, ha="right", va="top", color=GREY, fontsize=9)
    axis.text(1.1 * ridge, 1.0, "roof: the arithmetic", transform=places, ha="left", va="top", color=GREY, fontsize=9)
    for number, (name, (intensity, speed)) in enumerate(measured.items()):
        colour = SHADES[number % len(SHADES)]
        axis.loglog(intensity, speed / 1e9, "o", color=colour, ms=8)
        side = {"xytext": (-7, 3), "ha": "right"} if number < 2 else {"xytext": (7, -4), "va": "top"}
        axis.annotate(name, (intensity, speed / 1e9), textcoords="offset points", fontsize=9, color=colour, **side)
    axis.set(xlabel="arithmetic intensity: FLOPs for each byte moved", ylabel="GFLOP a second",
             ylim=(0.2 * min(speed for _, speed in measured.values()) / 1e9, 6 * rate / 1e9))
    axis.set_title(title, loc="left")
    axis.grid(alpha=0.3)
    return figure


def shares(parts: Mapping[str, Mapping[str, float]], title: str):
    """How a total divides, a horizontal bar per row; the parts have the same names in each row.

    Args:
        parts: row -> part -> amount; each row is drawn to 100 %. title: the finding.
    """
    figure, axis = new_figure(7.2, 0.5 * len(parts) + 1.3)
    colours = (ORANGE, GREEN, BLUE, GREY, "#CC79A7")
    for row, amounts in enumerate(parts.values()):
        start, total = 0.0, sum(amounts.values())
        for (name, amount), colour in zip(amounts.items(), colours):
            width = 100 * amount / total
            axis.barh(row, width, left=start, color=colour, label=name if row == 0 else None)
            if width >= 8:
                axis.text(start + width / 2, row, f"{width:.0f} %", ha="center", va="center", color="white")
            start += width
    axis.set_yticks(range(len(parts)), parts)
    axis.set(xlim=(0, 100), ylim=(len(parts) - 0.4, -0.6), xlabel="share in %")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    axis.legend(frameon=False, ncols=5, loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0)
    return figure


def folded():
    """Three networks' maps, and the one thick map with three groups that holds the same numbers."""
    figure, axis = new_figure(7.2, 2.9)
    axis.set(xlim=(-0.4, 17.4), ylim=(-1.2, 6.2), aspect="equal")
    axis.set_axis_off()
    for k in range(3):
        y = 4.2 - 2.1 * k
        for channel in (1, 0):
            diagram.box(axis, 0.25 * channel, y + 0.25 * channel, 1.4, 1.4, SHADES[k])
        diagram.arrow(axis, (1.9, y + 0.8), (3.6, y + 0.8))
        diagram.box(axis, 3.7, y + 0.4, 1.4, 0.8, SHADES[k], f"W{k}", text_colour="white")
        diagram.arrow(axis, (5.2, y + 0.8), (6.2, y + 0.8))
        for channel in (1, 0):
            diagram.box(axis, 6.3 + 0.25 * channel, y + 0.25 * channel, 1.2, 1.2, SHADES[k], alpha=0.6)
    axis.text(4.0, -1.0, "three convolutions", ha="center")
    axis.text(8.75, 3.0, "=", fontsize=20, ha="center", va="center")
    for place in reversed(range(6)):
        diagram.box(axis, 9.6 + 0.25 * place, 2.0 + 0.25 * place, 1.4, 1.4, SHADES[place // 2])
        diagram.box(axis, 14.4 + 0.25 * place, 2.0 + 0.25 * place, 1.2, 1.2, SHADES[place // 2], alpha=0.6)
    for k in range(3):
        diagram.box(axis, 12.6, 3.9 - 0.8 * k, 1.2, 0.8, SHADES[k], f"W{k}", text_colour="white")
    diagram.arrow(axis, (12.0, 3.4), (12.6, 3.4))
    diagram.arrow(axis, (13.8, 3.4), (14.5, 3.4))
    axis.text(13.2, 0.0, "one convolution with three groups:\nno group sees another's channels", ha="center",
              va="center")
    return figure


def at_once(panels: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]], title: str):
    """Time of a step of K seeds at once over that of K steps of one seed.

    Args:
        panels: heading -> name -> K -> the ratio of each round; the names are the same in all panels. The line goes
            through the medians, bars reach from the smallest to the largest. title: the finding.
    """
    figure, axes = new_figure(7.2, 3.6, 1, len(panels), sharey=True, squeeze=False)
    every = [rounds for curves in panels.values() for ratios in curves.values() for rounds in ratios.values()]
    apart = 1.06 if max(map(len, every)) > 1 else 1.0  # side by side, so that bars do not hide each other
    for axis, (heading, curves) in zip(axes[0], panels.items()):
        for number, (name, ratios) in enumerate(curves.items()):
            rounds = list(ratios.values())
            places = [K * apart ** (number - 1.5) for K in ratios]
            axis.semilogx(places, list(map(statistics.median, rounds)), "o-", base=2, color=SHADES[number], label=name)
            axis.vlines(places, list(map(min, rounds)), list(map(max, rounds)), color=SHADES[number], lw=1.5)
        counts = sorted({count for ratios in curves.values() for count in ratios})
        axis.axhline(1, color="black", lw=1, ls="--")
        axis.set_xticks(counts, counts)
        axis.minorticks_off()
        axis.set_xlabel("seeds side by side (K)")
        axis.set_title(heading, loc="left", fontsize=10)
        axis.grid(alpha=0.3)
    axes[0, 0].set(ylabel="time of K seeds together\n÷ time of the K one by one", ylim=(0, None))
    last = axes[0, -1]
    for words, shift in (("slower", 4), ("faster", -11)):
        last.annotate(words, (1, 1), xycoords=last.get_yaxis_transform(), xytext=(3, shift),
                      textcoords="offset points", color=GREY, fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    return figure


def schedules(plans: Mapping[str, Sequence[Sequence[tuple[str, float]]]], title: str, label: str):
    """Who does what when: a panel per plan, a row per process, a bar per run.

    Args:
        plans: name of the plan -> process -> (run, duration), in the order in which it does them.
        title: the finding. label: of the time axis, with the unit.
    """
    figure, axes = new_figure(7.2, 1.5 * len(plans) + 0.8, len(plans), sharex=True, squeeze=False)
    names = list(dict.fromkeys(run for plan in plans.values() for process in plan for run, _ in process))
    for axis, (name, plan) in zip(axes[:, 0], plans.items()):
        ends = [sum(duration for _, duration in process) for process in plan]
        for row, process in enumerate(plan):
            start = 0.0
            for run, duration in process:
                colour = SHADES[names.index(run) % len(SHADES)]
                diagram.box(axis, start, row - 0.38, duration, 0.76, colour, run, alpha=0.75)
                start += duration
        axis.axvline(max(ends), color="black", lw=1.5, ls="--")
        axis.set_yticks(range(len(plan)), [f"process {row}" for row in range(len(plan))])
        axis.set(xlim=(0, None), ylim=(len(plan) - 0.5, -0.5))
        axis.set_title(f"{name}: done after {max(ends):g}", loc="left", fontsize=10)
        for text in axis.texts:
            text.set_fontsize(8)
    longest = max(sum(duration for _, duration in process) for plan in plans.values() for process in plan)
    axes[0, 0].set_xlim(0, 1.03 * longest)
    axes[-1, 0].set_xlabel(label)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def ring():
    """Four processes in a circle; each sends one of its four pieces to the next one."""
    import math

    figure, axis = new_figure(4.6, 3.4)
    axis.set(xlim=(-3.6, 3.6), ylim=(-2.7, 2.7), aspect="equal")
    axis.set_axis_off()
    places = [(2.2 * math.sin(math.pi / 2 * k), 1.75 * math.cos(math.pi / 2 * k)) for k in range(4)]
    for k, (x, y) in enumerate(places):
        for piece in range(4):
            diagram.box(axis, x - 0.9 + 0.45 * piece, y - 0.25, 0.45, 0.5, SHADES[piece],
                        alpha=1.0 if piece == k else 0.25)
        axis.text(x, y + 0.4, f"process {k}", ha="center", fontsize=9)
        diagram.arrow(axis, (0.62 * x + 0.38 * places[(k + 1) % 4][0], 0.62 * y + 0.38 * places[(k + 1) % 4][1]),
                      (0.38 * x + 0.62 * places[(k + 1) % 4][0], 0.38 * y + 0.62 * places[(k + 1) % 4][1]),
                      colour=SHADES[k])
    axis.text(0, 0, "each passes\none piece on,\nall at once", ha="center", va="center", fontsize=9)
    return figure


def overlap(compute: Sequence[tuple[str, float]], send: float, title: str):
    """The backward pass of some layers, and the sending of their gradients after it or during it.

    Args:
        compute: (layer, duration) in the order of the backward pass. send: duration for each layer. title: the finding.
    """
    figure, axes = new_figure(7.2, 3.0, 2, sharex=True)
    for axis, name, waits in zip(axes, ("one after the other", "overlapped"), (True, False)):
        total, start, free = sum(duration for _, duration in compute), 0.0, 0.0
        for number, (layer, duration) in enumerate(compute):
            colour = SHADES[number]
            diagram.box(axis, start, 0.55, duration, 0.4, colour, layer, alpha=0.75)
            start += duration
            free = max(free, total if waits else start)
            diagram.box(axis, free, 0.05, send, 0.4, colour, "", alpha=0.4)
            free += send
        axis.axvline(free, color="black", lw=1.5, ls="--")
        axis.set_yticks([0.75, 0.25], ["compute", "send"])
        axis.set(ylim=(0, 1), xticks=[])
        axis.set_title(name, loc="left", fontsize=10)
    axes[0].set_xlim(0, sum(duration for _, duration in compute) + send * len(compute) + 0.3)
    axes[1].set_xlabel("time")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def speed_ups(processes: Sequence[int], curves: Mapping[str, Sequence[float]], title: str):
    """How many times faster than one process, and the line of an ideal world.

    Args:
        processes: their numbers. curves: name -> speed-up for each. title: the finding.
    """
    figure, axis = new_figure(7.2, 3.2)
    axis.plot(processes, processes, color=GREY, ls="--", label="ideal")
    for colour, (name, values) in zip(SHADES, curves.items()):
        axis.plot(processes, values, "o-", color=colour, label=name)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xticks(processes, processes)
    axis.set_yticks(processes, processes)
    axis.minorticks_off()
    axis.set(xlabel="processes", ylabel="times as fast as one")
    axis.set_title(title, loc="left")
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
    return figure
