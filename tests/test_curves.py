"""Curves of a run: drawn for any number of rows, gaps and all, and nothing global is touched."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facegan.pictures.curves import plot_curves, running_mean, short_count


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "images_seen": 64 * (n + 1),
            "epoch": 0.1 * (n + 1),
            "critic_real": 2 + math.sin(n),
            "critic_fake": -1.0,
            "wasserstein": 3 + math.sin(n),
            "penalty": 0.1,
            "slope": 0.9,
            "critic_loss": -2.0,
            "generator_loss": None if n == 0 else 1.0,
            "images_per_second": 100.0,
        }
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [1, 40, 20_000])
def test_any_number_of_rows(tmp_path: Path, count: int) -> None:
    path = plot_curves(rows(count), tmp_path / "new" / "curves.png", title="00003-celeba-64-dcgan")
    with Image.open(path) as picture:
        assert picture.size == (1200, 1152)
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 50
    assert [file.name for file in path.parent.iterdir()] == ["curves.png"]


def test_evaluations_have_a_panel_of_their_own(tmp_path: Path) -> None:
    given = rows(50)
    for n in (9, 19, 49):
        given[n] |= {"fd": 200.0 - n, "kid": 0.3}
    with Image.open(plot_curves(given, tmp_path / "curves.png")) as picture:
        assert picture.size == (1200, 1536)
    with Image.open(plot_curves(given[9:10], tmp_path / "curves.png")) as picture:
        assert picture.size == (1200, 1536)


def test_gaps_do_not_stop_it(tmp_path: Path) -> None:
    given = rows(50)
    given[3]["critic_real"] = math.nan
    given[4]["penalty"] = math.inf
    del given[5]["slope"]
    for row in given:
        row["generator_loss"] = None
    assert plot_curves(given, tmp_path / "curves.png").exists()


def test_first_values_that_leave_a_panel_are_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One extreme start among many rows: the panel is not flattened for it, and says what it was."""
    from matplotlib.axes import Axes

    said: list[str] = []
    annotate = Axes.annotate
    monkeypatch.setattr(
        Axes, "annotate", lambda self, text, *a, **k: said.append(text) or annotate(self, text, *a, **k)
    )
    given = rows(200)
    plot_curves(given, tmp_path / "usual.png")
    assert not [text for text in said if "starts at" in text]
    given[0] |= {"penalty": 400.0, "slope": 30.0, "critic_loss": -90.0}
    plot_curves(given, tmp_path / "steep.png")
    assert [text for text in said if "starts at" in text] == ["starts at -90", "starts at 400", "starts at 30"]


def test_the_callers_matplotlib_is_left_alone(tmp_path: Path) -> None:
    import matplotlib

    def settings() -> dict[str, Any]:
        # Merely reading "backend" would choose one, and import pyplot.
        return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}

    pyplot_was_there, before = "matplotlib.pyplot" in sys.modules, settings()
    plot_curves(rows(3), tmp_path / "curves.png")
    assert ("matplotlib.pyplot" in sys.modules) == pyplot_was_there
    assert settings() == before


def test_running_mean_by_hand() -> None:
    values = np.array([1.0, 3.0, math.nan, 5.0, 7.0])
    np.testing.assert_allclose(running_mean(values, 3), [2, 2, math.nan, 6, 6])


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (950, "950"), (10_000, "10k"), (1_500_000, "1.5M"), (13_107_200, "13.11M")],
)
def test_counts_as_people_say_them(number: float, text: str) -> None:
    assert short_count(number) == text


def test_a_title_is_text_and_no_formula(tmp_path: Path) -> None:
    assert plot_curves(rows(3), tmp_path / "c.png", title="00001-run$1_$2^", slope=1.0).stat().st_size > 1000


STYLE = {
    "text.usetex": True, "figure.dpi": 5000, "savefig.dpi": 5000, "savefig.bbox": "tight", "lines.linewidth": 9,
    "font.family": "No Such Type", "figure.facecolor": "red", "figure.constrained_layout.use": True,
}  # fmt: skip
"""Each changes the picture or ends it: there may be no TeX, and a picture of 50,000 pixels has no end."""


def test_the_users_style_does_not_matter(tmp_path: Path) -> None:
    import matplotlib

    plain = plot_curves(rows(40), tmp_path / "plain.png").read_bytes()
    with matplotlib.rc_context(STYLE):
        styled = plot_curves(rows(40), tmp_path / "styled.png").read_bytes()
        assert matplotlib.rcParams["text.usetex"] and matplotlib.rcParams["figure.dpi"] == 5000
    assert styled == plain


@pytest.mark.parametrize("backend", ["no_such_backend", "module://nobody_has_this.backend"])
def test_the_users_environment_does_not_matter(tmp_path: Path, backend: str) -> None:
    """A matplotlibrc in the current folder, and a backend with which matplotlib cannot be imported or pyplot used."""
    (tmp_path / "matplotlibrc").write_text("".join(f"{key}: {value}\n" for key, value in STYLE.items()))
    plain = plot_curves(rows(3), tmp_path / "plain.png").read_bytes()
    tests = Path(__file__).parent
    code = (
        "import os\nfrom pathlib import Path\nfrom test_curves import rows\n"
        "from facegan.pictures.curves import plot_curves\n"
        f"plot_curves(rows(3), Path('curves.png')); assert os.environ['MPLBACKEND'] == {backend!r}"
    )
    environment = {**os.environ, "MPLBACKEND": backend, "PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "curves.png").read_bytes() == plain
