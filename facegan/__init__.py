"""facegan: photos of faces in, a face generator out."""

from facegan.core.version import __version__ as __version__
