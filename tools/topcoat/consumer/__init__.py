"""What a job that deploys images does with them: pull by digest, and prove that this and nothing else lies there or runs.

This room must never pull by tag and never take a name for a proof.
"""

from topcoat.consumer.podman import Container, Podman
from topcoat.consumer.proof import Consumed, Expected, consume, expected_from_artifacts, expected_from_receipt, prove_running

__all__ = ["Consumed", "Container", "Expected", "Podman", "consume", "expected_from_artifacts", "expected_from_receipt", "prove_running"]
