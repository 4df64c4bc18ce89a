"""The command line: one thin file per command. Importing this package imports no torch."""
