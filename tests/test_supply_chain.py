"""What the package may not do, read from its source: run what files bring, start programs, reach the network."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

PACKAGE = Path(__file__).parent.parent / "facegan"

ALLOWED: dict[str, set[str]] = {
    # Asks ffmpeg whether it works, as the library that runs it does not.
    "pictures/animation.py": {"import subprocess"},
    # Tells the C library already in the process to keep its memory.
    "core/device.py": {"import ctypes"},
    # Sets how long a download of torch-fidelity's may stand still.
    "evaluation/extractors.py": {"import socket"},
    # The Hugging Face Hub: downloads what hf:// names, and uploads what `facegan push` is told to.
    "models/hub.py": {"import huggingface_hub", "import huggingface_hub.errors", "import huggingface_hub.utils"},
    "export/push.py": {"import huggingface_hub"},
    # The studio listens on this machine alone, and opens its own address in the browser.
    "studio/serve.py": {"import socket", "import webbrowser"},
    # Helper processes of our own, spoken to through pipes that nobody else has.
    "core/workers.py": {"import pickle", "import subprocess", "call importlib.import_module"},
}
"""File -> what it alone may do, and why."""

NETWORK = {
    *(
        "aiohttp",
        "ftplib",
        "http",
        "httpx",
        "huggingface_hub",
        "imaplib",
        "nntplib",
        "poplib",
        "requests",
        "smtplib",
        "socket",
    ),
    *("socketserver", "ssl", "telnetlib", "urllib", "urllib3", "webbrowser", "websockets", "xmlrpc"),
}
RUNNERS = {
    "cloudpickle",
    "code",
    "ctypes",
    "dill",
    "joblib",
    "marshal",
    "pickle",
    "pty",
    "runpy",
    "shelve",
    "subprocess",
}
FORBIDDEN_IMPORTS = NETWORK | RUNNERS | {"yaml"}

FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "importlib.import_module"),
    *(
        "os.system",
        "os.popen",
        "os.startfile",
        "os.execv",
        "os.execve",
        "os.spawnv",
        "os.posix_spawn",
        "tempfile.mktemp",
    ),
    *("torch.hub.load", "torch.jit.load", "torch.package.PackageImporter", "torch.utils.cpp_extension.load"),
}

REQUIRED: dict[str, dict[str, object]] = {
    "torch.load": {"weights_only": True},
    "np.load": {"allow_pickle": False},
    "numpy.load": {"allow_pickle": False},
    "np.save": {"allow_pickle": False},
    "Image.open": {"formats": ...},
}
"""Call -> arguments that it must have; ... is any value."""


def findings(source: str) -> Iterator[str]:
    """All that a file does and should not, each in a few words."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        yield from (f"import {name}" for name in names if name.partition(".")[0] in FORBIDDEN_IMPORTS)
        if isinstance(node, ast.Call):
            yield from in_call(node)


def in_call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    given = {word.arg: word.value for word in node.keywords}
    if name in FORBIDDEN_CALLS:
        yield f"call {name}"
    for argument, value in REQUIRED.get(name, {}).items():
        found = given.get(argument)
        if found is None or (value is not ... and getattr(found, "value", None) is not value):
            yield f"{name} without {argument}={value}"
    if "shell" in given:
        yield f"{name} with a shell"
    if getattr(given.get("trust_remote_code"), "value", None):
        yield f"{name} that runs what it downloads"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_file_does_what_it_should_not(path):
    allowed = ALLOWED.get(path.relative_to(PACKAGE).as_posix(), set())
    assert set(findings(path.read_text("utf-8"))) <= allowed


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", "import pickle"),
        ("def f():\n    from urllib.request import urlopen", "import urllib.request"),
        ("import http.client as h", "import http.client"),
        ("eval('1')", "call eval"),
        ("os.system('ls')", "call os.system"),
        ("subprocess.run('ls', shell=True)", "subprocess.run with a shell"),
        ("torch.load(path)", "torch.load without weights_only=True"),
        ("torch.load(path, weights_only=False)", "torch.load without weights_only=True"),
        ("np.load(path, allow_pickle=True)", "np.load without allow_pickle=False"),
        ("np.load(path)", "np.load without allow_pickle=False"),
        ("Image.open(path)", "Image.open without formats=Ellipsis"),
    ],
)
def test_the_rules_find_what_they_are_for(source, found):
    assert found in set(findings(source))


def test_what_is_allowed_is_still_needed():
    for name, allowed in ALLOWED.items():
        assert set(findings((PACKAGE / name).read_text("utf-8"))) == allowed


OFFLINE = """
import sys

def forbid(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")) or event in ("os.system", "os.exec"):
        raise RuntimeError(f"{event} {arguments}")

sys.addaudithook(forbid)
from facegan.cli.app import main
for words in sys.stdin.read().splitlines():
    sys.argv = ["facegan", *words.split()]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, words
"""


def test_commands_need_no_network(workdir):
    """Python reports every socket before it is made; here that ends the command."""
    (workdir / "photos").mkdir()
    Image.new("RGB", (40, 40), "red").save(workdir / "photos/a.png")
    words = (
        "sample --count 1\ninfo\ninterpolate --steps 2\narithmetic --plus 1\ngif --faces 1 --stops 2 --steps 1\n"
        "preprocess photos --size 32 --workers 1\ntrain --images 2 --batch-size 2 --width 4 --critic-width 4\n"
    )
    command = [sys.executable, "-c", OFFLINE]
    done = subprocess.run(command, input=words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (workdir / "outputs/sample-001.png").exists()
    probe = [sys.executable, "-c", OFFLINE.partition("from facegan")[0] + "import socket\nsocket.socket()"]
    assert subprocess.run(probe, capture_output=True, check=False).returncode != 0
