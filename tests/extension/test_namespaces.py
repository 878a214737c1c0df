"""Namespaces: who is handed which config entries, and what setting attributes leaves to undo."""

import pytest

from cpadapter.changes import changes
from cpadapter.extension import namespaces
from cpadapter.extension.namespaces import AttributeNamespace, NamespaceSet, WatchedDict, add_config


@pytest.fixture
def counted():
    """Say by how much the count of changes rose since the last call."""
    last = [changes.count]

    def rose():
        last[0], before = changes.count, last[0]
        return last[0] - before

    return rose


class Entered:
    def __init__(self, calls, swallow=False):
        self.calls = calls
        self.swallow = swallow

    def __enter__(self):
        self.calls.append('enter')
        return lambda k, v: self.calls.append((k, v))

    def __exit__(self, *exc_info):
        self.calls.append(exc_info[0])
        return self.swallow


# ---------------------------------------------------------------- WatchedDict


@pytest.mark.parametrize(
    'change',
    [
        lambda d: d.__setitem__('a', 2),
        lambda d: d.__setitem__('a', True),
        lambda d: d.__setitem__('a', 1.0),
        lambda d: d.__setitem__('l', d['l']),
        lambda d: d.__delitem__('a'),
        lambda d: d.pop('a'),
        lambda d: d.popitem(),
        lambda d: d.clear(),
        lambda d: d.setdefault('b', 1),
        lambda d: d.update({'a': 2, 'b': 3}),
        lambda d: d.update(a=2),
        lambda d: d.__ior__({'a': 2}),
    ],
)
def test_every_change_is_counted_once(change, counted):
    watched = WatchedDict({'a': 1, 'l': [], 't': ('x', 1)})
    counted()
    change(watched)
    assert counted() == 1


def test_what_changes_nothing_is_not_counted(counted):
    handler = object()
    watched = WatchedDict({'a': 1, 't': ('x', 1), 'f': handler})
    counted()
    watched['a'] = 1
    watched['t'] = ('x', 1)
    watched['f'] = handler
    watched.update({'a': 1})
    watched.setdefault('a', 5)
    assert watched.pop('missing', 7) == 7
    with pytest.raises(KeyError):
        watched.pop('missing')
    with pytest.raises(KeyError):
        del watched['missing']
    assert counted() == 0


def test_change_is_counted_after_it_is_visible(monkeypatch):
    watched = WatchedDict()
    seen = []
    monkeypatch.setattr(namespaces, 'changed', lambda: seen.append(dict(watched)))
    watched['a'] = 1
    del watched['a']
    assert seen == [{'a': 1}, {}]


def test_reading_is_reading_a_plain_dict():
    for name in ('__getitem__', 'get', '__contains__', '__iter__', 'items', 'copy'):
        assert getattr(WatchedDict, name) is getattr(dict, name)
    assert type(WatchedDict(a=1).copy()) is dict


# ---------------------------------------------------------------- NamespaceSet


def test_entries_go_to_their_namespace_in_order():
    calls = []
    spaces = NamespaceSet()
    spaces['b'] = lambda k, v: calls.append(('b', k, v))
    spaces['a'] = lambda k, v: calls.append(('a', k, v))
    spaces({'a.x': 1, 'b.y.z': 2, 'a.w': 3, 'plain': 4, 'c.d': 5, 6: 7})
    assert calls == [('b', 'y.z', 2), ('a', 'x', 1), ('a', 'w', 3)]


def test_context_manager_is_entered_with_and_without_entries():
    calls = []
    spaces = NamespaceSet(a=Entered(calls))
    spaces({'a.x': 1})
    spaces({})
    assert calls == ['enter', ('x', 1), None, 'enter', None]


@pytest.mark.parametrize('swallow', [True, False])
def test_context_manager_may_swallow_an_exception(swallow):
    calls = []

    class Failing(Entered):
        def __enter__(self):
            return lambda k, v: 1 / 0

    later = []
    spaces = NamespaceSet(a=Failing(calls, swallow), b=lambda k, v: later.append(k))
    if swallow:
        spaces({'a.x': 1, 'b.y': 1})
        assert later == ['y']
    else:
        with pytest.raises(ZeroDivisionError):
            spaces({'a.x': 1})
    assert calls == [ZeroDivisionError]


