"""Rows and sheets made by hand in, sentences out."""

import numpy as np
import pytest

from facegan.runs.health import WINDOW, Health, spread

RNG = np.random.default_rng(0)


def row(n: int, **changes: float) -> dict[str, float]:
    """A row of a training that goes well: scores drift, the rest trembles."""
    real, fake = 3 + 0.2 * n + RNG.normal(), -4 + 0.2 * n + RNG.normal()
    well = {"critic_real": real, "critic_fake": fake, "wasserstein": real - fake, "slope": 1 + 0.1 * RNG.normal()}
    return {**well, "critic_loss": fake - real + abs(RNG.normal()), **changes}


def sheet(spread_wanted: float) -> np.ndarray:
    return (128 + spread_wanted * RNG.standard_normal((25, 8, 8, 3))).clip(0, 255).astype(np.uint8)


def said(rows) -> list[str]:
    health = Health()
    return [text for each in rows for text in health.after_row(each)]


def test_a_good_training_is_left_alone():
    health = Health()
    assert not [text for n in range(2000) for text in health.after_row(row(n))]
    assert not [text for n in range(50) for text in health.after_sheet(n * 10_000, sheet(1 if n == 0 else 50))]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (lambda n: {"critic_real": 100 * 1.05**n, "critic_fake": -100 * 1.05**n}, "grow without bound"),
        (lambda n: {"slope": 6.0 + 0.01 * n}, "above 5"),
        (lambda n: {"slope": 0.01}, "below 0.05"),
        (lambda n: {"images_seen": 20_000, "critic_fake": 9.0, "wasserstein": -RNG.random()}, "higher scores"),
        (lambda n: {"critic_real": 2.0, "critic_fake": 2.0, "wasserstein": 0.0}, "do not move"),
        (lambda n: {"critic_loss": 10.0}, "do not move"),
    ],
)
def test_each_sign_is_said_once_with_advice(changes, words):
    (text,) = said(row(n, **changes(n)) for n in range(5 * WINDOW))
    assert words in text
    assert "--" in text, "what to change"


def test_a_flat_critic_is_well_where_the_penalty_wants_it_flat():
    health = Health(slope=0.0)
    assert not [text for n in range(5 * WINDOW) for text in health.after_row(row(n, slope=0.01))]


def test_a_sign_must_last():
    assert not said(row(n, slope=9.0 if n % WINDOW else 1.0) for n in range(5 * WINDOW))
    assert not said(row(n, wasserstein=-1.0 if n % WINDOW else 1.0, images_seen=10**6) for n in range(5 * WINDOW))
    assert not said(row(n, wasserstein=-1.0, images_seen=100 * n) for n in range(4 * WINDOW)), "a beginning"
    assert not said(row(n, critic_real=2000.0, critic_fake=1990.0 + RNG.normal()) for n in range(3 * WINDOW))


def test_a_run_that_goes_on_says_nothing_again():
    before = [row(n, slope=9.0) for n in range(WINDOW)]
    health = Health([{"images_seen": 4}, *before])
    assert not [text for n in range(WINDOW) for text in health.after_row(row(n, slope=9.0))]


def test_collapse():
    health = Health()
    assert not health.after_sheet(0, sheet(1)), "an untrained generator"
    assert not health.after_sheet(5_000, sheet(1))
    assert not health.after_sheet(30_000, sheet(1)), "one may be chance"
    assert "collapsed" in health.after_sheet(40_000, sheet(1))[0]
    assert not health.after_sheet(50_000, sheet(1)), "said before"
    early = Health()
    assert not [text for n in range(3) for text in early.after_sheet(1_000 * n, sheet(40))]
    assert not early.after_sheet(3_000, sheet(1))
    assert "--generator-lr" in early.after_sheet(4_000, sheet(1))[0]


def test_a_generator_that_does_not_move():
    """Its sheets are the same; a run that goes on may be near its end, where they may be."""
    first = sheet(20)
    nudged = np.clip(first.astype(int) + 1, 0, 255).astype(np.uint8)

    def heard(health, *sheets):
        return [text for seen, faces in sheets for text in health.after_sheet(seen, faces)]

    (text,) = heard(Health(), (0, sheet(20)), (2_000, first), (20_000, first), (22_000, nudged), (24_000, first))
    assert "do not change" in text and "--generator-lr" in text
    assert not heard(Health(), (0, first), (2_000, first), (30_000, sheet(20)))
    assert not heard(Health([row(0)]), (100_000, first), (200_000, first))


def test_the_spread_is_that_over_faces():
    flat = np.zeros((2, 4, 4, 3), np.uint8)
    flat[1] = 100
    assert spread(flat) == 50
    assert spread(np.broadcast_to(RNG.integers(0, 256, (1, 4, 4, 3), np.uint8), (25, 4, 4, 3))) == 0


@pytest.mark.parametrize(
    ("rows", "precision", "cause", "remedy"),
    [
        ([{"slope": 20.0}], "fp32", "slope was 20", "--penalty-weight"),
        ([{"critic_real": -3e5}], "fp32", "run away to 3e+05", "--critic-lr"),
        ([{}], "bf16", "bf16", "--precision fp32"),
        ([], "fp32", "learning rates", "--generator-lr"),
    ],
)
def test_why_not_finite(rows, precision, cause, remedy):
    found = Health(row(0, **changes) for changes in rows).why_not_finite(precision)
    assert cause in found[0]
    assert remedy in found[1]
