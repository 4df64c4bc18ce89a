"""The version, which stands in every file that facegan writes."""

__version__ = "0.1.0"
