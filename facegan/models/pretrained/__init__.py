"""The generator that ships with the package, and its attributes. No torch."""

from __future__ import annotations

from pathlib import Path

NAME, SIZE = "pretrained", 64
PATH = Path(__file__).parent / "celeba-64.safetensors"
ATTRIBUTES = Path(__file__).parent / "attributes-64.safetensors"
