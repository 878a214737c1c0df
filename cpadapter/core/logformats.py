"""How records become text: what is safe in a log, what a response was, and records as JSON, one object a line.

Request ids are here as well, since they are what joins the lines of one request. It knows exchanges and records of
`logging`; which logger and handler a record goes through is log.py's.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from ..context import exchange_var

__all__ = ['JSONFormatter', 'read_sources', 'request_id', 'response_facts', 'utc_time']

# What stands in a log and in headers as it is, and is long enough for any usual kind of id.
_REQUEST_ID = r'[A-Za-z0-9._~:+/=@-]{1,128}'

# Networks by the text of the setting that names them: each is read once.
_sources: dict[Any, tuple[bool, bool, list[Any]]] = {}


def response_facts(exchange: Any) -> tuple[str, str]:
    """Give the status code sent and the Content-Length header of the response; '-' for what is not there."""
    response = exchange.response
    status = getattr(response, 'output_status', None)
    if isinstance(status, bytes):
        status = status.decode('latin-1')
    length = response.headers.get('Content-Length')
    return (status.partition(' ')[0] if status else '-'), ('-' if length is None or length == '' else str(length))


def utc_time(seconds: float) -> str:
    """Give a time as "2026-11-22T12:32:19.000001Z". SPEC: RFC 3339 5.6; one zone mark, "Z"."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return f'{time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))}.{micros:06d}Z'


# -- Request ids -------------------------------------------------------------------------------------------------------


def request_id(exchange: Any) -> str:
    """Give what names this request: X-Request-Id of a client that is trusted with that, else its `unique_id`.

    Who is trusted, says `request_id_from` of the log of the application, or of the site. It is the peer that counts,
    whomever it speaks for. An id of other than letters, digits and ._~:+/=@- or of more than 128 characters is none.
    """
    request = exchange.request
    trusted = getattr(getattr(exchange.app, 'log', None), 'request_id_from', None)
    if trusted is None:
        trusted = getattr(getattr(getattr(exchange, 'site', None), 'log', None), 'request_id_from', None)
    if trusted:
        sent = request.headers.get('X-Request-Id')
        if sent and re.fullmatch(_REQUEST_ID, sent) and _is_among(_peer(exchange), trusted):
            return str(sent)
    return str(request.unique_id)


def _peer(exchange: Any) -> str:
    # The tool `proxy` changes request.remote: the one who sends the header is at the other end of the connection.
    head = getattr(exchange, 'head', None)
    remote = getattr(head, 'remote', None) or exchange.request.remote
    return remote.ip or ''


def _is_among(address: str, trusted: Any) -> bool:
    key = trusted if isinstance(trusted, str) else tuple(trusted)
    everyone, over_unix, networks = _sources.get(key) or read_sources(key)
    if everyone:
        return True
    if not address:
        return over_unix
    from ipaddress import ip_address

    try:
        found: Any = ip_address(address)
    except ValueError:
        return False
    found = getattr(found, 'ipv4_mapped', None) or found
    return any(found.version == network.version and found in network for network in networks)


def read_sources(trusted: Any) -> tuple[bool, bool, list[Any]]:
    """Read addresses and networks into (whether '*' is among them, whether 'unix' is, networks).

    trusted: a text with commas, or a list. ValueError for what is no address, network or one of the two words.
    """
    from ipaddress import ip_network

    key = trusted if isinstance(trusted, str) else tuple(trusted)
    words = [word.strip() for word in (key.split(',') if isinstance(key, str) else key)]
    networks = [ip_network(word, strict=False) for word in words if word not in ('*', 'unix', '')]
    known = _sources[key] = ('*' in words, 'unix' in words, networks)
    return known


# -- JSON --------------------------------------------------------------------------------------------------------------


class JSONFormatter(logging.Formatter):
    """Gives each record as one JSON object on one line, in ASCII, whatever the record holds.

    Always there: time (UTC), level, logger, message. During a request: request_id, method, path, remote, and user
    where there is one. In an access log: status and bytes, null where unknown, and duration_ms, until the response's
    head was there, if the tool `cpstats` is on. Where there is one: context (of the error log), exception (the
    traceback). For handlers of one's own it needs no arguments; a QueueHandler has to have it itself, since it asks
    for the request that is being served.
    """

    def __init__(self) -> None:
        super().__init__()
        from json import JSONEncoder

        self._encode = JSONEncoder(default=str).encode

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = {
            'time': utc_time(record.created),
            'level': record.levelname,
            'logger': record.name,
        }
        parts = getattr(record, 'cp_parts', None)
        if parts is None:
            facts['message'] = record.getMessage()
        else:
            facts['message'], context = parts
            if context:
                facts['context'] = context
        exchange: Any = exchange_var.get()
        if exchange is not None and exchange.app is not None:
            facts.update(self._of_request(exchange))
            if 'access' in record.name.split('.'):
                status, length = response_facts(exchange)
                facts['status'] = int(status) if status.isdigit() else None
                facts['bytes'] = int(length) if length.isdigit() else None
                # What the tool `cpstats` began to count; nobody else asks for the time when a request begins.
                began = getattr(getattr(exchange, 'cpstats_record', None), 'began', None)
                if began is not None:
                    facts['duration_ms'] = round((time.perf_counter() - began) * 1000, 3)
        if record.exc_info:
            facts['exception'] = self.formatException(record.exc_info)
        elif record.exc_text:
            facts['exception'] = record.exc_text
        if record.stack_info:
            facts['stack'] = self.formatStack(record.stack_info)
        # SPEC: RFC 8259 8.2: a lone surrogate is no text to everybody. DEL is the one control that JSON lets stand.
        text = self._encode({name: _whole(value) for name, value in facts.items()})
        return text.replace('\x7f', '\\u007f')

    def _of_request(self, exchange: Any) -> dict[str, Any]:
        try:
            request = exchange.request
            facts = {
                'request_id': request_id(exchange),
                'method': request.method,
                'path': (request.script_name or '') + request.path_info,
                'remote': request.remote.ip,
            }
            if request.login:
                facts['user'] = str(request.login)
            return facts
        except Exception as exc:
            # A log that cannot say where a record comes from still says what it is.
            return {'request_error': f'{type(exc).__name__}: {exc}'}


def _whole(value: Any) -> Any:
    if isinstance(value, str) and not value.isascii():
        return value.encode('utf-8', 'backslashreplace').decode()
    return value
