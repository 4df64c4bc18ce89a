"""A run's life on disk, from its plan to its last picture."""
