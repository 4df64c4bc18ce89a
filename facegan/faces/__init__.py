"""Turn latents into pictures."""
