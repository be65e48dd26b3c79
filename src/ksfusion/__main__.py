"""Let ``python -m ksfusion`` answer like the installed command."""

from ksfusion.cli import main

if __name__ == "__main__":
    main()
