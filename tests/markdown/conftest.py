from __future__ import annotations

import hypothesis

# a machine that is busy is no reason to fail
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")
