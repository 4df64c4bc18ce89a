"""The generator that ships with the package. No torch."""

from __future__ import annotations

from pathlib import Path

NAME = "pretrained"
PATH = Path(__file__).parent / "celeba-64.safetensors"
