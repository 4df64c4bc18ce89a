"""Turn a generator into files that other programs draw with, and put it on the Hub."""
