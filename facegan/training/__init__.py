"""One training step: networks, losses and gradients; no files."""
