"""The command line: parse, call, print; it decides nothing that the library does not."""
