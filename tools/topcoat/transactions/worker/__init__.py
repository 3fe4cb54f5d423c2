"""The program that does package transactions under the system's own Python; it is started as a folder, ``python3 -I worker``.

Nothing of it must ever be imported by the rest of the package, and it imports nothing of the rest but what it is given the path of.
"""
