"""The studio: all that facegan can do with faces, in a browser on this machine. `server.py` is the way in."""
