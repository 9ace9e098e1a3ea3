"""The command line, one file a command. It may import every layer; no layer imports it."""
