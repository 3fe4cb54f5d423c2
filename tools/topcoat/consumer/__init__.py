"""What a job that deploys images does with them: pull by digest, and prove that this and nothing else lies there or runs.

This room must never pull by tag and never take a name for a proof.
"""

from topcoat.consumer.cluster import ClusterProof, Ran, prove_pods, proved_pods
from topcoat.consumer.podman import Container, Podman
from topcoat.consumer.pods import Pods, read_pods
from topcoat.consumer.proof import Consumed, Expected, consume, expected_from_artifacts, expected_from_receipt, prove_running

__all__ = [
    "ClusterProof",
    "Consumed",
    "Container",
    "Expected",
    "Podman",
    "Pods",
    "Ran",
    "consume",
    "expected_from_artifacts",
    "expected_from_receipt",
    "prove_pods",
    "prove_running",
    "proved_pods",
    "read_pods",
]
