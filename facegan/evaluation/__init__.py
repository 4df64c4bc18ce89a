"""How far generated faces are from photos."""
