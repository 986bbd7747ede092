"""The command line: docker's words on the outside, the engine inside; one file per command family."""
