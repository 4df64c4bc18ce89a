"""Turns a photo into a latent, and a generator into one that draws the photo."""
