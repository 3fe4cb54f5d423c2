"""Publishing: images, tags and inventories into registries, every blob over the wire once.

This room must never build an image and never decide which tag moves.
"""

from topcoat.publisher.ledger import BlobLedger
from topcoat.publisher.publisher import Published, Publisher, Source

__all__ = ["BlobLedger", "Published", "Publisher", "Source"]
