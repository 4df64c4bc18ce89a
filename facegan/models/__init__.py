"""A generator or a checkpoint as a file."""
