"""The store of the `caching` tool: its bounds, its accounts, and who waits in it."""

from __future__ import annotations

import pickle
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cpadapter
from cpadapter.context import exchange_var
from cpadapter.lib.cachestore import AntiStampedeCache, MemoryCache, Stored


class Clock:
    """The store's clock, moved by the test."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class FakeHead(dict):
    segments = None
    query = ''
    native = {}


class FakeExchange:
    """As much of an exchange as the store reads: current within a `with` block."""

    def __init__(self, path, headers=()):
        self.head = FakeHead(headers)
        self.script_name, self.path_info = '', path
        self.request = cpadapter.Request()
        self.request.base = 'http://h'

    def __enter__(self):
        self.token = exchange_var.set(self)

    def __exit__(self, *exc):
        exchange_var.reset(self.token)


class Shop:
    """A store, its clock, and calls of it by path and request headers."""

    def __init__(self, **limits):
        self.cache = MemoryCache()
        self.clock = self.cache.clock = Clock()
        vars(self.cache).update(limits)

    def put(self, path, size=6, vary='', headers=()):
        with FakeExchange(path, headers):
            self.cache.put(('200 OK', {'Vary': vary}, b'x' * size, 0.0), size)

    def has(self, path, headers=()):
        exchange = FakeExchange(path, headers)
        with exchange:
            found = self.cache.find(exchange, f'http://h{path}')
            assert found is self.cache.get()
        return found is not None

    def check(self):
        """Check that the accounts are right and the bounds kept."""
        cache = self.cache
        sizes = cache._sizes
        assert set(sizes) == {(uri, key) for uri, table in cache.store.items() for key in table}
        assert cache.cursize == sum(sizes.values())
        assert cache.cursize <= cache.maxsize
        assert len(sizes) <= cache.maxobjects
        assert all(table or table.marks for table in cache.store.values())
        assert len(cache._expiring) <= 2 * len(sizes) + 101


class TestMemoryCache:
    def test_the_least_recently_used_goes_first(self):
        shop = Shop(maxobjects=2)
        shop.put('/a')
        shop.put('/b')
        assert shop.has('/a')
        shop.put('/c')
        assert [shop.has(path) for path in ('/a', '/b', '/c')] == [True, False, True]

    def test_a_store_never_stops_storing(self):
        shop = Shop(maxobjects=5, maxsize=3000)
        for n in range(50):
            shop.put(f'/{n}', 500)
            assert shop.has(f'/{n}')
        shop.check()

    def test_variants_count_as_objects_too(self):
        shop = Shop(maxobjects=3)
        for n in range(20):
            shop.put('/x', vary='X-A', headers={'x-a': str(n)})
        assert sum(map(len, shop.cache.store.values())) == 3
        shop.check()

    @pytest.mark.parametrize('size', [99, 100])
    def test_a_body_below_the_limit_is_stored(self, size):
        shop = Shop(maxobj_size=100)
        shop.put('/x', size)
        assert shop.has('/x') is (size < 100)

    def test_long_keys_count(self):
        shop = Shop(maxsize=2000)
        shop.put('/x', vary='X-A', headers={'x-a': 'x' * 3000})
        assert (shop.cache.cursize, shop.cache.store) == (0, {})

    @pytest.mark.parametrize('vary', ['*', 'X-A, *', ', '.join(f'X-{n}' for n in range(100))])
    def test_what_varies_by_all_or_by_too_much_is_not_stored(self, vary):
        shop = Shop()
        shop.put('/x', vary=vary)
        assert not shop.has('/x')

    def test_what_has_expired_is_removed_when_something_is_stored(self):
        shop = Shop()
        for n in range(10):
            shop.put(f'/{n}')
        shop.clock.now += 601
        shop.put('/y')
        assert (len(shop.cache.store), shop.cache.tot_expires) == (1, 10)
        shop.check()

    def test_expire_cache_removes_what_has_expired(self):
        shop = Shop()
        shop.put('/x')
        shop.cache.expire_cache()
        assert len(shop.cache.store) == 1
        shop.clock.now += 601
        shop.cache.expire_cache()
        assert (shop.cache.store, shop.cache.cursize) == ({}, 0)

    def test_a_uris_table_may_be_cleared_by_hand(self):
        shop = Shop()
        shop.put('/x')
        shop.cache.store['http://h/x'].clear()
        assert shop.cache.cursize == 0
        assert not shop.has('/x')

    def test_clear_removes_everything(self):
        shop = Shop()
        shop.put('/x')
        shop.cache.clear()
        shop.check()
        assert not shop.has('/x')

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(['put', 'delete', 'find', 'clear', 'pass', 'expire']),
                st.integers(0, 5),
                st.sampled_from(['', 'A', 'A, B']),
                st.integers(1, 400),
            ),
            max_size=40,
        )
    )
    def test_bytes_are_accounted_for_exactly(self, calls):
        shop = Shop(maxsize=1500, maxobjects=4, antistampede_timeout=None)
        cache = shop.cache
        for what, n, vary, size in calls:
            path, headers = f'/{n}', {'a': str(size % 3), 'b': str(size % 2)}
            if what == 'put':
                shop.put(path, size, vary, headers)
            elif what == 'delete':
                with FakeExchange(path):
                    cache.delete()
            elif what == 'find':
                shop.has(path, headers)
            elif what == 'clear':
                cache.store.get(f'http://h{path}', AntiStampedeCache()).clear()
            elif what == 'pass':
                shop.clock.now += 200
            else:
                cache.expire_cache()
            shop.check()


class TestStored:
    def test_its_headers_say_how_old_and_how_fresh_it_is(self):
        stored = Stored.judge(('200 OK', {'Age': '5', 'Cache-Control': 'max-age=10'}, b'', 0.0), 600, 1000.0)
        assert (stored.age, stored.lifetime, stored.directives) == (5, 10, {'max-age': '10'})
        assert stored.age_by(1002.5) == 7.5
        # A clock that was set back makes nothing younger than it came.
        assert stored.age_by(900.0) == 5
        assert stored.useless_at == 1005.0

    def test_a_stale_copy_may_be_of_use_for_longer(self):
        stored = Stored.judge(('200 OK', {'Cache-Control': 'max-age=10, stale-if-error=60'}, b'', 0.0), 600, 1000.0)
        assert stored.useless_at == 1070.0

    def test_elsewhere_it_is_a_plain_tuple(self):
        stored = Stored.judge(('200 OK', {}, b'x', 0.0), 600, 1000.0)
        assert type(pickle.loads(pickle.dumps(stored))) is tuple


class TestAntiStampedeCache:
    def test_whoever_finds_nothing_leaves_a_mark_and_wakes_those_who_wait(self):
        table = AntiStampedeCache()
        assert table.wait('k') is None
        answers = []
        waiter = threading.Thread(target=lambda: answers.append(table.wait('k')))
        waiter.start()
        for _ in range(400):
            if table.marks['k']._waiters:
                break
            threading.Event().wait(0.005)
        table['k'] = 'value'
        waiter.join(15)
        assert answers == ['value']
        assert table.wait('k') == 'value'

    def test_waiting_ends(self):
        table = AntiStampedeCache()
        assert table.wait('k') is None
        assert table.wait('k', timeout=0.01) is None
        assert table.wait('k', timeout=None) is None

    def test_a_removed_value_is_gone(self):
        table = AntiStampedeCache()
        table['k'] = 1
        assert table.pop('k') == 1
        assert table.pop('k', None) is None
        table['k'] = 1
        del table['k']
        table['k'] = 1
        table.clear()
        assert table == {}
