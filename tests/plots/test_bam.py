"""Figures of the BAM chapter: each draws what it was given."""

import torch
from plots.figure_contents import drawn, texts

from attncourse.plots.bam import bam_diagram, bam_places, joins, photos_and_gates, seen_pixels, windows


def test_the_diagram_names_its_parts():
    words = texts(bam_diagram())
    assert {"channel branch: what", "spatial branch: where", "mean", "+", r"$\sigma$"} <= set(words)
    assert words.count("3×3\n$d$") == 2
    assert words.count("1×1") == 2


def test_bam_stands_between_the_stages():
    words = [word for word in texts(bam_places()) if word in ("layer1", "layer2", "layer3", "layer4", "BAM")]
    assert words == ["layer1", "BAM", "layer2", "BAM", "layer3", "BAM", "layer4"]


def test_windows_frame_the_middle_pixel():
    cuts = [torch.rand(3, n, n) * 255 for n in (5, 9)]
    figure = windows(cuts, "finding")
    for axis, cut, middle in zip(figure.axes, cuts, (2, 4)):
        assert torch.equal(drawn(axis), cut.permute(1, 2, 0).round().byte())
        (frame,) = axis.lines
        for data in (frame.get_xdata(), frame.get_ydata()):
            assert (min(data), max(data)) == (middle - 0.5, middle + 0.5)
    assert {"5 × 5 pixels", "9 × 9 pixels", "finding"} <= set(texts(figure))


def test_holes_stay_white_and_the_output_pixel_is_marked():
    ways = torch.zeros(5, 7)
    ways[2, 3], ways[0, 0] = 4, 1
    figure = seen_pixels([ways, ways.T], ["a", "b"], "finding")
    first, second = figure.axes
    assert drawn(first).isnan().sum() == 33
    assert drawn(first)[2, 3] == 4
    assert [line.get_xdata()[0] for line in (*first.lines, *second.lines)] == [3, 2]
    assert {"a", "b", "finding"} <= set(texts(figure))
    assert ways[1, 1] == 0  # the input is left as it was


def test_joins_share_one_scale_and_put_what_across():
    line = torch.linspace(-2, 2, 5)
    gates = [torch.rand(5, 5), torch.rand(5, 5)]
    figure = joins(line, gates, ["sum", "product"], "finding")
    for axis, values in zip(figure.axes, gates):
        assert torch.equal(drawn(axis), values)
        assert axis.images[0].get_clim() == (0, 1)
        assert tuple(axis.images[0].get_extent()) == (-2, 2, -2, 2)
        assert "what" in axis.get_xlabel()


def test_photos_and_gates_say_their_range():
    photos, gates = torch.rand(2, 3, 8, 8) * 255, [torch.rand(2, 8, 8), torch.rand(2, 3, 3)]
    figure = photos_and_gates(photos, gates, ["first", "last"], "finding")
    assert len(figure.axes) == 6
    assert torch.equal(drawn(figure.axes[0]), photos[0].permute(1, 2, 0).round().byte())
    assert torch.equal(drawn(figure.axes[5]), gates[1][1])
    assert f"{gates[1][1].min():.2f} to {gates[1][1].max():.2f}" in texts(figure)
