"""The demo distribution: a small but real RPM world on one machine, so that the product can be built, tested and shown without any mirror.

Nothing of the product may import this package, and nothing here may be needed in production.
"""
