"""Status codes: the table of reasons and default messages, and reading what an application gave as a status.

It knows nothing of responses; an illegal status is a ValueError whose text the caller passes on.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ['response_codes', 'status_line', 'valid_status']

# COMPAT: the wording is that of Python 3.11's HTTP server with CherryPy's own 500 and 503. It is a table of our
# own because newer Python versions rename 413, 414, 416 and 422, and applications compare these texts.
response_codes: dict[int, tuple[str, str]] = {
    100: ('Continue', 'Request received, please continue'),
    101: ('Switching Protocols', 'Switching to new protocol; obey Upgrade header'),
    102: ('Processing', ''),
    103: ('Early Hints', ''),
    200: ('OK', 'Request fulfilled, document follows'),
    201: ('Created', 'Document created, URL follows'),
    202: ('Accepted', 'Request accepted, processing continues off-line'),
    203: ('Non-Authoritative Information', 'Request fulfilled from cache'),
    204: ('No Content', 'Request fulfilled, nothing follows'),
    205: ('Reset Content', 'Clear input form for further input'),
    206: ('Partial Content', 'Partial content follows'),
    207: ('Multi-Status', ''),
    208: ('Already Reported', ''),
    226: ('IM Used', ''),
    300: ('Multiple Choices', 'Object has several resources -- see URI list'),
    301: ('Moved Permanently', 'Object moved permanently -- see URI list'),
    302: ('Found', 'Object moved temporarily -- see URI list'),
    303: ('See Other', 'Object moved -- see Method and URL list'),
    304: ('Not Modified', 'Document has not changed since given time'),
    305: ('Use Proxy', 'You must use proxy specified in Location to access this resource'),
    307: ('Temporary Redirect', 'Object moved temporarily -- see URI list'),
    308: ('Permanent Redirect', 'Object moved permanently -- see URI list'),
    400: ('Bad Request', 'Bad request syntax or unsupported method'),
    401: ('Unauthorized', 'No permission -- see authorization schemes'),
    402: ('Payment Required', 'No payment -- see charging schemes'),
    403: ('Forbidden', 'Request forbidden -- authorization will not help'),
    404: ('Not Found', 'Nothing matches the given URI'),
    405: ('Method Not Allowed', 'Specified method is invalid for this resource'),
    406: ('Not Acceptable', 'URI not available in preferred format'),
    407: ('Proxy Authentication Required', 'You must authenticate with this proxy before proceeding'),
    408: ('Request Timeout', 'Request timed out; try again later'),
    409: ('Conflict', 'Request conflict'),
    410: ('Gone', 'URI no longer exists and has been permanently removed'),
    411: ('Length Required', 'Client must specify Content-Length'),
    412: ('Precondition Failed', 'Precondition in headers is false'),
    413: ('Request Entity Too Large', 'Entity is too large'),
    414: ('Request-URI Too Long', 'URI is too long'),
    415: ('Unsupported Media Type', 'Entity body in unsupported format'),
    416: ('Requested Range Not Satisfiable', 'Cannot satisfy request range'),
    417: ('Expectation Failed', 'Expect condition could not be satisfied'),
    418: ("I'm a Teapot", 'Server refuses to brew coffee because it is a teapot.'),
    421: ('Misdirected Request', 'Server is not able to produce a response'),
    422: ('Unprocessable Entity', ''),
    423: ('Locked', ''),
    424: ('Failed Dependency', ''),
    425: ('Too Early', ''),
    426: ('Upgrade Required', ''),
    428: ('Precondition Required', 'The origin server requires the request to be conditional'),
    429: (
        'Too Many Requests',
        'The user has sent too many requests in a given amount of time ("rate limiting")',
    ),
    431: (
        'Request Header Fields Too Large',
        'The server is unwilling to process the request because its header fields are too large',
    ),
    451: (
        'Unavailable For Legal Reasons',
        'The server is denying access to the resource as a consequence of a legal demand',
    ),
    500: (
        'Internal Server Error',
        'The server encountered an unexpected condition which prevented it from fulfilling the request.',
    ),
    501: ('Not Implemented', 'Server does not support this operation'),
    502: ('Bad Gateway', 'Invalid responses from another server/proxy'),
    503: (
        'Service Unavailable',
        (
            'The server is currently unable to handle the request due to a temporary overloading or maintenance '
            'of the server.'
        ),
    ),
    504: ('Gateway Timeout', 'The gateway server did not receive a timely response'),
    505: ('HTTP Version Not Supported', 'Cannot fulfill request'),
    506: ('Variant Also Negotiates', ''),
    507: ('Insufficient Storage', ''),
    508: ('Loop Detected', ''),
    510: ('Not Extended', ''),
    511: ('Network Authentication Required', 'The client needs to authenticate to gain network access'),
}

_DIGITS = re.compile(r'-?[0-9]{1,9}')


def valid_status(status: Any) -> tuple[int, str, str]:
    """Read a status as an application gives it; return (code, reason, default message).

    status: None, '' or 0 (200), an int or HTTPStatus, a float (truncated), '201', '201 Reason', or bytes of
    digits. The reason is the text given, else the table's, else ''; control characters are left out of it,
    since it becomes part of a line of the response.
    Raises ValueError for anything else, and for a code outside 100 to 599.
    """
    if type(status) is int and 100 <= status <= 599 and status in response_codes:
        return (status, *response_codes[status])
    if not status:
        status = 200
    reason = None
    if isinstance(status, int):
        code = int(status)
    elif isinstance(status, float):
        try:
            code = int(status)
        except (OverflowError, ValueError):
            raise _non_numeric(status) from None
    else:
        text = status
        if isinstance(text, bytes):
            text = text.decode('latin-1')
        elif isinstance(text, str):
            text, space, rest = text.partition(' ')
            if space:
                if not rest.isprintable():
                    rest = re.sub('[\x00-\x1f\x7f-\x9f\u2028\u2029]', '', rest)
                reason = rest.strip() or None
        else:
            raise _non_numeric(status)
        if not _DIGITS.fullmatch(text):
            raise _non_numeric(status if isinstance(status, bytes) else text)
        code = int(text)
    if not 100 <= code <= 599:
        raise ValueError(f'Illegal response status from server ({code} is out of range).')
    default_reason, message = response_codes.get(code, ('', ''))
    return code, default_reason if reason is None else reason, message


def _non_numeric(status: object) -> ValueError:
    return ValueError(f'Illegal response status from server ({status!r} is non-numeric).')


_LINES = {code: f'{code} {reason}' for code, (reason, message) in response_codes.items()}


def status_line(code: int) -> str:
    """Give "code reason" for a code; the reason is empty, with its space kept, where the table has none."""
    return _LINES.get(code) or f'{int(code)} '
