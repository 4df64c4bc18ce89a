"""What knows nothing of faces: errors, atomic files, random streams, devices, processes."""
