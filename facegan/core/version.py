"""The version, which stands in every file that facegan writes."""

__version__ = "0.2.0"
