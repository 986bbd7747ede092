"""Containers on Linux, written in Python: an OCI-like runtime and the commands people know from docker.

Nothing is imported here, because every start of a container pays for what this file does.
"""

__version__ = "0.1.0"
