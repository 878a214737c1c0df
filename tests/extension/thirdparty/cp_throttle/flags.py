"""Feature flags: the config namespace `features`, once as a function and once as a context manager."""

from __future__ import annotations

from typing import Any

import cpadapter


def set_feature(name: str, value: Any) -> None:
    """Handle one entry, `features.<name> = <value>`: the plain form, which takes any value for any name."""
    request = cpadapter.request
    if not hasattr(request, 'features'):
        request.features = {}
    request.features[name] = value


class FeatureSet:
    """Handles all entries of a request at once: percentages become a yes or no, and the result is said in a header.

    One instance serves all requests, so that what belongs to a request is kept there.
    """

    def __enter__(self) -> Any:
        features = cpadapter.request.features = {}

        def handle(name: str, value: Any) -> None:
            if isinstance(value, float):
                value = bucket_of(cpadapter.request.remote.ip) < value
            features[name] = bool(value)

        return handle

    def __exit__(self, exc_type: Any, exc: Any, traceback: Any) -> None:
        on = sorted(name for name, value in cpadapter.request.features.items() if value)
        if on and exc is None:
            cpadapter.response.headers['X-Features'] = ', '.join(on)


def bucket_of(address: str) -> float:
    """Give where between 0 and 1 a client stands; always the same for one address."""
    return sum(address.encode()) % 100 / 100


def is_on(name: str) -> bool:
    """Say whether a feature is on for the current request."""
    return bool(getattr(cpadapter.request, 'features', {}).get(name))
