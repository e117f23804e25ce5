"""Scores of maps against masks."""

import pytest
import torch

from attncourse.localization import energy_inside

MASK = torch.zeros(1, 4, 4, dtype=torch.bool)
MASK[0, :2, :2] = True  # a quarter of the picture


def test_all_none_and_a_quarter():
    inside, outside, flat = MASK.float(), (~MASK).float(), torch.ones(1, 4, 4)
    shares = energy_inside(torch.cat([inside, outside, flat]), MASK.expand(3, -1, -1))
    torch.testing.assert_close(shares, torch.tensor([1.0, 0.0, 0.25]))


def test_the_scale_of_a_map_does_not_count():
    maps = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(energy_inside(maps, MASK), energy_inside(7 * maps, MASK))


def test_a_coarse_map_is_enlarged():
    """Two by two, bright in the upper left: by hand, the bilinear weights along one axis are 1, 3/4, 1/4, 0."""
    coarse = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    one_axis = (1 + 3 / 4) / (1 + 3 / 4 + 1 / 4)
    torch.testing.assert_close(energy_inside(coarse, MASK), torch.tensor([one_axis**2]))


@pytest.mark.parametrize(("maps", "masks", "message"), [
    (torch.ones(2, 4, 4), MASK, r"\(2, 4, 4\), \(1, 4, 4\)"),
    (torch.ones(1, 1, 4, 4), MASK, "expected maps"),
    (-torch.ones(1, 4, 4), MASK, "no negative value"),
    (torch.zeros(1, 4, 4), MASK, "at least one positive"),
    (torch.full((1, 4, 4), torch.nan), MASK, "must be finite"),
])
def test_bad_input(maps, masks, message):
    with pytest.raises(ValueError, match=message):
        energy_inside(maps, masks)
