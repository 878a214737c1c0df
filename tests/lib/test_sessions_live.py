"""Sessions in files, shared by real processes: no count is lost, and who is killed leaves nothing in the way."""

from __future__ import annotations

import contextlib
import http.client
import os
import pickle
import re
import signal
import subprocess
import sys
import threading

import pytest
from live import Live, command, free_port

from cpadapter.lib.locking import FileLock

APPLICATION = """
import asyncio
import os

import cpadapter
from cpadapter.lib.sessions import FileSession


class Root:
    @cpadapter.expose
    def count(self):
        count = cpadapter.session.get('count', 0)
        # What another process writes meanwhile would be lost.
        os.sched_yield()
        cpadapter.session['count'] = count + 1
        return str(os.getpid())

    @cpadapter.expose
    async def acount(self):
        count = cpadapter.session.get('count', 0)
        await asyncio.sleep(0)
        cpadapter.session['count'] = count + 1
        return str(os.getpid())

    @cpadapter.expose
    def total(self):
        return str(cpadapter.session.get('count'))


application = cpadapter.Application(
    Root(), '', {'/': {
        'tools.sessions.on': True,
        'tools.sessions.storage_class': FileSession,
        'tools.sessions.storage_path': os.environ['SESSIONS'],
    }}
)
"""


@pytest.fixture(params=['gunicorn-2-workers', 'gunicorn-asgi'])
def server(request, tmp_path):
    (tmp_path / 'app.py').write_text(APPLICATION)
    port = free_port()
    options = ['--workers', '2'] if request.param == 'gunicorn-asgi' else []
    words = command(request.param, 'app:application', port, *options)
    live = Live(words, port, tmp_path, tmp_path / 'output', SESSIONS=str(tmp_path / 'sessions'))
    try:
        yield live.ready()
    finally:
        live.kill()


def test_two_processes_lose_no_count_of_one_session(server, tmp_path):
    answer = server.get('/count')
    assert answer.status == 200, server.printed
    cookie = re.match('session_id=([0-9a-f]{40});', answer.headers['set-cookie'])
    headers = {'Cookie': f'session_id={cookie[1]}'}
    processes = set()
    failed = []

    def work(number):
        # A new connection each time, so that both processes get some.
        for i in range(40):
            try:
                answer = server.get('/acount' if (number + i) % 4 == 0 else '/count', headers=headers)
            except (OSError, http.client.HTTPException) as exc:
                failed.append(repr(exc))
                continue
            if answer.status == 200:
                processes.add(answer.text)
            else:
                failed.append(answer)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, server.printed
    assert len(processes) == 2
    assert server.get('/total', headers=headers).text == '161'
    assert [path.name for path in (tmp_path / 'sessions').iterdir()] == [f'session-{cookie[1]}']


WRITER = """
import sys

import cpadapter
from cpadapter.lib.sessions import FileSession

session = FileSession(sys.argv[2] if sys.argv[2:] else None, storage_path=sys.argv[1], clean_freq=0)
print(session.id, flush=True)
number = 0
while True:
    session.acquire_lock()
    number += 1
    session.load()
    session.clear()
    session.update({'number': number, 'filler': str(number % 10) * 200_000})
    session.save()
    if number == 1:
        print('written', flush=True)
"""


def test_a_process_killed_while_it_writes_leaves_whole_data_and_no_lock(tmp_path):
    folder = str(tmp_path / 'sessions')
    known: list[str] = []
    for round_number in range(8):
        writer = subprocess.Popen(
            [sys.executable, '-c', WRITER, folder, *known], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
        )
        try:
            known = [writer.stdout.readline().strip()]
            assert writer.stdout.readline() == 'written\n'
            # Somewhere in a later round of its loop.
            with contextlib.suppress(subprocess.TimeoutExpired):
                writer.wait(0.003 * round_number)
            writer.send_signal(signal.SIGKILL)
        finally:
            writer.kill()
            writer.wait(10)
            writer.stdout.close()
        path = os.path.join(folder, f'session-{known[0]}')
        with open(path, 'rb') as file:
            data, _ = pickle.load(file)
        assert data['filler'] == str(data['number'] % 10) * 200_000
        lock = FileLock(path + '.lock')
        assert lock.take()
        lock.release()