async def nobody_awaits(key, value):
    raise AssertionError


class AsyncInside(Entered):
    def __enter__(self):
        return nobody_awaits


@pytest.mark.parametrize('box', [nobody_awaits, AsyncInside([])], ids=['callable', 'context manager'])
def test_an_async_handler_is_refused(client, box):
    refusal = "The handler of the config namespace 'mine' has to be a plain callable, not an async one."
    with pytest.raises(TypeError, match=refusal):
        NamespaceSet(mine=box)({'mine.x': 1})
    client.mount(None, config={'/': {'mine.x': 1}}).toolboxes['mine'] = box
    assert client.get('/').status == 500
    assert refusal in ''.join(client.errors)


def test_handler_may_register_another_namespace():
    spaces = NamespaceSet()
    spaces['a'] = lambda k, v: spaces.__setitem__('b', v)
    spaces({'a.x': len})
    assert spaces['b'] is len


def test_copy_is_independent():
    class Mine(NamespaceSet):
        pass

    spaces = Mine(a=len)
    copy = spaces.copy()
    copy['b'] = len
    assert type(copy) is Mine
    assert list(spaces) == ['a']


def test_registering_a_handler_is_counted(counted):
    spaces = NamespaceSet()
    counted()
    spaces['a'] = len
    assert counted() == 1


# ---------------------------------------------------------------- AttributeNamespace


class Server:
    port = 8080

    def __init__(self):
        self.host = '127.0.0.1'
        self._screen = False

    @property
    def screen(self):
        return self._screen

    @screen.setter
    def screen(self, value):
        self._screen = bool(value)


def test_attributes_are_set_and_put_back():
    server = Server()
    space = AttributeNamespace(lambda: server)
    spaces = NamespaceSet(server=space)
    spaces({'server.port': 80, 'server.host': 'x', 'server.screen': 1, 'server.new': 5, 'server.a.b': 6})
    spaces({'server.port': 81})
    assert (server.port, server.host, server.screen, server.new) == (81, 'x', True, 5)
    assert vars(server)['a.b'] == 6
    spaces.restore()
    assert vars(server) == {'host': '127.0.0.1', '_screen': False}
    assert server.port == 8080
    spaces.restore()


def test_attribute_that_code_has_set_since_stays():
    server = Server()
    space = AttributeNamespace(lambda: server)
    space('port', 80)
    server.port = 90
    space.restore()
    assert server.port == 90
    space('port', 80)
    server.port = 91
    space('port', 82)
    space.restore()
    assert server.port == 91


def test_attribute_that_code_has_deleted_since_stays_so():
    server = Server()
    space = AttributeNamespace(lambda: server)
    space('new', 1)
    del server.new
    space.restore()
    assert not hasattr(server, 'new')


def test_each_owner_gets_its_own_value_back():
    owners = [Server(), Server()]
    first, second = owners
    space = AttributeNamespace(lambda: owners[0])
    space('host', 'a')
    owners.reverse()
    space('host', 'b')
    assert (first.host, second.host) == ('a', 'b')
    space.restore()
    assert (first.host, second.host) == ('127.0.0.1', '127.0.0.1')


# ---------------------------------------------------------------- add_config


def test_config_of_a_subclass_does_not_reach_its_base(counted):
    class Base:
        _cp_config = {'a': 1}

    class Sub(Base):
        pass

    counted()
    assert add_config(Sub, {'b': 2}) is Sub
    assert counted() == 1
    assert Sub._cp_config == {'a': 1, 'b': 2}
    assert Base._cp_config == {'a': 1}


def test_config_is_kept_by_the_function_inside_a_static_method():
    class Root:
        @staticmethod
        def page():
            pass

    add_config(vars(Root)['page'], {'a': 1})
    assert Root.page._cp_config == {'a': 1}


def test_config_of_what_takes_no_attributes_raises():
    with pytest.raises(AttributeError):
        add_config(5, {'a': 1})
