from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def smoke(request):
    """Whether nothing is timed (``--benchmark-disable``), so that small sizes do."""
    return request.config.getoption("benchmark_disable")
