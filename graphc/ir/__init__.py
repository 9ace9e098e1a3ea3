"""The intermediate representations: Graph, Kernel and Program, with text and meaning for each."""
