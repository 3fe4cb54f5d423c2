"""A root of its own with few rights and limits that hold, for programs that nobody has reviewed.

Its modules must never import anything but the standard library and one another, by bare name: they also run where the package is not installed,
under the system's Python. ``confine.py`` is a program; the transaction worker is given this folder's path.
"""
