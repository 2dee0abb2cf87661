"""From the values in :mod:`aigateway.cli.views` to text for people; nothing is looked up or decided here."""
