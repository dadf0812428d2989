"""`python -m piqa_cli` is `piqa`."""

from __future__ import annotations

from piqa_cli.cli import main

if __name__ == "__main__":
    main()
