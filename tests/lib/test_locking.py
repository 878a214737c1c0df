"""Locks by key with owners, locks on files, and their time-outs."""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import subprocess
import sys
import threading

import pytest

from cpadapter.lib import locking
from cpadapter.lib.locking import FileLock, KeyedLocks, LockChecker, LockTimeout, NeverExpires, Timer, lock_seconds


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(locking.time, 'monotonic', clock)
    return clock


def test_a_timer_runs_out_when_its_time_has_passed(clock):
    timer = Timer.after(datetime.timedelta(seconds=10))
    assert not timer.expired()
    clock.now += 9
    assert not timer.expired()
    clock.now += 1.1
    assert timer.expired()


def test_a_timer_for_a_moment_without_zone_takes_it_as_utc():
    utc = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert Timer(utc - datetime.timedelta(seconds=1)).expired()
    assert not Timer(utc + datetime.timedelta(seconds=60)).expired()


@pytest.mark.parametrize('timeout', [5, 5.0, datetime.timedelta(seconds=5)])
def test_a_checker_raises_after_its_time(clock, timeout):
    checker = LockChecker('abc', timeout)
    assert checker.expired() is False
    clock.now += 5.1
    with pytest.raises(LockTimeout, match='Timeout acquiring lock for abc'):
        checker.expired()


@pytest.mark.parametrize('timeout', [None, 0, datetime.timedelta(0)])
def test_no_timeout_never_expires(clock, timeout):
    checker = LockChecker('abc', timeout)
    clock.now += 1e9
    assert checker.expired() is NeverExpires().expired() is False


@pytest.mark.parametrize('timeout', [float('inf'), 1e300, datetime.timedelta.max])
def test_a_timeout_longer_than_any_wait_is_none(timeout):
    assert lock_seconds(timeout) is None
    assert LockChecker('an id', timeout).expired() is False


@pytest.mark.parametrize('timeout', ['5', object(), [5]])
def test_a_timeout_that_is_no_time_is_refused(timeout):
    with pytest.raises(ValueError, match='numeric seconds or a timedelta'):
        LockChecker('abc', timeout)


