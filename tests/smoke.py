"""Use an installed facegan in the current folder, which is empty, as somebody does who has no repository.

    python .../tests/smoke.py

It needs nothing but the package: `.ci/run` runs it on a wheel. Prints what it does; any fault ends it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import files, version
from pathlib import Path

import facegan

WANTED = (
    "facegan/py.typed",
    "facegan/data/yunet/LICENSE",
    "facegan/models/pretrained/LICENSE",
    "facegan/models/pretrained/celeba-64.safetensors",
    "facegan/models/pretrained/attributes-64.safetensors",
    "facegan/studio/static/index.html",
    "facegan/studio/static/app.js",
    "facegan/studio/static/style.css",
    "facegan/data/yunet/face_detection_yunet_2023mar.onnx",
    "licenses/LICENSE",
)
"""How names of files in the wheel end that are easily forgotten."""
COMMANDS = (
    "--version",
    "sample pretrained --count 4 --number",
    "info outputs/sample-001.png",
    "interpolate --through 3 --through 7:1 --steps 3 --gif",
    "arithmetic --plus 1,2 --minus 3 --save",
    "edit --attr smiling=-2..2 --steps 3",
    "sample --count 9 --sort",
    "train --data demo --images 64 --width 4 --critic-width 4 --batch-size 4 --device cpu",
    "sample --count 4",
    "info pretrained",
)


def main() -> None:
    here, package = Path.cwd(), Path(facegan.__file__).parent
    if any(here.iterdir()):
        sys.exit(f"{here} is not empty.")
    repository = Path(__file__).parents[1]
    if package.is_relative_to(repository):
        sys.exit(f"facegan is imported from {package}, not from an installed wheel.")
    held = [str(path) for path in files("facegan") or ()]
    for wanted in WANTED:
        assert any(name.endswith(wanted) for name in held), f"{wanted} is not in the wheel"
    assert version("facegan") == facegan.__version__
    program = shutil.which("facegan")
    assert program, "there is no program facegan"
    for words in COMMANDS:
        print(f"facegan {words}", flush=True)
        subprocess.run([program, *words.split()], check=True)
    faces = facegan.load("pretrained", device="cpu").sample(2)
    assert faces.shape == (2, 64, 64, 3)
    print("well")


if __name__ == "__main__":
    main()
