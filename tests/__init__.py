"""Tests. Nothing here measures time: a loaded machine must not turn a test red, so hypothesis has no deadline."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("default-here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# In CI the same examples each time: a change is judged by its own merit, not by a die. People's runs keep looking for new ones.
settings.register_profile("ci", parent=settings.get_profile("default-here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default-here")
