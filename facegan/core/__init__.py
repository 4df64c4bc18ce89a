"""The base of all packages, which knows nothing of faces: errors, atomic files, random streams, devices, processes."""
