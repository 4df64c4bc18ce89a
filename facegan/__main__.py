"""`python -m facegan` is `facegan`."""

from facegan.cli.app import main

if __name__ == "__main__":  # a spawned worker imports this file again and must not run the command again
    main()
