"""`facegan`, and `python -m facegan`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C in the moment before it can handle signals is a sentence too."""
    try:
        from facegan.cli.app import main as run
    except KeyboardInterrupt:
        sys.stderr.write("stopped: by Ctrl-C.\n")
        sys.exit(130)
    run()


if __name__ == "__main__":  # a spawned worker imports this file again and must not run the command again
    main()
