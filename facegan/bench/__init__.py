"""Measures how fast facegan is, and how much of that is due to facegan itself."""
