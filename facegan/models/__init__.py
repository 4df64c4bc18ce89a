"""Write and read generators and checkpoints as files."""
