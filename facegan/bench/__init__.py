"""How fast facegan is, and how much of that is its doing."""
