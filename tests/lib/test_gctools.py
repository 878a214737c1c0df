"""gctools: what is alive, and who holds it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cpadapter
from cpadapter.lib import gctools


class Thing:
    pass


def test_instances_are_those_of_the_class_and_its_subclasses():
    class Other(Thing):
        pass

    one, two = Thing(), Other()
    found = gctools.get_instances(Thing)
    assert any(item is one for item in found)
    assert any(item is two for item in found)
    assert all(isinstance(item, Thing) for item in found)


def test_the_tree_names_the_referrers():
    thing = Thing()
    holder = {'holds': thing}
    outer = [holder]
    tree = gctools.ReferrerTree(maxdepth=2)
    found = tree.ascend(thing)
    assert any(parent is holder for parent, _ in found)
    above = next(grandparents for parent, grandparents in found if parent is holder)
    assert any(parent is outer for parent, _ in above)
    text = '\n'.join(tree.format(found))
    assert '    dict ' in text
    assert '        list ' in text


def test_the_search_is_not_among_what_it_finds():
    thing = Thing()
    found = gctools.ReferrerTree(maxdepth=3).ascend(thing)
    assert [parent for parent, _ in found if type(parent).__name__ != 'frame'] == []


def test_what_is_to_be_ignored_is():
    thing = Thing()
    holder = [thing]
    found = gctools.ReferrerTree(ignore=[holder]).ascend(thing)
    assert not any(parent is holder for parent, _ in found)


def test_many_referrers_are_counted_and_not_followed():
    thing = Thing()
    holders = [[thing] for _ in range(30)]
    tree = gctools.ReferrerTree()
    lines = tree.format(tree.ascend(thing))
    assert len(lines) == 1
    assert 'referrers]' in lines[0]
    assert holders


def test_text_is_shortened_in_the_middle():
    assert gctools.ReferrerTree().peek('x' * 100) == 'x' * 20 + '...' + 'x' * 20
    assert gctools.ReferrerTree().peek('short') == 'short'


def test_a_failing_repr_is_no_failure():
    class Bad:
        def __repr__(self):
            raise ValueError('no')

    assert gctools.ReferrerTree().format([(Bad(), [])]) == [
        '    ' + gctools.ReferrerTree().peek('Bad repr failed: ValueError')
    ]


def test_context_says_which_request(client, handler):
    class Root:
        @handler
        def index(self):
            request = gctools.get_context(cpadapter.serving.request)
            return f'{request} {gctools.get_context(cpadapter.serving.response)}'

    client.mount(Root())
    assert client.get('/').text == 'path=/;stage=handler status=None'
    assert gctools.get_context(3) == ''
    assert __file__ in gctools.get_context(sys._getframe())


def test_the_counter_counts_what_the_engine_tells():
    site = cpadapter.Site('counted')
    counter = gctools.RequestCounter(site.engine)
    counter.subscribe()
    for channel, count in (('before_request', 1), ('before_request', 2), ('after_request', 1), ('start', 0)):
        site.engine.publish(channel)
        assert counter.count == count
    counter.unsubscribe()
    site.engine.publish('before_request')
    assert counter.count == 0
    site.engine.exit()


PROGRAM = """
import cpadapter
from cpadapter.context import current
from cpadapter.lib import gctools
from werkzeug.test import Client

kept = []

class Root:
    @cpadapter.expose
    def index(self):
        return 'x'

    @cpadapter.expose
    def keeps(self):
        kept.append(current())
        return 'kept'

cpadapter.config.update({'checker.on': False})
cpadapter.tree.mount(gctools.GCRoot(), '/gc')
client = Client(cpadapter.tree.mount(Root()).site.tree.wsgi)

def get(target):
    return client.get(target, buffered=True).text

assert get('/gc/') == 'Hello, world!'
for target in ('/', '/nowhere', '/?a=1'):
    get(target)
print(get('/gc/stats'))
get('/keeps')
print(get('/gc/stats'))
assert gctools.request_counter.count == 0, gctools.request_counter.count
"""


@pytest.fixture(scope='module')
def printed():
    done = subprocess.run(
        [sys.executable, '-W', 'error', '-c', PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_where_nothing_leaks_there_is_nothing_to_say(printed):
    assert printed[0] == 'Statistics:'
    assert printed[1] == 'Statistics:'


def test_an_exchange_that_is_kept_is_named_with_who_keeps_it(printed):
    assert printed[2].startswith('An exchange outlives its end: path=/keeps;stage=close')
    assert any('list' in line for line in printed[3:])
