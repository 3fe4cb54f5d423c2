"""A real Gerrit and a real Zuul on loopback that run this repository's own jobs; the engine of ``tox -e zuul``.

This package must never listen outside its own network namespace and never leave a process behind.
"""
