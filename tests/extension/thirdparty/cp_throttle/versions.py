"""A dispatcher that leads to one of several trees by what a header says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cpadapter import HTTPError, dispatch, request, response


class VersionDispatcher:
    """Puts a prefix before the path by the version asked for: `{'1': '/v1', '2': '/v2'}`.

    default: the version of clients that ask for none; without one they get 400.
    """

    def __init__(
        self,
        versions: Mapping[str, str],
        default: str | None = None,
        header: str = 'X-Api-Version',
        next_dispatcher: Any = None,
    ) -> None:
        self.versions = dict(versions)
        self.default = default
        self.header = header
        self.next_dispatcher = next_dispatcher or dispatch.Dispatcher()

    def __call__(self, path_info: str) -> Any:
        version = request.headers.get(self.header) or self.default
        if version not in self.versions:
            raise HTTPError(400, f'{self.header} must be one of {", ".join(self.versions)}.')
        response.headers[self.header] = version
        return self.next_dispatcher(self.versions[version] + path_info)
