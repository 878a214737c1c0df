"""The engine as a value: channels, states, ownership; processes only where signals, forks and endings are at stake."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from cpadapter.changes import changes
from cpadapter.core import engine as engine_module
from cpadapter.core.engine import CHANNELS, ChannelFailures, Engine, StartRefused, find_host, states


@pytest.fixture
def engine():
    """An engine that keeps its log in `.lines`, ended after the test."""
    engine = Engine()
    engine.lines = []
    engine.levels = []

    def keep(msg, level):
        engine.lines.append(msg)
        engine.levels.append(level)

    engine.subscribe('log', keep)
    yield engine
    engine.listeners = {'log': engine.listeners['log']}
    engine.exit()


def run_program(code, *args, **kwargs):
    """Run a program of its own to its end."""
    return subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code), *args],
        capture_output=True,
        text=True,
        timeout=10,
        **kwargs,
    )


def fail(*args):
    raise ValueError('broken')


# ---------------------------------------------------------------------- channels


def test_channels_exist_from_the_start():
    assert tuple(Engine().listeners) == CHANNELS


def test_publishing_on_an_unknown_channel_gives_an_empty_list(engine):
    assert engine.publish('nobody', 1, x=2) == []


def test_listeners_run_by_priority_then_by_order_of_subscription(engine):
    called = []
    for name, priority in (('c', 50), ('d', 50), ('a', 10), ('e', 90), ('b', 50)):
        engine.subscribe('work', lambda name=name: called.append(name), priority)
    engine.publish('work')
    assert called == ['a', 'c', 'd', 'b', 'e']


def test_priority_comes_from_the_callback_unless_given(engine):
    def early():
        return 'early'

    early.priority = 5
    engine.subscribe('work', lambda: 'middle')
    engine.subscribe('work', early)
    assert engine.publish('work') == ['early', 'middle']
    engine.subscribe('work', early, 60)
    assert engine.publish('work') == ['middle', 'early']


def test_subscribing_twice_calls_once(engine):
    listener = lambda: 1
    engine.subscribe('work', listener)
    engine.subscribe('work', listener)
    assert engine.publish('work') == [1]


def test_subscribe_without_a_callback_gives_a_decorator(engine):
    @engine.subscribe('work', priority=3)
    def work(x):
        return x * 2

    assert work(2) == 4
    assert engine.publish('work', 3) == [6]


def test_unsubscribing_what_is_not_there_is_ignored(engine):
    engine.unsubscribe('work', fail)
    engine.unsubscribe('nobody', fail)


def test_subscriptions_make_plans_stale(engine):
    count = changes.count
    engine.subscribe('work', fail)
    assert changes.count == count + 1
    engine.unsubscribe('work', fail)
    assert changes.count == count + 2


def test_listens_tells_whether_anyone_is_reached(engine):
    assert not engine.listens('before_request')
    assert not engine.listens('nobody')
    engine.subscribe('before_request', fail)
    assert engine.listens('before_request')


def test_a_listener_that_serves_other_channels_counts_with_them(engine):
    def number():
        pass

    number.serves = ('start_thread',)
    engine.subscribe('acquire_thread', number)
    assert not engine.listens('acquire_thread')
    engine.subscribe('start_thread', print)
    assert engine.listens('acquire_thread')


def test_a_failing_listener_is_logged_and_the_others_run(engine):
    called = []
    engine.subscribe('work', fail, 10)
    engine.subscribe('work', lambda: called.append(1), 20)
    with pytest.raises(ChannelFailures) as caught:
        engine.publish('work')
    assert called == [1]
    assert engine.lines[0].startswith(f"Error in 'work' listener {fail!r}\nTraceback")
    assert engine.levels == [40]
    failures = caught.value
    assert failures
    assert [type(exc) for exc in failures.get_instances()] == [ValueError]
    assert str(failures) == repr(failures) == "ValueError('broken')"


def test_empty_channel_failures_are_false():
    assert not ChannelFailures()


def test_failures_are_joined_by_newlines(engine):
    engine.subscribe('work', fail)
    engine.subscribe('work', lambda: fail())
    with pytest.raises(ChannelFailures, match=r"^ValueError\('broken'\)\nValueError\('broken'\)$"):
        engine.publish('work')


def test_a_failing_log_listener_is_not_logged(engine):
    engine.subscribe('log', fail, 1)
    with pytest.raises(ChannelFailures):
        engine.log('hello')
    assert engine.lines == ['hello']
    engine.unsubscribe('log', fail)


def test_keyboard_interrupt_propagates_at_once(engine):
    def interrupt():
        raise KeyboardInterrupt

    engine.subscribe('work', interrupt, 1)
    engine.subscribe('work', fail, 2)
    with pytest.raises(KeyboardInterrupt):
        engine.publish('work')
    assert engine.lines == []


@pytest.mark.parametrize(('before', 'code'), [(False, 0), (True, 1)])
def test_exit_code_0_becomes_1_after_a_failure(engine, before, code):
    def leave():
        raise SystemExit(0)

    if before:
        engine.subscribe('work', fail, 1)
    engine.subscribe('work', leave, 2)
    with pytest.raises(SystemExit) as caught:
        engine.publish('work')
    assert caught.value.code == code


def test_log_publishes_message_and_level_and_appends_the_traceback(engine):
    engine.log('plain')
    try:
        fail()
    except ValueError:
        engine.log('worse', level=40, traceback=True)
    assert engine.lines[0] == 'plain'
    assert engine.lines[1].startswith('worse\nTraceback')
    assert engine.lines[1].endswith('ValueError: broken\n')
    assert engine.levels == [20, 40]


# ---------------------------------------------------------------------- states


def test_states_print_by_name(engine):
    assert repr(engine.state) == 'states.STOPPED'
    assert repr(engine.states.STARTED) == 'states.STARTED'


def test_start_stop_exit_pass_through_the_states(engine):
    seen = []
    for channel in ('start', 'stop', 'exit'):
        engine.subscribe(channel, lambda channel=channel: seen.append((channel, engine.state)))
    engine.start()
    assert engine.state is states.STARTED
    engine.stop()
    assert engine.state is states.STOPPED
    engine.exit()
    assert engine.state is states.EXITING
    assert seen == [('start', states.STARTING), ('stop', states.STOPPING), ('exit', states.EXITING)]
    assert engine.lines == [
        'Bus STARTING',
        'Bus STARTED',
        'Bus STOPPING',
        'Bus STOPPED',
        'Bus EXITING',
        'Bus EXITED',
    ]


def test_exit_of_an_engine_never_started_publishes_stop_and_exit(engine):
    seen = []
    engine.subscribe('stop', lambda: seen.append('stop'))
    engine.subscribe('exit', lambda: seen.append('exit'))
    engine.exit()
    engine.exit()
    assert seen == ['stop', 'exit']


def test_an_exit_asked_for_during_exit_changes_nothing(engine):
    seen = []
    engine.subscribe('stop', lambda: (seen.append('stop'), engine.exit()))
    engine.subscribe('exit', lambda: (seen.append('exit'), engine.exit()))
    engine.start()
    engine.exit()
    assert seen == ['stop', 'exit']


def test_an_interrupted_exit_can_be_finished(engine):
    seen = []

    def interrupt():
        seen.append('stop')
        raise SystemExit

    engine.subscribe('stop', interrupt)
    engine.subscribe('exit', lambda: seen.append('exit'))
    engine.start()
    with pytest.raises(SystemExit):
        engine.exit()
    engine.exit()
    assert seen == ['stop', 'exit']


def test_an_engine_starts_again_after_exit(engine):
    seen = []
    engine.subscribe('start', lambda: seen.append('start'))
    engine.subscribe('exit', lambda: seen.append('exit'))
    for _ in range(2):
        engine.start()
        engine.exit()
    assert seen == ['start', 'exit'] * 2


def test_a_failing_start_exits_and_raises(engine):
    seen = []
    engine.subscribe('start', fail)
    engine.subscribe('exit', lambda: seen.append('exit'))
    with pytest.raises(ChannelFailures):
        engine.start()
    assert seen == ['exit']
    assert engine.state is states.EXITING
    assert any(line.startswith('Shutting down due to error in start listener:\nTraceback') for line in engine.lines)


def test_a_refused_start_is_one_line_and_exit_code_1(engine):
    def refuse():
        raise StartRefused('Cannot serve: the port is in use.')

    engine.subscribe('start', refuse)
    with pytest.raises(SystemExit) as caught:
        engine.start()
    assert caught.value.code == 1
    assert caught.value.__suppress_context__
    assert engine.lines.count('Cannot serve: the port is in use.') == 1
    assert not any('Traceback' in line for line in engine.lines)
    assert engine.state is states.EXITING


def test_a_failing_stop_listener_does_not_keep_exit_from_being_published(engine):
    seen = []
    engine.subscribe('stop', fail)
    engine.subscribe('exit', lambda: seen.append('exit'))
    engine.start()
    with pytest.raises(ChannelFailures):
        engine.exit()
    assert seen == ['exit']
    assert engine.state is states.EXITING


def test_exit_while_starting_ends_a_program_with_code_70(engine):
    engine.subscribe('start', engine.exit)
    with pytest.raises(SystemExit) as caught:
        engine.start()
    assert caught.value.code == 70
    assert 'Bus STARTED' not in engine.lines


def test_ctrl_c_while_starting_exits_the_engine(engine):
    def interrupt():
        raise KeyboardInterrupt

    engine.subscribe('start', interrupt)
    with pytest.raises(KeyboardInterrupt):
        engine.start()
    assert engine.state is states.EXITING


def test_graceful_keeps_the_state(engine):
    seen = []
    engine.subscribe('graceful', lambda: seen.append(engine.state))
    engine.start()
    engine.graceful()
    assert seen == [states.STARTED]
    assert 'Bus graceful' in engine.lines


def test_wait_takes_one_state_or_several(engine):
    ticks = []
    engine.subscribe('tick', lambda: (ticks.append(1), len(ticks) == 3 and engine.exit()))
    engine.start()
    engine.wait([states.EXITING, states.STOPPING], interval=0.001, channel='tick')
    assert len(ticks) == 3
    engine.wait(states.EXITING)


def test_start_with_callback_calls_once_started(engine):
    seen = []
    thread = engine.start_with_callback(
        lambda *args, **kwargs: seen.append((args, kwargs, engine.state)), (1,), {'x': 2}
    )
    thread.join(5)
    assert thread.name.startswith('Bus Callback ')
    assert seen == [((1,), {'x': 2}, states.STARTED)]


# ---------------------------------------------------------------------- ownership


def test_an_engine_is_hosted_until_a_program_starts_it(engine):
    owned = []
    engine.on_own = lambda: owned.append(1)
    assert engine.hosted
    engine.start()
    assert not engine.hosted
    assert owned == [1]


def test_a_hosted_block_returns_at_once(engine):
    engine.ensure_started()
    engine.block()
    assert engine.state is states.STARTED


@pytest.mark.parametrize(
    ('argv', 'host'),
    [
        ('/usr/bin/gunicorn', 'gunicorn'),
        ('/env/lib/uvicorn/__main__.py', 'uvicorn'),
        ('C:/Scripts/hypercorn.exe', 'hypercorn'),
        ('granian', 'granian'),
        ('waitress-serve', 'waitress'),
        ('app.py', None),
        ('', None),
        ('-c', None),
    ],
)
def test_the_host_is_known_by_the_name_of_the_program(monkeypatch, argv, host):
    monkeypatch.setattr(sys, 'argv', [argv])
    assert find_host() == host


def test_a_start_under_a_known_host_stays_hosted(engine, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['/usr/bin/gunicorn', 'app:application'])
    engine.start()
    assert engine.hosted
    assert engine.settled


def test_a_start_under_a_running_loop_stays_hosted(engine):
    async def startup():
        engine.start()

    asyncio.run(startup())
    assert engine.hosted
    assert engine.state is states.STARTED


def test_a_hosted_restart_only_warns(engine, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['uvicorn'])
    engine.start()
    engine.restart()
    assert engine.state is states.STARTED
    assert not engine.execv
    assert 'uvicorn owns the process' in engine.lines[-1]
    assert engine.levels[-1] == 30


def test_ensure_started_starts_once_among_many_threads(engine):
    started = []
    engine.subscribe('start', lambda: started.append(threading.get_ident()))
    barrier = threading.Barrier(8)

    def first_request():
        barrier.wait(5)
        engine.ensure_started()
        assert engine.state is states.STARTED

    threads = [threading.Thread(target=first_request) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(started) == 1
    assert engine.settled
    assert engine.hosted


def test_ensure_started_within_a_start_listener_returns(engine):
    engine.subscribe('start', engine.ensure_started)
    engine.ensure_started()
    assert engine.lines.count('Bus STARTING') == 1


def test_a_failed_hosted_start_raises_and_is_tried_again(engine):
    engine.subscribe('start', fail)
    for _ in range(2):
        with pytest.raises(ChannelFailures):
            engine.ensure_started()
    engine.unsubscribe('start', fail)
    engine.ensure_started()
    assert engine.state is states.STARTED


def test_a_hosted_refusal_raises_instead_of_ending_the_process(engine):
    def refuse():
        raise StartRefused('no')

    engine.subscribe('start', refuse)
    with pytest.raises(ChannelFailures):
        engine.ensure_started()


def test_requests_after_exit_do_not_start_the_engine_again(engine):
    engine.ensure_started()
    engine.ensure_exited()
    assert engine.state is states.EXITING
    engine.ensure_started()
    assert engine.state is states.EXITING


def test_lifespan_calls_do_nothing_where_the_program_owns_the_process(engine):
    engine.start()
    lines = list(engine.lines)
    engine.ensure_started()
    engine.ensure_exited()
    assert engine.lines == lines


def test_a_hosted_exit_failure_raises_and_the_process_lives(engine):
    engine.subscribe('exit', fail)
    engine.ensure_started()
    with pytest.raises(ChannelFailures):
        engine.ensure_exited()
    assert engine.state is states.EXITING


def test_a_hosted_engine_ticks_main_while_someone_listens(engine):
    ticked = threading.Event()
    engine.ensure_started()
    assert engine._ticker is None
    engine.subscribe('main', ticked.set)
    assert ticked.wait(5)
    ticker = engine._ticker
    engine.exit()
    ticker.join(5)
    assert not ticker.is_alive()


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_forked_worker_starts_its_engine_anew():
    result = run_program("""
        import os, sys
        sys.argv[0] = 'gunicorn'
        from cpadapter.core.engine import Engine
        engine = Engine()
        engine.subscribe('start', lambda: print('start', 'child' if os.getpid() != parent else 'parent', flush=True))
        engine.subscribe('exit', lambda: print('exit', 'child' if os.getpid() != parent else 'parent', flush=True))
        parent = os.getpid()
        engine.start()
        engine.ensure_started()
        pid = os.fork()
        if not pid:
            engine.ensure_started()
            engine.ensure_started()
            engine.ensure_exited()
            os._exit(0)
        os.waitpid(pid, 0)
    """)
    assert result.stdout.splitlines() == ['start parent', 'start child', 'exit child', 'exit parent']
    assert result.stderr == ''


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_child_does_not_exit_its_parents_engine_when_it_ends():
    result = run_program("""
        import os, sys
        sys.argv[0] = 'gunicorn'
        from cpadapter.core.engine import Engine
        engine = Engine()
        engine.subscribe('exit', lambda: print('exit', os.getpid() == parent, flush=True))
        parent = os.getpid()
        engine.start()
        pid = os.fork()
        if not pid:
            sys.exit(0)
        os.waitpid(pid, 0)
    """)
    assert result.stdout.splitlines() == ['exit True']


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
@pytest.mark.parametrize('started_before', [True, False])
def test_a_hosted_engine_exits_with_a_process_that_multiprocessing_forked(started_before):
    result = run_program(
        """
        import multiprocessing, os, sys
        sys.argv[0] = 'granian'
        from cpadapter.core.engine import Engine
        engine = Engine()
        parent = os.getpid()
        engine.subscribe('exit', lambda: print('exit', 'parent' if os.getpid() == parent else 'child', flush=True))
        if sys.argv[1] == 'True':
            engine.ensure_started()
        child = multiprocessing.get_context('fork').Process(target=engine.ensure_started)
        child.start()
        child.join()
        """,
        str(started_before),
    )
    assert result.stdout.splitlines() == ['exit child', *(['exit parent'] if started_before else [])]
    assert result.stderr == ''


# ---------------------------------------------------------------------- the end of a program


@pytest.mark.parametrize('warnings', ['default', 'error'])
def test_a_program_that_forgets_to_block_is_warned_and_its_engine_exits(warnings):
    code = """
        from cpadapter.core.engine import Engine
        engine = Engine()
        engine.subscribe('exit', lambda: print('exit'))
        engine.start()
    """
    result = run_program(code, env={**os.environ, 'PYTHONWARNINGS': warnings})
    assert result.stdout == 'exit\n'
    assert 'RuntimeWarning' in result.stderr
    assert 'engine.block()' in result.stderr
    assert result.returncode == 0


def test_a_hosted_engine_exits_silently_with_its_process():
    result = run_program("""
        from cpadapter.core.engine import Engine
        engine = Engine()
        engine.subscribe('exit', lambda: print('exit'))
        engine.ensure_started()
    """)
    assert (result.stdout, result.stderr, result.returncode) == ('exit\n', '', 0)


def test_block_publishes_main_joins_threads_and_ends_with_exit():
    result = run_program("""
        import threading
        from cpadapter.core.engine import Engine
        engine = Engine()
        go = threading.Event()
        engine.subscribe('log', lambda msg, level: (print(msg), msg.startswith('Waiting') and go.set()))
        engine.start()
        threading.Thread(target=lambda: (go.wait(5), print('thread done'))).start()
        engine.subscribe('main', engine.exit)
        engine.block(interval=0.01)
        print('unblocked')
    """)
    assert result.stdout.splitlines()[-3:] == ['Waiting for child threads to terminate...', 'thread done', 'unblocked']


@pytest.mark.parametrize(
    ('what', 'line', 'code'),
    [
        ('KeyboardInterrupt', 'Keyboard Interrupt: shutting down bus', 0),
        ('SystemExit(3)', 'SystemExit raised: shutting down bus', 3),
    ],
)
def test_block_exits_the_engine_on_interrupt(what, line, code):
    result = run_program(
        f"""
        from cpadapter.core.engine import Engine
        engine = Engine()
        engine.subscribe('log', lambda msg, level: print(msg))
        def leave():
            raise {what}
        engine.start()
        engine.subscribe('main', leave)
        engine.block(interval=0.01)
        """
    )
    assert line in result.stdout.splitlines()
    assert 'Bus EXITED' in result.stdout.splitlines()
    assert result.returncode == code
    assert result.stderr == ''


@pytest.mark.parametrize('channel', ['stop', 'exit', 'main'])
def test_a_program_whose_listener_fails_ends_with_code_70(channel):
    result = run_program(
        """
        import sys
        from cpadapter.core.engine import Engine
        engine = Engine()
        def fail():
            raise ValueError
        engine.start()
        engine.subscribe(sys.argv[1], fail)
        if sys.argv[1] != 'main':
            engine.subscribe('main', lambda: engine.exit())
        engine.block(interval=0.01)
        """,
        channel,
    )
    assert result.returncode == 70
    assert result.stderr == ''


def test_restart_runs_the_program_anew(tmp_path):
    mark = tmp_path / 'mark'
    result = run_program(
        """
        import os, sys
        from cpadapter.core.engine import Engine
        print('run', flush=True)
        engine = Engine()
        engine.start()
        if os.path.exists(sys.argv[1]):
            engine.exit()
        else:
            open(sys.argv[1], 'w').close()
            engine.restart()
        engine.block()
        """,
        str(mark),
    )
    assert result.stdout == 'run\nrun\n'
    assert result.returncode == 0


def test_importing_the_engine_starts_and_registers_nothing():
    result = run_program("""
        import sys, threading, logging, atexit
        registered = atexit._ncallbacks()
        import cpadapter.core.engine, cpadapter.core.server, cpadapter.process, cpadapter.process.plugins
        import cpadapter.process.servers, cpadapter.server_adapters
        from cpadapter.process.plugins import equip
        engine = cpadapter.core.engine.Engine()
        equip(engine)
        print(threading.active_count(), atexit._ncallbacks() - registered)
        heavy = {'asyncio', 'socket', 'uvicorn', 'gunicorn', 'waitress', 'http.server', 'ssl', 'tempfile'}
        print(sorted(heavy & set(sys.modules)))
    """)
    assert result.stdout.splitlines() == ['1 0', '[]']


def test_the_module_names_what_it_gives():
    assert set(engine_module.__all__) <= set(vars(engine_module))
