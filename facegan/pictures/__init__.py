"""Arrays in, picture files out: sheets, equations, curves, animations."""
