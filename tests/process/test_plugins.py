"""Plugins on a bus that keeps its log; signals are sent only to programs of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from cpadapter.core.engine import Engine
from cpadapter.process import plugins


@pytest.fixture
def bus():
    """A bus with its log in `.lines`, ended after the test."""
    bus = Engine()
    bus.lines = []
    bus.subscribe('log', lambda msg, level: bus.lines.append(msg))
    yield bus
    bus.exit()


@pytest.fixture
def under_gunicorn(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['/usr/bin/gunicorn'])


# ---------------------------------------------------------------------- SimplePlugin


def test_a_simple_plugin_follows_the_channels_it_has_methods_for(bus):
    class Database(plugins.SimplePlugin):
        commit = 'not a method'

        def start(self):
            return 'started'

        def stop(self):
            return 'stopped'

        def save(self):
            return 'saved'

    bus.subscribe('save', lambda: 'other')
    bus.subscribe('commit', lambda: 'other')
    plugin = Database(bus)
    assert plugin.bus is bus
    plugin.subscribe()
    assert bus.publish('start') == ['started']
    assert bus.publish('save') == ['other', 'saved']
    assert bus.publish('commit') == ['other']
    plugin.unsubscribe()
    assert bus.publish('stop') == []
    assert bus.publish('save') == ['other']


# ---------------------------------------------------------------------- Monitor, BackgroundTask, PerpetualTimer


def test_a_monitor_calls_back_while_the_bus_runs(bus):
    called = threading.Event()
    monitor = plugins.Monitor(bus, called.set, frequency=0.001, name='watcher')
    monitor.subscribe()
    bus.start()
    assert called.wait(5)
    thread = monitor.thread
    assert thread.name == 'watcher'
    assert thread.daemon
    bus.start()
    assert "Monitor thread 'watcher' already started." in bus.lines
    bus.graceful()
    assert monitor.thread is not thread
    bus.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert monitor.thread is None
    assert bus.lines.count("Started monitor thread 'watcher'.") == 2
    assert bus.lines.count("Stopped thread 'watcher'.") == 2


def test_a_monitor_without_a_name_bears_its_class_name(bus):
    monitor = plugins.Monitor(bus, print)
    monitor.stop()
    assert bus.lines[-1] == 'No thread running for Monitor.'
    assert (monitor.frequency, monitor.callback) == (60, print)


@pytest.mark.parametrize('frequency', [0, -1])
def test_a_monitor_with_no_frequency_starts_no_thread(bus, frequency):
    monitor = plugins.Monitor(bus, print, frequency)
    monitor.start()
    assert monitor.thread is None


def fail(*args, **kwargs):
    raise ValueError(args, kwargs)


def test_a_background_task_ends_at_its_first_exception_which_is_logged(bus):
    task = plugins.BackgroundTask(0.001, fail, [1], {'x': 2}, bus)
    task.start()
    task.join(5)
    assert not task.is_alive()
    assert bus.lines[0].startswith('Error in background task thread function')
    assert bus.lines[0].endswith("ValueError: ((1,), {'x': 2})\n")


def test_a_cancelled_background_task_ends_without_waiting_for_its_interval():
    task = plugins.BackgroundTask(3600, fail)
    task.start()
    task.cancel()
    task.join(5)
    assert not task.is_alive()


def test_a_perpetual_timer_repeats_until_it_fails(bus):
    calls = []

    def call():
        calls.append(1)
        if len(calls) == 3:
            fail()

    timer = plugins.PerpetualTimer(0.001, call, bus=bus)
    timer.start()
    timer.join(5)
    assert len(calls) == 3
    assert bus.lines[0].startswith('Error in perpetual timer thread function')


def test_a_cancelled_perpetual_timer_ends():
    timer = plugins.PerpetualTimer(3600, fail)
    timer.start()
    timer.cancel()
    timer.join(5)
    assert not timer.is_alive()


# ---------------------------------------------------------------------- ThreadManager


def in_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(5)


def test_the_thread_manager_numbers_threads(bus):
    seen = []
    bus.subscribe('start_thread', lambda index: seen.append(('start', index)))
    bus.subscribe('stop_thread', lambda index: seen.append(('stop', index)))
    manager = plugins.ThreadManager(bus)
    manager.subscribe()
    bus.publish('acquire_thread')
    bus.publish('acquire_thread')
    in_thread(lambda: (bus.publish('acquire_thread'), bus.publish('release_thread')))
    in_thread(lambda: bus.publish('acquire_thread'))
    assert seen == [('start', 1), ('start', 2), ('stop', 2), ('start', 3)]
    bus.graceful()
    assert seen[4:] == [('stop', 1), ('stop', 3)]
    assert manager.threads == {}
    bus.publish('acquire_thread')
    assert seen[-1] == ('start', 1)
    bus.publish('stop')
    assert seen[-1] == ('stop', 1)


def test_the_thread_manager_alone_costs_a_request_nothing(bus):
    plugins.ThreadManager(bus).subscribe()
    assert not bus.listens('acquire_thread')
    bus.subscribe('start_thread', print)
    assert bus.listens('acquire_thread')


def test_releasing_an_unknown_thread_publishes_nothing(bus):
    bus.subscribe('stop_thread', fail)
    plugins.ThreadManager(bus).release_thread()


# ---------------------------------------------------------------------- hosted plugins


@pytest.mark.parametrize(
    ('make', 'option'),
    [
        (lambda bus: plugins.Daemonizer(bus), '--daemon'),
        (lambda bus: plugins.PIDFile(bus, '/nowhere/pid'), '--pid'),
        (lambda bus: plugins.DropPrivileges(bus, umask=0o22), '--user --group --umask'),
    ],
)
def test_a_hosted_process_is_left_alone_and_the_hosts_option_is_named(bus, under_gunicorn, make, option):
    make(bus).subscribe()
    assert len(bus.lines) == 1
    assert 'gunicorn' in bus.lines[0]
    assert option in bus.lines[0]
    bus.start()
    assert bus.lines[1:] == ['Bus STARTING', 'Bus STARTED']


def test_a_host_without_the_option_is_named_with_those_that_have_it(bus, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['uvicorn'])
    plugins.Daemonizer(bus).subscribe()
    assert 'uvicorn owns the process and has no option for it (gunicorn --daemon' in bus.lines[0]


def test_a_plugin_subscribed_before_the_host_is_known_acts_only_in_a_process_of_its_own(bus, tmp_path):
    pidfile = tmp_path / 'pid'
    plugins.PIDFile(bus, pidfile).subscribe()
    assert bus.lines == []
    bus.ensure_started()
    assert 'PIDFile does nothing here' in bus.lines[1]
    assert not pidfile.exists()


def test_a_pid_file_is_written_at_start_and_removed_at_exit(bus, tmp_path):
    pidfile = tmp_path / 'pid'
    plugins.PIDFile(bus, pidfile).subscribe()
    bus.start()
    assert pidfile.read_text() == f'{os.getpid()}\n'
    bus.exit()
    assert not pidfile.exists()


def test_a_daemon_without_its_library_refuses_the_start_and_names_the_extra(bus, monkeypatch):
    monkeypatch.setitem(sys.modules, 'daemon.daemon', None)
    plugins.Daemonizer(bus).subscribe()
    with pytest.raises(SystemExit):
        bus.start()
    assert any('pip install "cpadapter[daemon]"' in line for line in bus.lines)


def test_a_daemon_whose_streams_cannot_be_opened_refuses_the_start(bus, tmp_path):
    pytest.importorskip('daemon.daemon')
    plugins.Daemonizer(bus, stdout=str(tmp_path / 'missing' / 'out')).subscribe()
    with pytest.raises(SystemExit):
        bus.start()
    assert any('missing/out: No such file' in line for line in bus.lines)


def test_drop_privileges_sets_the_umask_once(bus):
    before = os.umask(0o22)
    try:
        plugins.DropPrivileges(bus, umask=0o77).subscribe()
        bus.start()
        assert 'umask old: 022, new: 077' in bus.lines
        assert os.umask(0o22) == 0o77
        bus.stop()
        bus.start()
        assert os.umask(0o22) == 0o22
    finally:
        os.umask(before)


def test_privileges_that_cannot_be_dropped_refuse_the_start(bus, monkeypatch):
    def refuse(number):
        raise PermissionError(1, 'Operation not permitted')

    monkeypatch.setattr(os, 'setgroups', lambda groups: None)
    monkeypatch.setattr(os, 'setuid', refuse)
    plugins.DropPrivileges(bus, uid=4711).subscribe()
    with pytest.raises(SystemExit):
        bus.start()
    assert any('not permitted to become uid 4711' in line for line in bus.lines)


def test_drop_privileges_takes_names_and_numbers(bus):
    pwd = pytest.importorskip('pwd')
    me = pwd.getpwuid(os.getuid())
    plugin = plugins.DropPrivileges(bus, umask=0o77, uid=me.pw_name, gid=me.pw_gid)
    assert (plugin.umask, plugin.uid, plugin.gid) == (0o77, me.pw_uid, me.pw_gid)


def test_unset_drop_privileges_do_nothing(bus):
    plugins.DropPrivileges(bus).subscribe()
    bus.start()
    assert bus.lines == ['Bus STARTING', 'Bus STARTED']


def test_the_autoreloader_collects_files_and_starts_nothing(bus):
    reloader = plugins.Autoreloader(bus, match='cpadapter')
    reloader.files.add('app.conf')
    reloader.subscribe()
    bus.ensure_started()
    bus.graceful()
    bus.stop()
    assert reloader.thread is None
    assert os.path.abspath(plugins.__file__) in reloader.sysfiles()
    assert os.path.abspath(pytest.__file__) not in reloader.sysfiles()
    assert plugins.Autoreloader(bus).files == set()
    assert not any('Autoreloader' in line or 'thread' in line for line in bus.lines)


def test_equip_gives_the_plugins_an_engine_has(bus):
    plugins.equip(bus)
    assert bus.signals is bus.signal_handler
    assert bus.autoreload.frequency == 1
    assert bus.thread_manager.threads == {}
    bus.publish('acquire_thread')
    assert list(bus.thread_manager.threads.values()) == [1]
    assert bus.lines == []


# ---------------------------------------------------------------------- SignalHandler


def test_the_signal_handler_has_its_handlers(bus):
    handler = plugins.SignalHandler(bus)
    assert handler.handlers == {'SIGTERM': bus.exit, 'SIGHUP': handler.handle_SIGHUP, 'SIGUSR1': bus.graceful}
    assert handler.signals[15] == 'SIGTERM'


@pytest.mark.parametrize('name', ['SIGNONE', 'signal', 'Handlers', 4711])
def test_an_unknown_signal_is_refused(bus, name):
    with pytest.raises(ValueError, match='No such signal: '):
        plugins.SignalHandler(bus).set_handler(name)


def test_a_hosted_signal_handler_keeps_to_its_channels(bus, under_gunicorn):
    before = signal.getsignal(signal.SIGTERM)
    seen = []
    handler = plugins.SignalHandler(bus)
    handler.handlers = {'SIGTERM': lambda: seen.append('TERM')}
    handler.subscribe()
    bus.start()
    assert signal.getsignal(signal.SIGTERM) is before
    assert 'Signals are left to gunicorn, which owns this process.' in bus.lines
    bus.publish('SIGTERM')
    assert seen == ['TERM']
    handler.unsubscribe()
    assert bus.publish('SIGTERM') == []
    assert seen == ['TERM']


def test_signals_are_taken_at_start_and_given_back(bus):
    before = signal.getsignal(signal.SIGUSR1)
    handler = plugins.SignalHandler(bus)
    handler.handlers = {'SIGUSR1': bus.graceful}
    handler.subscribe()
    assert signal.getsignal(signal.SIGUSR1) is before
    bus.start()
    assert 'Listening for SIGUSR1.' in bus.lines
    signal.raise_signal(signal.SIGUSR1)
    assert bus.lines[-2:] == ['Caught signal SIGUSR1.', 'Bus graceful']
    handler.unsubscribe()
    assert signal.getsignal(signal.SIGUSR1) is before
    assert bus.lines[-1].startswith('Restoring SIGUSR1 handler')


def test_force_takes_the_signals_of_a_hosted_process(bus, under_gunicorn):
    before = signal.getsignal(signal.SIGUSR1)
    handler = plugins.SignalHandler(bus)
    handler.handlers = {'SIGUSR1': bus.graceful}
    handler.subscribe(force=True)
    assert signal.getsignal(signal.SIGUSR1) == handler._handle_signal
    handler.unsubscribe()
    assert signal.getsignal(signal.SIGUSR1) is before


def test_signals_cannot_be_taken_outside_the_main_thread(bus):
    before = signal.getsignal(signal.SIGUSR1)
    handler = plugins.SignalHandler(bus)
    in_thread(lambda: handler.set_handler('SIGUSR1', bus.graceful, force=True))
    assert signal.getsignal(signal.SIGUSR1) is before
    assert bus.lines == ['Cannot listen for SIGUSR1: signals can only be set in the main thread.']


def test_an_ignored_signal_has_neither_handler_nor_listener(bus):
    before = signal.getsignal(signal.SIGTERM)
    handler = plugins.SignalHandler(bus)
    handler.subscribe()
    handler.ignore('SIGTERM')
    bus.start()
    assert signal.getsignal(signal.SIGTERM) is before
    assert bus.publish('SIGTERM') == []
    handler.unsubscribe()


@pytest.mark.parametrize(('name', 'line'), [('SIGTERM', 'Caught signal SIGTERM.'), ('SIGHUP', 'Caught signal SIGHUP.')])
def test_a_program_ends_cleanly_at_a_signal(name, line):
    program = subprocess.Popen(
        [
            sys.executable,
            '-c',
            textwrap.dedent("""
                from cpadapter.core.engine import Engine
                from cpadapter.process.plugins import SignalHandler
                bus = Engine()
                bus.subscribe('log', lambda msg, level: print(msg, flush=True))
                bus.subscribe('stop', lambda: print('stop'))
                SignalHandler(bus).subscribe()
                bus.start()
                bus.block()
            """),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        for out in program.stdout:
            if out == 'Bus STARTED\n':
                break
        program.send_signal(getattr(signal, name))
        out, err = program.communicate(timeout=10)
    assert err == ''
    assert program.returncode == 0
    assert line in out
    assert out.splitlines().count('stop') == 1
    assert 'Bus EXITED' in out
