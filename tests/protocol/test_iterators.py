"""A streamed body is counted against the length it was announced with."""

from __future__ import annotations

import pytest

from cpadapter.protocol.iterators import CountedBody, count_body


@pytest.mark.parametrize('chunks', [[], [b''], [b'abc', b'', b'de'], ['abc', bytearray(b'de')]])
def test_a_body_of_the_announced_length_passes_as_bytes(chunks):
    length = sum(len(chunk) for chunk in chunks)
    assert b''.join(CountedBody(length).check(iter(chunks))) == b'abcde'[:length]


def test_what_exceeds_the_length_is_not_given():
    given = []
    with pytest.raises(RuntimeError, match='longer than its Content-Length of 4'):
        given.extend(CountedBody(4).check(iter([b'abc', b'de'])))
    assert given == [b'abc']


def test_a_body_that_ends_early_is_an_error_once_all_was_given():
    given = []
    with pytest.raises(RuntimeError, match='2 bytes short of its Content-Length of 5'):
        given.extend(CountedBody(5).check(iter([b'abc'])))
    assert given == [b'abc']


@pytest.mark.parametrize(
    ('headers', 'length'),
    [
        ([('Content-Length', '12')], 12),
        ([('Content-Type', 'a/b'), ('content-length', '0')], 0),
        ([('Content-Type', 'a/b')], None),
        ([('Content-Length', '-1')], None),
        ([('Content-Length', '')], None),
        ([], None),
    ],
)
def test_only_a_named_length_is_counted(headers, length):
    counted = count_body(headers)
    assert (None if counted is None else counted.length) == length
