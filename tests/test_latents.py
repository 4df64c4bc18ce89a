import numpy as np
import pytest

from facegan.core.errors import FaceganError, UsageError
from facegan.faces import latents

DIM = 128
PINNED = [-0.24822916, -0.02676702, -1.94441628, 0.52457798]


def test_a_latent_is_the_same_bits_alone_and_in_a_crowd():
    crowd = latents.draw(7, range(100), DIM)
    assert np.array_equal(crowd[44], latents.draw(7, [44], DIM)[0])
    assert not np.array_equal(crowd[44], latents.draw(8, [44], DIM)[0])
    assert len({row.tobytes() for row in crowd}) == 100


def test_latents_follow_the_prior():
    z = latents.draw(0, range(2000), DIM)
    assert abs(z.mean()) < 0.01
    assert abs(z.std() - 1) < 0.01


def test_latents_are_pinned():
    """Sheets that people have picked faces from must look the same in the next version."""
    np.testing.assert_allclose(latents.draw(0, [0], 4)[0], PINNED, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", latents.METHODS.values())
def test_ends_are_exact(method):
    a, b = latents.draw(0, [0, 1], DIM)
    assert np.array_equal(method(a, b, 0), a)
    assert np.array_equal(method(a, b, 1), b)


def test_lerp_is_the_straight_line():
    np.testing.assert_allclose(latents.lerp(np.float32([0, 4]), np.float32([2, 0]), 0.25), [0.5, 3])


def test_slerp_by_hand():
    a, b = np.float32([2, 0]), np.float32([0, 4])
    half = latents.slerp(a, b, 0.5)
    np.testing.assert_allclose(half, [3 / np.sqrt(2), 3 / np.sqrt(2)], rtol=1e-6)
    third = latents.slerp(a, b, 1 / 3)
    np.testing.assert_allclose(np.arctan2(third[1], third[0]), np.pi / 6, rtol=1e-6)


def test_slerp_norms_go_linearly():
    a, b = latents.draw(0, [0], DIM)[0], 3 * latents.draw(0, [1], DIM)[0]
    for t in np.linspace(0, 1, 11):
        expected = (1 - t) * np.linalg.norm(a) + t * np.linalg.norm(b)
        np.testing.assert_allclose(np.linalg.norm(latents.slerp(a, b, t)), expected, rtol=1e-5)


def test_slerp_of_equal_and_opposite():
    a = latents.draw(0, [0], DIM)[0]
    np.testing.assert_allclose(latents.slerp(a, a, 0.3), a, rtol=1e-6)
    np.testing.assert_allclose(latents.slerp(a, 2 * a, 0.5), 1.5 * a, rtol=1e-6)
    half = latents.slerp(a, -a, 0.5)
    assert np.isfinite(half).all()
    np.testing.assert_allclose(np.linalg.norm(half), np.linalg.norm(a), rtol=1e-5)
    assert abs(half @ a) < 1e-3 * (a @ a)
    assert np.array_equal(latents.slerp(np.zeros_like(a), a, 0.5), a / 2)


def test_path_counts_each_point_once():
    points = latents.draw(0, range(3), DIM)
    walk, shares = latents.path(points, 5)
    assert walk.shape == (9, DIM)
    assert shares == [0, 0.25, 0.5, 0.75, 0, 0.25, 0.5, 0.75, 1]
    for place, point in ((0, 0), (4, 1), (8, 2)):
        assert np.array_equal(walk[place], points[point])


def test_loop_has_no_seam():
    points = latents.draw(0, range(3), DIM)
    walk, _ = latents.path(points, 5, loop=True)
    assert len(walk) == 12
    steps = np.linalg.norm(np.roll(walk, -1, axis=0) - walk, axis=1)
    assert steps.min() > 0.7 * steps.max()


def test_signed_sum_has_the_prior_norm_once():
    a, b, c = latents.draw(0, range(3), DIM)
    raw = latents.signed_sum([1, -1, 1], [a, b, c], raw=True)
    np.testing.assert_allclose(raw, a - b + c, rtol=1e-5)
    result = latents.signed_sum([1, -1, 1], [a, b, c])
    np.testing.assert_allclose(np.linalg.norm(result), np.sqrt(DIM), rtol=1e-6)
    np.testing.assert_allclose(result / np.linalg.norm(result), raw / np.linalg.norm(raw), rtol=1e-4)
    assert not np.isnan(latents.signed_sum([1, -1], [a, a])).any()


def test_spec_items(tmp_path):
    np.save(tmp_path / "two.npy", latents.draw(9, [1, 2], DIM))
    found = latents.parse_spec(f"44, 7:3 ,{tmp_path / 'two.npy'}", 5, DIM)
    assert found.labels == ("5:44", "7:3", "two", "two")
    assert found.name == "5:44,7:3,two"
    assert np.array_equal(found.latents[0], latents.draw(5, [44], DIM)[0])
    assert np.array_equal(found.latents[1], latents.draw(7, [3], DIM)[0])
    np.testing.assert_allclose(found.mean, found.latents.mean(0), atol=1e-6)


def test_labels_are_what_can_be_typed_without_the_seed():
    for seed, spec, labels in ((0, "44", ("44",)), (7, "44,0:3", ("7:44", "3")), (7, "7:1-2", ("7:1", "7:2"))):
        found = latents.parse_spec(spec, seed, DIM)
        assert found.labels == labels
        again = latents.parse_spec(",".join(found.labels), 0, DIM)
        assert np.array_equal(found.latents, again.latents)
        assert np.array_equal(latents.parse_spec(found.name, 0, DIM).latents, again.latents)


def test_ranges(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("1-10.npy", latents.draw(9, [1], DIM))  # a file of that name is no range
    found = latents.parse_spec("1-3,7:8-9,4-4,1-10.npy", 0, DIM)
    assert found.labels == ("1", "2", "3", "7:8", "7:9", "4", "1-10") and found.name == "1-3,7:8-9,4-4,1-10"
    expected = [*latents.draw(0, [1, 2, 3], DIM), *latents.draw(7, [8, 9], DIM), *latents.draw(0, [4], DIM)]
    assert np.array_equal(found.latents[:6], expected)
    assert np.array_equal(found.latents[6], latents.draw(9, [1], DIM)[0])


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("10-1", "ends before it begins"),
        ("0-1999,7:1-501", "2,501 faces; a SPEC has at most 2,500"),
        ("0-99999999", "100,000,000 faces; a SPEC has at most 2,500"),
        ("1-99999999999", "Index 99999999999 is too large"),
        ("1-2,-3", "'-3' in '1-2,-3' is not an index"),
    ],
)
def test_ranges_that_are_none(spec, says):
    with pytest.raises(UsageError, match=says):
        latents.parse_spec(spec, 0, 4)


