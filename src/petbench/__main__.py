"""`python -m petbench`: the same as the command `petbench`."""

from petbench.cli import main

if __name__ == "__main__":
    main()