class TestKeyedLocks:
    def test_one_owner_at_a_time_and_the_owner_again(self):
        locks = KeyedLocks()
        assert locks.take('k', 1)
        assert locks.take('k', 1)
        assert not locks.take('k', 2)
        assert locks.take('other', 2)
        locks.release('k', 2)
        assert not locks.take('k', 3)
        locks.release('k', 1)
        assert locks.take('k', 3)

    def test_what_nobody_holds_takes_no_room(self):
        locks = KeyedLocks()
        for number in range(100):
            assert locks.acquire(number, 'me')
        assert len(locks) == 100
        for number in range(100):
            locks.release(number, 'me')
        assert len(locks) == 0
        assert 5 not in locks

    def test_waiting_ends_when_time_is_up(self):
        locks = KeyedLocks()
        locks.take('k', 1)
        assert not locks.acquire('k', 2, 0.01)
        locks.release('k', 1)
        assert len(locks) == 0
        assert locks.acquire('k', 2, 0.01)

    def test_a_lock_may_be_released_by_another_thread(self):
        locks = KeyedLocks()
        locks.take('k', 1)
        thread = threading.Thread(target=locks.release, args=('k', 1))
        thread.start()
        assert locks.acquire('k', 2, 5)
        thread.join()

    def test_threads_count_right(self):
        locks = KeyedLocks()
        total = [0]

        def work():
            me = object()
            for _ in range(200):
                assert locks.take('k', me) or locks.acquire('k', me, 10)
                seen = total[0]
                if not seen % 16:
                    # Let the others run into the lock.
                    threading.Event().wait(0.0001)
                total[0] = seen + 1
                locks.release('k', me)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert total == [1600]
        assert len(locks) == 0

    def test_threads_and_tasks_get_it_in_the_order_of_asking(self):
        locks = KeyedLocks()
        locks.take('k', 'first')
        order = []

        async def ask(name):
            assert await locks.aacquire('k', name, 5)
            order.append(name)
            locks.release('k', name)

        def ask_in_thread(name):
            assert locks.acquire('k', name, 5)
            order.append(name)
            locks.release('k', name)

        async def main():
            one = asyncio.ensure_future(ask('task 1'))
            await asyncio.sleep(0)
            thread = threading.Thread(target=ask_in_thread, args=('thread',))
            thread.start()
            while len(locks._queues['k']) < 2:
                await asyncio.sleep(0.001)
            two = asyncio.ensure_future(ask('task 2'))
            await asyncio.sleep(0)
            locks.release('k', 'first')
            await asyncio.gather(one, two)
            thread.join()

        asyncio.run(main())
        assert order == ['task 1', 'thread', 'task 2']

    def test_a_cancelled_task_leaves_the_queue(self):
        locks = KeyedLocks()
        locks.take('k', 'first')

        async def main():
            task = asyncio.ensure_future(locks.aacquire('k', 'second'))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            locks.release('k', 'first')
            assert locks.take('k', 'third')

        asyncio.run(main())

    def test_a_task_cancelled_just_as_it_gets_the_lock_hands_it_on(self):
        locks = KeyedLocks()
        locks.take('k', 'first')

        async def main():
            task = asyncio.ensure_future(locks.aacquire('k', 'second'))
            await asyncio.sleep(0)
            locks.release('k', 'first')
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert len(locks) == 0

    def test_a_task_waits_no_longer_than_it_says(self):
        locks = KeyedLocks()
        locks.take('k', 'first')
        assert not asyncio.run(locks.aacquire('k', 'second', 0.01))
        locks.release('k', 'first')
        assert len(locks) == 0

    def test_the_lock_passes_over_a_loop_that_has_closed(self):
        locks = KeyedLocks()
        locks.take('k', 'first')
        loop = asyncio.new_event_loop()
        pending = locks.aacquire('k', 'second')
        task = loop.create_task(pending)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        locks.release('k', 'first')
        assert locks.take('k', 'third')
        # Nobody will run it any more, which is as it should be.
        task._log_destroy_pending = False

    @pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
    def test_a_forked_child_holds_no_lock_of_its_parent(self):
        program = (
            'import os\n'
            'from cpadapter.lib.locking import KeyedLocks\n'
            'locks = KeyedLocks()\n'
            "locks.take('k', 1)\n"
            'locks._mutex.acquire()\n'
            'pid = os.fork()\n'
            'if pid == 0:\n'
            "    os._exit(0 if locks.take('k', 2) else 1)\n"
            'print(os.waitpid(pid, 0)[1])\n'
        )
        ran = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=20, check=False)
        assert ran.stdout.strip() == '0', ran.stderr


class TestFileLock:
    def test_one_at_a_time_and_the_file_goes_with_the_lock(self, tmp_path):
        path = str(tmp_path / 'x.lock')
        one, two = FileLock(path), FileLock(path)
        assert one.take()
        assert not two.take()
        assert os.stat(path).st_mode & 0o777 == 0o600
        one.release()
        assert not os.path.exists(path)
        assert two.take()
        two.release()
        two.release()

    def test_a_removed_file_is_no_lock(self, tmp_path):
        path = str(tmp_path / 'x.lock')
        one, two, three = FileLock(path), FileLock(path), FileLock(path)
        assert one.take()
        os.unlink(path)
        assert two.take()
        one.release()
        assert not three.take()
        two.release()
        assert three.take()
        three.release()

    def test_a_symbolic_link_is_not_followed(self, tmp_path):
        (tmp_path / 'link').symlink_to(tmp_path / 'target')
        with pytest.raises(OSError):
            FileLock(str(tmp_path / 'link')).take()
        assert not (tmp_path / 'target').exists()

    def test_a_killed_process_leaves_no_lock(self, tmp_path):
        path = str(tmp_path / 'x.lock')
        program = (
            'import sys, time\n'
            'from cpadapter.lib.locking import FileLock\n'
            'lock = FileLock(sys.argv[1])\n'
            'print(lock.take(), flush=True)\n'
            'time.sleep(60)\n'
        )
        holder = subprocess.Popen([sys.executable, '-c', program, path], stdout=subprocess.PIPE, text=True)
        try:
            assert holder.stdout.readline() == 'True\n'
            lock = FileLock(path)
            assert not lock.take()
            holder.send_signal(signal.SIGKILL)
            holder.wait(10)
            assert os.path.exists(path)
            assert lock.take()
            lock.release()
        finally:
            holder.kill()
            holder.wait(10)
            holder.stdout.close()
