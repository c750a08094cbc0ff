"""``python -m albench`` is the command line."""

from albench.cli import main

if __name__ == "__main__":
    main()
