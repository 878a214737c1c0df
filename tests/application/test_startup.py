"""quickstart, wsgi_app and asgi_app over a site that serves nothing; real programs are in server_adapters."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from cpadapter.application.startup import asgi_app, quickstart, wsgi_app
from cpadapter.core import server as server_module
from cpadapter.core.engine import Engine, StartRefused
from cpadapter.core.server import Server
from cpadapter.process.plugins import equip


class FakeConfig(dict):
    on_file = None


class FakeTree:
    """Remembers what was mounted."""

    wsgi = 'the WSGI callable'
    asgi = 'the ASGI callable'

    def __init__(self):
        self.apps = {}
        self.mounted = []

    def mount(self, root, script_name='', config=None):
        self.apps[script_name] = root
        self.mounted.append((root, script_name, config))


class Launched:
    address = ('127.0.0.1', 4711)
    alive = True

    def wait(self):
        pass

    def stop(self):
        self.alive = False


@pytest.fixture
def site(monkeypatch):
    """A site whose server is launched into nothing and whose program ends at the first tick of block()."""
    monkeypatch.setattr(server_module, 'launchers', [lambda server: Launched()])
    engine = Engine()
    tree = FakeTree()
    site = SimpleNamespace(
        config=FakeConfig(), engine=engine, tree=tree, server=Server(engine, lambda: tree), log=SimpleNamespace()
    )
    site.lines = []
    engine.subscribe('log', lambda msg, level: site.lines.append(msg))
    equip(engine)
    engine.signals.handlers.clear()
    site.server.subscribe()
    engine.subscribe('main', engine.exit)
    yield site
    engine.exit()


def test_quickstart_mounts_serves_and_ends(site):
    root = object()
    quickstart(root, '/app', {'/': {'a': 1}}, site=site)
    assert site.tree.mounted == [(root, '/app', {'/': {'a': 1}})]
    assert site.config == {'/': {'a': 1}}
    assert not site.engine.hosted
    assert site.lines[:3] == ['Bus STARTING', 'Serving on http://127.0.0.1:4711', 'Bus STARTED']
    assert 'Bus EXITED' in site.lines


def test_quickstart_logs_to_the_screen_unless_config_says_otherwise(site):
    quickstart(object(), site=site)
    assert site.log.screen is True


def test_quickstart_leaves_the_screen_to_config(site):
    site.config['log.screen'] = False
    quickstart(object(), site=site)
    assert not hasattr(site.log, 'screen')


def test_a_site_that_shows_its_log_itself_is_told(site):
    told = []
    site.engine.on_own = lambda: told.append(1)
    quickstart(object(), site=site)
    assert told == [1]
    assert not hasattr(site.log, 'screen')


def test_an_open_config_file_reaches_both_the_site_and_the_application(site):
    quickstart(object(), '', io.StringIO("[global]\nserver.thread_pool: 3\n[/]\nname: 'x'\n"), site=site)
    expected = {'global': {'server.thread_pool': 3}, '/': {'name': 'x'}}
    assert site.config == expected
    assert site.tree.mounted[0][2] == expected


def test_a_flat_config_is_refused_before_anything_has_changed(site):
    with pytest.raises(ValueError, match='section headers'):
        quickstart(object(), '', {'server.socket_port': 1}, site=site)
    assert site.config == {}
    assert site.tree.mounted == []
    assert site.lines == []


def test_quickstart_without_a_root_serves_what_is_mounted(site):
    site.tree.mount('mine', '')
    quickstart(site=site)
    assert site.tree.apps == {'': 'mine'}


def test_quickstart_without_a_server_runs_the_engine_alone(site):
    site.server.unsubscribe()
    quickstart(object(), site=site)
    assert not any('Serving' in line for line in site.lines)
    assert 'Bus EXITED' in site.lines


def test_quickstart_under_a_host_only_mounts(site, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['/usr/bin/gunicorn'])
    quickstart(object(), site=site)
    assert len(site.tree.mounted) == 1
    assert site.lines == ['quickstart() only mounts here: gunicorn runs this process and serves.']
    assert site.engine.hosted


def test_quickstart_takes_the_name_of_the_server(site):
    quickstart(object(), site=site, server='waitress')
    assert site.server.adapter == 'waitress'


def test_quickstart_refuses_an_unknown_server(site):
    with pytest.raises(ValueError, match="Did you mean 'waitress'"):
        quickstart(object(), site=site, server='waitres')


def test_a_failing_listener_ends_quickstart_with_code_70(site):
    def fail():
        raise ValueError

    site.engine.subscribe('start', fail)
    with pytest.raises(SystemExit) as caught:
        quickstart(object(), site=site)
    assert caught.value.code == 70


def test_a_refused_start_ends_quickstart_with_code_1_and_one_line(site):
    def refuse():
        raise StartRefused('Cannot serve.')

    site.engine.subscribe('start', refuse)
    with pytest.raises(SystemExit) as caught:
        quickstart(object(), site=site)
    assert caught.value.code == 1
    assert site.lines.count('Cannot serve.') == 1


@pytest.mark.parametrize('after', ['Bus STARTING', 'Serving on', 'Bus STARTED'])
def test_ctrl_c_during_the_start_ends_quickstart_cleanly(site, after):
    def interrupt(msg, level):
        if msg.startswith(after):
            raise KeyboardInterrupt

    site.engine.subscribe('log', interrupt)
    quickstart(object(), site=site)
    assert site.lines[-1] == 'Keyboard Interrupt: shutting down bus' or 'Bus EXITED' in site.lines
    assert not site.server.running
    assert site.engine.state is site.engine.states.EXITING


@pytest.mark.parametrize(('make', 'callable_'), [(wsgi_app, FakeTree.wsgi), (asgi_app, FakeTree.asgi)])
def test_an_app_helper_mounts_and_gives_the_trees_callable(site, make, callable_):
    assert make('root', '/x', {'/': {'a': 1}}, site=site) == callable_
    assert site.tree.mounted == [('root', '/x', {'/': {'a': 1}})]
    assert site.engine.state is site.engine.states.STOPPED
    assert site.engine.hosted


@pytest.mark.parametrize('make', [wsgi_app, asgi_app])
def test_an_app_helper_without_a_root_mounts_nothing(site, make):
    make(site=site)
    assert site.tree.mounted == []
