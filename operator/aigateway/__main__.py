"""``python -m aigateway``: the command line, without relying on an installed script."""

from aigateway.cli.main import main

main()
