"""Which content coding a client is sent."""

from __future__ import annotations

import pytest

from cpadapter.protocol.codings import choose_coding
from cpadapter.protocol.headers import BadHeaderValue

ALL = ('zstd', 'br', 'gzip')


@pytest.mark.parametrize(
    ('field', 'offered', 'chosen'),
    [
        (None, ALL, 'identity'),
        ('', ALL, 'identity'),
        ('gzip, deflate, br', ALL, 'br'),
        ('gzip, deflate, br, zstd', ALL, 'zstd'),
        ('gzip;q=0.9, br;q=0.9', ALL, 'br'),
        ('gzip, br;q=0.9', ALL, 'gzip'),
        ('x-gzip', ALL, 'gzip'),
        ('GZIP', ALL, 'gzip'),
        ('*', ALL, 'zstd'),
        ('*', ('gzip',), 'gzip'),
        ('gzip, *;q=0', ALL, 'gzip'),
        ('deflate', ALL, 'identity'),
        ('identity', ALL, 'identity'),
        ('identity, gzip;q=0.5', ALL, 'identity'),
        ('identity;q=0.5, gzip;q=0.5', ALL, 'gzip'),
        ('identity;q=0, br', ALL, 'br'),
        ('identity;q=0', ALL, None),
        ('*;q=0', ALL, None),
        ('deflate, *;q=0', ALL, None),
        ('*;q=0, identity', ALL, 'identity'),
        ('gzip', (), 'identity'),
    ],
)
def test_weights_come_first_and_then_the_servers_order(field, offered, chosen):
    assert choose_coding(field, offered) == chosen
    assert choose_coding(field, offered) == chosen


def test_a_weight_that_is_no_number_is_an_error_each_time():
    for _ in range(2):
        with pytest.raises(BadHeaderValue):
            choose_coding('gzip;q=x, br', ALL)


def test_long_and_many_fields_are_not_kept():
    from cpadapter.protocol import codings

    for number in range(1500):
        choose_coding(f'a{number}', ALL)
    choose_coding('b' * 300, ALL)
    assert len(codings._chosen) <= 1000
    assert not any(len(field) > 200 for field, _ in codings._chosen)
