"""The command line: `milepost`.

Modules here import only click and the standard library at their top: `milepost --help` and shell completion
are to be instant, and a client install has none of what the processes need.
"""
