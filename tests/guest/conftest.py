"""Keeps the tests that only make sense inside a guest out of the outer run."""

import os

collect_ignore = ["inside"] if "PYCONTAIN_GUEST" not in os.environ else ["test_guests.py"]
