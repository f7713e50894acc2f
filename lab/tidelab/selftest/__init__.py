"""The lab, tested by what it is for: a small sync server that can be broken in many known ways.

It is part of the package, not of the tests, because `tidelab selftest` shall prove the checkers
wherever the lab is installed. It shares no code with the oracle or any engine: it filters rows and
works out net effects by itself, naively.
"""
