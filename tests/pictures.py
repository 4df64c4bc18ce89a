"""Make the pictures of README.md and docs/ anew with the generator in the package, by the commands that stand there.

    python tests/pictures.py [NAME ...]

A few minutes on two processor cores. Look at the pictures before you commit them: after a change of the generator the
numbers of faces stand for other people. Not made here: the studio's (screenshots), curves.png (of the packaged
generator's run), sweeps.png (drawn by hand), tried.jpg and few.jpg (of trials that docs/quality.md describes).
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from skimage.data import astronaut

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
_ASTRONAUT, _FRIEND = "--through me.jpg --through friend.jpg", "5:35"
COMMANDS = {
    "sample.png": "sample pretrained --count 24",
    "sheet.png": "sample pretrained --count 60 --number",
    "interpolate.png": "interpolate pretrained --through 64 --through 68 --steps 10",
    "arithmetic.png": "arithmetic pretrained --plus 46,64,93 --minus 22,26,57 --plus 32,61,68",
    "words.png": 'arithmetic pretrained --plus "smiling woman" --minus "neutral woman" --plus "neutral man"',
    "edit.png": "edit pretrained --face 22 --attr smiling=-1..3 --attr young=-2..1 --steps 4",
    "walk.gif": "gif pretrained --faces 4 --stops 3",
    "own-project.png": "project me.jpg friend.jpg --generator pretrained",
    "own-morph.png": f"interpolate pretrained {_ASTRONAUT} --steps 10",
    "own-morph.gif": f"interpolate pretrained {_ASTRONAUT} --steps 16 --scale 2 --gif",
    "own-arithmetic.png": "arithmetic pretrained --plus me.jpg --minus 46,64,93 --plus 22,26,57",
    "own-edit.png": "edit pretrained --face me.jpg --attr smiling=-2..2 --steps 5",
    "progress.gif": "train --data demo --width 16 --critic-width 16 --images 15k --sample-every 0.5",
}
"""Picture -> the command that makes it, as it stands in README.md or docs/."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(COMMANDS)}; all if none is given")
    names = parser.parse_args().names or list(COMMANDS)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        Image.fromarray(astronaut()).save(place / "me.jpg", quality=95)
        facegan(place, f"sample pretrained --faces {_FRIEND} --scale 4 --separate --out friend")
        (friend,) = (place / "friend").glob("*.png")
        Image.open(friend).save(place / "friend.jpg", quality=95)
        for name in names:
            command = COMMANDS[name]
            print(f"{name}: facegan {command}", flush=True)
            if command.startswith("train"):
                facegan(place, command)
                (made,) = place.glob("runs/*/progress.gif")
            else:
                made = place / Path(name).suffix[1:] / name  # own-morph is two pictures
                facegan(place, f"{command} --out {made.with_suffix('.png') if '--gif' in command else made}")
            (IMAGES / name).write_bytes(made.read_bytes())
            print(f"  {(IMAGES / name).stat().st_size:,} bytes")


def facegan(place: Path, command: str) -> None:
    """Run a command in a folder; it uses the facegan of this clone."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "facegan", *shlex.split(command)], cwd=place, env=environment, check=True)


if __name__ == "__main__":
    main()
