"""facegan: photos of faces in, a face generator out."""

__version__ = "0.1.0"
