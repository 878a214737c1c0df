"""What a program shares with systemd: sockets that were opened for it, and word of its start and its end.

Both are a few lines of environment and one datagram; where the environment says nothing, nothing is done. It knows
the engine and addresses, no server. Source: systemd, sd_listen_fds(3) and sd_notify(3).
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from ..core.engine import StartRefused, states

if TYPE_CHECKING:
    import socket

    from ..core.engine import Engine
    from ..core.server import Address

__all__ = ['FIRST_DESCRIPTOR', 'Notifier', 'follow', 'inherited_socket', 'notify']

FIRST_DESCRIPTOR = 3

# Descriptors by who serves on them, so that a second server of this process gets another one.
_taken: dict[int, object] = {}


def inherited_socket(address: Address, owner: object = None) -> socket.socket | None:
    """Give the socket that was opened for this process and fits `address`, bound and listening; None if there is none.

    Of several it is the one bound to `address`; else the first that no other `owner` has. It is a copy: the original
    stays open, so that a server that starts again finds it, and no connection is refused meanwhile.
    Raises StartRefused where what was passed on is no listening stream socket.
    """
    if os.environ.get('LISTEN_PID') != str(os.getpid()):
        return None
    try:
        count = int(os.environ.get('LISTEN_FDS', ''))
    except ValueError:
        return None
    found = range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + count)
    free = [number for number in found if _taken.get(number, owner) is owner]
    if not free:
        return None
    sockets = {number: _copy(number) for number in free}
    number = next((number for number in free if _is_bound_to(sockets[number], address)), free[0])
    for other in free:
        if other != number:
            sockets[other].close()
    if owner is not None:
        _taken[number] = owner
    return sockets[number]


def _copy(number: int) -> socket.socket:
    import socket
    import stat

    problem = 'it is no socket'
    try:
        if stat.S_ISSOCK(os.fstat(number).st_mode):
            sock = socket.socket(fileno=os.dup(number))
            if sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return sock
            sock.close()
            problem = 'it is no listening stream socket: use ListenStream= and Accept=no'
    except OSError as exc:
        problem = exc.strerror or str(exc)
    raise StartRefused(f'Descriptor {number}, passed on by LISTEN_FDS, cannot be served on: {problem}.')


def _is_bound_to(sock: socket.socket, address: Address) -> bool:
    name = sock.getsockname()
    if isinstance(address, str) or not isinstance(name, tuple):
        return bool(name == address)
    return (name[0], name[1]) == (address[0], address[1])


def notify(*lines: str) -> bool:
    """Send lines such as 'READY=1' to the service manager; say whether there is one. Raises OSError if it fails."""
    path = os.environ.get('NOTIFY_SOCKET', '')
    if path[:1] not in ('/', '@'):
        return False
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        # It is of the kernel's own names where it begins with @.
        sock.connect('\0' + path[1:] if path[0] == '@' else path)
        sock.sendall('\n'.join(lines).encode())
    return True


class Notifier:
    """Tells the service manager when the engine of a process of our own has started, and when it stops."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def subscribe(self) -> None:
        """Follow the engine: last of those that start, first of those that stop."""
        self._engine.subscribe('start', self.start, 100)
        self._engine.subscribe('stop', self.stop, 0)

    def start(self) -> None:
        """Say READY=1 once the engine is STARTED: other listeners may still fail, and it then never is."""
        # A server with workers, and a host, speak for their processes themselves.
        if not self._engine.hosted:
            threading.Thread(target=self._tell_started, name='Service notifier', daemon=True).start()

    def stop(self) -> None:
        """Say STOPPING=1; or RELOADING=1 where the program begins anew in this process."""
        if self._engine.hosted:
            return
        if self._engine.execv:
            self._send('RELOADING=1', f'MONOTONIC_USEC={time.monotonic_ns() // 1000}')
        else:
            self._send('STOPPING=1')

    def _tell_started(self) -> None:
        while self._engine.state is states.STARTING:
            time.sleep(0.01)
        if self._engine.state is states.STARTED:
            self._send('READY=1', f'MAINPID={os.getpid()}')

    def _send(self, *lines: str) -> None:
        try:
            notify(*lines)
        except OSError as exc:
            self._engine.log(f'{lines[0]} could not be sent to NOTIFY_SOCKET: {exc}', level=30)


def follow(engine: Engine) -> None:
    """Let an engine tell the service manager of this process, if there is one, how it does."""
    if os.environ.get('NOTIFY_SOCKET'):
        Notifier(engine).subscribe()
