"""How many examples Hypothesis makes: few in ``make check``, the usual in ``make test``, many in ``make fuzz``."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

#: ``PYCONTAIN_FUZZ``: how many times the usual number.
FACTOR = float(os.environ.get("PYCONTAIN_FUZZ", "1"))


def examples(usual: int) -> settings:
    """Return settings for a test of which ``usual`` examples are enough, at least five of them.

    They are the same ones every time, so that what fails is a change's fault and not luck's; ``make fuzz`` looks for
    new ones. How long an example takes says more about the machine than about the code.
    """
    return settings(
        max_examples=max(int(usual * FACTOR), 5),
        derandomize=FACTOR <= 1,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
