"""The command line: ``aigateway`` and ``kubectl aigateway``.

A command gathers its inputs, asks the core, and hands values to a printer; nothing is decided here.  stdout is data,
stderr is talk.
"""
