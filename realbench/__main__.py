"""`python -m realbench` is the `realbench` command."""

from realbench.cli import main

if __name__ == "__main__":
    main()
