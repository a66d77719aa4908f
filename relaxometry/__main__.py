"""`python -m relaxometry` does what `relaxometry` does."""

from .cli import main

main()
