"""boto's transport over our connections."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

from syncd.sinks.s3_transport import connector, trusted_by


class Transport(AIOHTTPSession):  # type: ignore[misc]
    """aiobotocore's own makes a TLS context that checks no host name (urllib3, for which it was written, does
    that elsewhere), and behind a proxy one that checks nothing. Made in a thread, as `Session`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._trusted = trusted_by(self._verify) if self._verify else False  # plain http

    def _create_connector(self, proxy_url: str | None) -> aiohttp.TCPConnector:
        return connector(self._trusted, self._timeout, self._max_pool_connections, **self._connector_args)