BAD_SPECS = ["", ",", "1,,2", "abc", "-3", "1.5", "3:", ":3", "1:2:3", "smile.png", "99999999999"]


@pytest.mark.parametrize("spec", [*BAD_SPECS, "1-", "1--3", "1-2-3", "1-7:3", "a-b", "-1-3"])
def test_bad_specs(spec):
    with pytest.raises(UsageError):
        latents.parse_spec(spec, 0, DIM)


@pytest.mark.parametrize(
    "content",
    [
        np.zeros(DIM + 1, np.float32),
        np.full(DIM, np.inf, np.float32),
        np.array([{"a": 1}], dtype=object),
        np.zeros((0, DIM), np.float32),
        np.zeros((2, 2, DIM), np.float32),
        np.array("text"),
    ],
    ids=["width", "inf", "object", "empty", "cube", "text"],
)
def test_bad_latent_files(tmp_path, content):
    np.save(tmp_path / "z.npy", content, allow_pickle=True)
    with pytest.raises(FaceganError, match=r"z\.npy"):
        latents.load_latents(tmp_path / "z.npy", DIM)


def test_missing_and_foreign_latent_files(tmp_path):
    (tmp_path / "text.npy").write_text("hello")
    for name in ("none.npy", "text.npy"):
        with pytest.raises(FaceganError, match=name):
            latents.load_latents(tmp_path / name, DIM)


def test_saved_latent_is_the_same(tmp_path):
    z = latents.draw(0, [3], DIM)[0]
    latents.save_latent(z, tmp_path / "z.npy")
    assert np.array_equal(latents.parse_spec(str(tmp_path / "z.npy"), 0, DIM).mean, z)
