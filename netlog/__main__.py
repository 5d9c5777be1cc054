"""`python -m netlog` is the command line."""

from netlog.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
