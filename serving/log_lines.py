"""Lines of `--log-json`."""

import json
import time
from collections.abc import Mapping
from typing import Any


def log_line(facts: Mapping[str, Any]) -> str:
    """One line of JSON: the time of day in UTC, then the facts."""
    return json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **facts})
