"""RPM without rpm: version order, headers, signatures, databases, and the inventory of what an image has installed.

This room must never fetch anything and never decide what a version is good for; ``topcoat.yum`` and ``topcoat.solver`` do.
"""
