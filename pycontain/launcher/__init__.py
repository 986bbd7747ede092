"""Starts the interpreter sealed: ``launcher.c`` finds and seals it, ``_start.py`` enters the package."""
