"""The entry point of `facegan` and of `python -m facegan`."""

import sys


def main() -> None:
    """Run the command line. Ctrl-C gives a sentence even in the moment before the command line handles signals."""
    try:
        from facegan.cli.app import main as run
    except KeyboardInterrupt:
        sys.stderr.write("stopped: by Ctrl-C.\n")
        sys.exit(130)
    run()


if __name__ == "__main__":  # a spawned worker imports this file again and must not run the command again
    main()
