"""``python -m crossdock``: the command line without the console script."""

from crossdock.cli.main import main

if __name__ == "__main__":
    main()
