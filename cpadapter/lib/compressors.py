"""Compressors of the content codings gzip, br and zstd, behind one interface. They know no response.

What a coding needs is imported when it is first asked for; br and zstd are extras of the package.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

__all__ = ['CODINGS', 'compress_whole', 'load_compressor', 'make_compressor']

CODINGS = ('gzip', 'br', 'zstd')


class _Compressor:
    """One body in the making: `feed` for each chunk, then `end`."""

    def feed(self, chunk: bytes, flushed: bool = False) -> bytes:
        """Give what is there to send after one more chunk. flushed: all of what went in can be read from it."""
        raise NotImplementedError

    def end(self) -> bytes:
        raise NotImplementedError


_HEAD = b'\x1f\x8b\x08\x00%b%c\xff'
_STRENGTHS = {9: 2, 1: 4}


class _Gzip(_Compressor):
    """A gzip member. SPEC: RFC 1952 2.3."""

    def __init__(self, level: int, size: int | None, zlib: Any) -> None:
        self._zlib = zlib
        self._crc = 0
        self._size = 0
        self._head = _HEAD % ((int(time.time()) & 0xFFFFFFFF).to_bytes(4, 'little'), _STRENGTHS.get(level, 0))
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)

    def feed(self, chunk: bytes, flushed: bool = False) -> bytes:
        zlib = self._zlib
        self._crc = zlib.crc32(chunk, self._crc)
        self._size += len(chunk)
        head, self._head = self._head, b''
        piece: bytes = head + self._deflate.compress(chunk)
        return piece + self._deflate.flush(zlib.Z_SYNC_FLUSH) if flushed else piece

    def end(self) -> bytes:
        tail = self._crc.to_bytes(4, 'little') + (self._size & 0xFFFFFFFF).to_bytes(4, 'little')
        last: bytes = self._head + self._deflate.flush() + tail
        return last


class _Brotli(_Compressor):
    """SPEC: RFC 7932."""

    def __init__(self, level: int, size: int | None, brotli: Any) -> None:
        bits = 22 if size is None else max(10, min(22, size.bit_length()))
        self._made = brotli.Compressor(quality=max(level, 0), lgwin=bits)

    def feed(self, chunk: bytes, flushed: bool = False) -> bytes:
        piece: bytes = self._made.process(chunk)
        return piece + self._made.flush() if flushed else piece

    def end(self) -> bytes:
        last: bytes = self._made.finish()
        return last


class _Zstd(_Compressor):
    """SPEC: RFC 8878; RFC 9659 bounds the window to 8 megabytes, which no level up to 9 exceeds."""

    def __init__(self, level: int, size: int | None, zstd: Any) -> None:
        self._made = zstd.ZstdCompressor(level=max(1, min(level, 9)))

    def feed(self, chunk: bytes, flushed: bool = False) -> bytes:
        made = self._made
        piece: bytes = made.compress(chunk, made.FLUSH_BLOCK if flushed else made.CONTINUE)
        return piece

    def end(self) -> bytes:
        last: bytes = self._made.flush()
        return last


# Coding -> (class, module); filled at first use.
_loaded: dict[str, tuple[Any, Any]] = {}


def load_compressor(coding: str) -> tuple[Any, Any]:
    """Import what a coding needs; ImportError names the extra to install."""
    found = _loaded.get(coding)
    if found is None:
        if coding == 'gzip':
            found = (_Gzip, import_module('zlib'))
        elif coding == 'br':
            found = (_Brotli, _import_one_of('brotli', extra='brotli'))
        else:
            # The standard library has it since Python 3.14; the other is the same code for older ones.
            found = (_Zstd, _import_one_of('compression.zstd', 'backports.zstd', extra='zstd'))
        _loaded[coding] = found
    return found


def _import_one_of(*names: str, extra: str) -> Any:
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise ImportError(f'This content coding needs the extra cpadapter[{extra}].')


def make_compressor(coding: str, level: int, size: int | None = None) -> _Compressor:
    """Give a compressor. coding: of CODINGS. level: 0 to 9, or -1 for the library's choice. size: of all, if known."""
    cls, module = load_compressor(coding)
    made: _Compressor = cls(level, size, module)
    return made


def compress_whole(data: bytes, coding: str, level: int) -> bytes:
    """Compress a body that is there as a whole; the same one always gives the same bytes. Arguments as above."""
    size = len(data)
    if coding != 'gzip':
        made = make_compressor(coding, level, size)
        return made.feed(data) + made.end()
    zlib = load_compressor('gzip')[1]
    if size > 16384:
        deflate = zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    else:
        # PERF: a window and tables that just hold the body: 9 microseconds for 1.5 kB. The usual quarter of a megabyte,
        # which the C library may take from the system and give back each time, makes that up to 55.
        bits = max(size.bit_length(), 9)
        deflate = zlib.compressobj(level, zlib.DEFLATED, 16 + bits, min(bits - 6, 8))
    packed: bytes = deflate.compress(data) + deflate.flush()
    return packed
