"""What the tests stand on: the program, root file systems, the host's abilities, and what a test left behind.

Nothing here imports the product: it is run as a person runs it, and looked at from outside.
"""
