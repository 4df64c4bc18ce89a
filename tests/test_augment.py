"""Augmentation changes what it says, as often as it says, and lets gradients through."""

import pytest
import torch
from torch.testing import assert_close

from facegan.training.augment import DRAWS, ORDERED, RISE, adapted, augment

UNIT = (-1.0, 1.0)
RECOLOURED, MOVED, CUT = range(3)
SHIFT, SATURATION, CONTRAST, DOWN, RIGHT, Y, X = range(3, DRAWS)


def pictures(count: int = 1, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def draws(count: int = 1) -> torch.Tensor:
    return torch.rand(count, DRAWS, generator=torch.Generator().manual_seed(1))


def one_change(change: int, **how: float) -> torch.Tensor:
    """Draws that make this change and no other, at a probability of one half."""
    row = torch.full((1, DRAWS), 0.5)
    row[0, change] = 0
    for name, value in how.items():
        row[0, globals()[name]] = value
    return row


def test_probability_zero_changes_nothing():
    x = pictures(8)
    assert_close(augment(x, draws(8), 0, UNIT), x)


def test_each_change_comes_as_often_as_asked():
    x, many = pictures(1).expand(2000, -1, -1, -1), draws(2000)
    for change in (RECOLOURED, MOVED, CUT):
        alone = many.clone()
        alone[:, [c for c in (RECOLOURED, MOVED, CUT) if c != change]] = 1
        changed = (augment(x, alone, 0.3, UNIT) != x).flatten(1).any(1).float().mean()
        assert abs(changed - 0.3) < 0.04, change


def test_colours():
    x = pictures()
    assert_close(augment(x, one_change(RECOLOURED, SHIFT=1.0), 0.4, UNIT), x + 0.5)
    grey = augment(x, one_change(RECOLOURED, SATURATION=0.0), 0.4, UNIT)
    assert_close(grey, x.mean(1, keepdim=True).expand_as(x))
    flat = augment(x, one_change(RECOLOURED, CONTRAST=0.0), 0.4, UNIT)
    assert_close(flat - x.mean(), (x - x.mean()) / 2)


@pytest.mark.parametrize(("draw", "pixels"), [(0.0, -4), (0.5, 0), (0.9999, 4)])
def test_moves_in_whole_pixels(draw, pixels):
    x = pictures()
    moved = augment(x, one_change(MOVED, DOWN=draw), 0.4, UNIT)
    expected = torch.zeros_like(x)
    expected[:, :, max(pixels, 0) : 32 + min(pixels, 0)] = x[:, :, max(-pixels, 0) : 32 + min(-pixels, 0)]
    assert_close(moved, expected)
    assert_close(augment(x, one_change(MOVED, RIGHT=draw), 0.4, UNIT), expected_right(x, pixels))


def expected_right(x: torch.Tensor, pixels: int) -> torch.Tensor:
    expected = torch.zeros_like(x)
    expected[..., max(pixels, 0) : 32 + min(pixels, 0)] = x[..., max(-pixels, 0) : 32 + min(-pixels, 0)]
    return expected


def test_a_square_of_half_the_side_is_cut_out():
    x = pictures()
    cut = augment(x, one_change(CUT, Y=0.5, X=0.5), 0.4, UNIT)
    expected = x.clone()
    expected[:, :, 8:24, 8:24] = 0
    assert_close(cut, expected)
    corner = augment(x, one_change(CUT, Y=0.0, X=0.0), 0.4, UNIT)
    assert (corner == 0).all(1).sum() == 8 * 8


def test_the_unit_of_pixels_makes_no_difference():
    x, how = pictures(64), draws(64)
    assert_close((augment(x, how, 0.6, UNIT) + 1) / 2, augment((x + 1) / 2, how, 0.6, (0.0, 1.0)))


def test_gradients_are_those_of_the_changes():
    x = pictures(3, side=8).double().requires_grad_(True)
    how = draws(3).double()
    assert torch.autograd.gradcheck(lambda images: augment(images, how, 0.9, UNIT), x)


@pytest.mark.parametrize(
    ("before", "ordered", "after"),
    [
        (0.0, 1.0, 0.01),
        (0.5, ORDERED, 0.5),
        (0.5, 2 * ORDERED - 1, 0.49),
        (0.0, 0.5, 0.0),
        (1.0, 1.0, 1.0),
    ],
)
def test_the_probability_follows_how_well_the_critic_does(before, ordered, after):
    """In a hundredth of RISE images it moves by a hundredth if all pairs are in order."""
    now = adapted(torch.tensor(before), torch.tensor(ordered), RISE // 100)
    assert_close(now, torch.tensor(after))
