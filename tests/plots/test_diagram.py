"""The parts of diagrams show the values that they are given."""

from matplotlib.colors import to_rgba

from attncourse.plots import SHADES, diagram, new_figure


def colours(axis) -> list[tuple[float, ...]]:
    """Of the boxes, without the white one that lies under each."""
    return [box.get_facecolor() for box in axis.patches[1::2]]


def test_a_stack_multiplies_the_gates_of_channels_and_places():
    axis = new_figure()[1]
    diagram.stack(axis, 3, 4, 1, 0.25, [0.5, 1, 1, 1, 0.25], [[1, 0.5], [0, 1]])
    assert colours(axis)[:4] == [to_rgba(SHADES[0], value) for value in (0.5, 0.25, 0, 0.5)]
    assert colours(axis)[-4:] == [to_rgba(SHADES[4], value) for value in (0.25, 0.125, 0, 0.25)]
    assert axis.patches[0].get_xy() == (4, 5.5)  # the upper left place of the map at the back
    assert axis.patches[-2].get_xy() == (3.5, 4)  # the lower right one of the map in front


def test_a_map_without_a_colour_is_white_at_1():
    axis = new_figure()[1]
    diagram.patchwork(axis, 0, 0, 1, [[1, 0.75], [0.25, 0]])
    assert colours(axis) == [to_rgba("black", darkness) for darkness in (0, 0.25, 0.75, 1)]
