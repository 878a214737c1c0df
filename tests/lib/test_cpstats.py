"""cpstats: what the tool counts, and the page, the JSON and the metrics that show it."""

from __future__ import annotations

import io
import json
import logging
import re
import threading

import pytest

import cpadapter
from cpadapter.lib import cpstats
from cpadapter.lib.appstats import BOUNDS, SECONDS, AppStatistics, Histogram

APPLICATIONS = 'CherryPy Applications'


@pytest.fixture
def numbers(client):
    return client.site.tools.cpstats.numbers


@pytest.fixture
def site(client, handler):
    """Mounts counted pages, and the page of statistics at /stats; gives the client."""

    class Root:
        stats = cpstats.StatsPage()

        @handler
        def index(self):
            return 'hello'

        @handler
        def echo(self, **kwargs):
            return 'x' * 100

        @handler
        def broken(self, **kwargs):
            raise ValueError('broken')

        @handler
        def refused(self):
            raise cpadapter.HTTPError(403)

        @handler
        @cpadapter.config(**{'tools.cpstats.slow_queries': 0.000001, 'tools.cpstats.slow_queries_count': 2})
        def slow(self, **kwargs):
            return 'slow'

        @handler
        @cpadapter.config(**{'tools.cpstats.uriset': 'ours'})
        def named(self):
            return 'named'

        @handler
        def again(self):
            raise cpadapter.InternalRedirect('/')

        @handler
        @cpadapter.config(**{'response.stream': True})
        def stream(self):
            return iter([b'a', b'b'])

        @handler
        @cpadapter.config(**{'tools.cpstats.on': False})
        def uncounted(self):
            return 'uncounted'

    config = {'/': {'tools.cpstats.on': True}, '/stats': {'tools.cpstats.on': False}}
    client.mount(Root(), '', config)
    return client


@pytest.fixture
def namespaces():
    """Lets a test keep numbers of its own in logging.statistics."""
    before = dict(logging.statistics)
    yield logging.statistics
    logging.statistics.clear()
    logging.statistics.update(before)


class TestCounting:
    def test_requests_statuses_and_bytes_are_counted(self, site, numbers):
        site.get('/echo')
        site.post('/echo', form={'a': 'b' * 50})
        site.get('/nowhere')
        site.get('/refused')
        site.get('/broken')
        site.head('/echo')
        assert (numbers.requests, numbers.client_errors, numbers.errors) == (6, 2, 1)
        assert numbers.bytes_read == 52
        assert numbers.bytes_written > 200
        assert numbers.open == {}
        assert numbers.histogram.count == 6

    def test_paths_without_the_tool_are_not(self, site, numbers):
        site.get('/uncounted')
        site.get('/stats/')
        assert numbers.requests == 0

    def test_a_plan_without_the_tool_has_none_of_it(self, client, handler):
        class Root:
            @handler
            def index(self):
                return cpadapter.serving.plan.describe()

        client.mount(Root())
        assert 'record_st' not in client.get('/').text

    def test_each_page_handler_is_counted_for_itself(self, site, numbers):
        for target in ('/', '/', '/echo', '/broken', '/nowhere', '/elsewhere'):
            site.get(target)
        records = numbers.page_records()
        counts = {name.rpartition('.')[2]: record['Requests'] for name, record in records.items()}
        assert counts == {'index': 2, 'echo': 1, 'broken': 1, '(not found)': 2}
        broken = next(record for name, record in records.items() if name.endswith('broken'))
        assert (broken['Server Errors'], broken['Last Failure']) == (1, 'GET /broken HTTP/1.1')

    def test_the_same_function_mounted_twice_is_counted_apart(self, client, handler, numbers):
        class Root:
            @handler
            def index(self):
                return 'x'

        client.mount(Root(), '', {'/': {'tools.cpstats.on': True}})
        client.mount(Root(), '/b', {'/': {'tools.cpstats.on': True}})
        client.get('/')
        client.get('/b/')
        assert sorted(name.endswith(' at /b') for name in numbers.page_records()) == [False, True]

    def test_an_internal_redirect_is_one_request(self, site, numbers):
        assert site.get('/again').text == 'hello'
        assert numbers.requests == 1
        assert numbers.open == {}

    def test_streams_are_counted_but_not_timed(self, site, numbers):
        assert site.get('/stream').body == b'ab'
        assert (numbers.requests, numbers.streams, numbers.histogram.count) == (1, 1, 0)

    def test_slow_requests_are_listed_up_to_their_number(self, site, numbers):
        for number in range(4):
            site.get(f'/slow?n={number}', headers={'X-A': 'b'})
        records = numbers.namespace['Slow Queries']
        assert [record['Request-Line'] for record in records] == [f'GET /slow?n={n} HTTP/1.1' for n in (2, 3)]
        record = records[0]
        assert record['Response Status'] == '200 OK'
        assert record['Client'] == '127.0.0.9:4321'
        assert record['Bytes Written'] == 4
        assert record['End Time'] == record['Start Time'] + record['Processing Time']

    def test_a_uriset_counts_its_paths_together(self, site, numbers):
        assert 'URI Set Tracking' not in numbers.namespace
        site.get('/named')
        site.get('/named')
        record = cpstats.extrapolate_statistics(numbers.namespace)['URI Set Tracking']['ours']
        assert record['Count'] == 2
        assert 0 < record['Min'] <= record['Avg'] <= record['Max'] <= record['Sum']

    def test_paused_nothing_is_counted(self, site, numbers):
        numbers.namespace['Enabled'] = False
        site.get('/')
        assert numbers.requests == 0
        numbers.namespace['Enabled'] = True
        site.get('/')
        assert numbers.requests == 1

    def test_an_unknown_setting_is_named(self, client, handler):
        class Root:
            @handler
            def index(self):
                return 'x'

        client.mount(Root(), '', {'/': {'tools.cpstats.on': True, 'tools.cpstats.slow_query': 1}})
        assert client.get('/').status == 500
        assert any("'tools.cpstats.slow_query' = 1" in line and 'slow_queries' in line for line in client.errors)

    def test_an_error_of_another_hook_at_the_end_does_not_lose_a_request(self, client, handler, numbers):
        def fails():
            raise ValueError('hook')

        class Root:
            @handler
            def index(self):
                return 'x'

        client.mount(Root(), '', {'/': {'tools.cpstats.on': True, 'hooks.on_end_request': fails}})
        client.get('/')
        assert (numbers.requests, numbers.open) == (1, {})

    def test_nothing_grows_without_end(self, client, handler, numbers):
        class Root:
            @cpadapter.expose
            def default(self, *args):
                raise ValueError('x')

        class Maker:
            def __getattr__(self, name):
                if name.startswith('p'):
                    page = lambda: 'x'
                    page.exposed = True
                    return page
                raise AttributeError(name)

        client.site.config.update({'tools.log_tracebacks.on': False, 'tools.log_headers.on': False})
        client.mount(Root(), '', {'/': {'tools.cpstats.on': True}})
        client.mount(Maker(), '/made', {'/': {'tools.cpstats.on': True}})
        for number in range(400):
            client.get(f'/made/p{number}')
        for number in range(60):
            client.get(f'/{number}')
        assert len(numbers.pages) <= 301
        assert len(numbers.failures) == 50
        assert sum(record['Requests'] for record in numbers.page_records().values()) == 460

    def test_two_sites_count_apart(self, client, handler, numbers):
        other = cpadapter.Site('other')
        client.sites.append(other)

        class Root:
            @handler
            def index(self):
                return 'x'

        other.tree.mount(Root(), '', {'/': {'tools.cpstats.on': True}})
        client.app = other.tree
        client.get('/')
        assert (other.tools.cpstats.numbers.requests, numbers.requests) == (1, 0)

    def test_threads_lose_no_count(self):
        histogram_numbers = AppStatistics()

        class Head:
            method = 'GET'

        class Served:
            head = Head()
            redirect = None
            dropped = disconnected = False
            answered = True
            body = b'12345'
            code = 200
            handler = None
            script_name = ''

        def work():
            for _ in range(2000):
                histogram_numbers.end(histogram_numbers.begin(Served()), None, None, 0)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert histogram_numbers.requests == histogram_numbers.histogram.count == 8000
        assert histogram_numbers.bytes_written == 40000
        assert sum(count for count, _ in histogram_numbers.last_seconds()) == 8000


def test_a_stream_is_open_until_its_body_ends(wsgi):
    seen = []
    numbers = wsgi.site.tools.cpstats.numbers

    class Root:
        stats = cpstats.StatsPage()

        @cpadapter.expose
        @cpadapter.config(**{'response.stream': True})
        def stream(self):
            def chunks():
                yield b'a'
                seen.append((len(numbers.open_streams()), next(iter(numbers.open_records().values()))))
                yield b'b'

            return chunks()

    wsgi.mount(Root(), '', {'/': {'tools.cpstats.on': True}})
    assert wsgi.get('/stream').body == b'ab'
    count, record = seen[0]
    assert count == 1
    assert (record['Request-Line'], record['Client'], record['Streams']) == ('GET /stream', '127.0.0.9:4321', True)
    assert numbers.open_streams() == []


def test_a_client_that_leaves_is_counted_out(client, handler):
    numbers = client.site.tools.cpstats.numbers

    class Root:
        @handler
        @cpadapter.config(**{'response.stream': True})
        def stream(self):
            return (b'x' * 1000 for _ in range(1000))

    client.mount(Root(), '', {'/': {'tools.cpstats.on': True}})
    client.get('/stream', stop_after=2)
    assert (numbers.requests, numbers.open) == (1, {})


class TestHistogram:
    def test_percentiles_lie_where_the_durations_do(self):
        histogram = Histogram()
        for number in range(1, 1001):
            histogram.add(number / 1000)
        assert histogram.count == 1000
        assert histogram.quantile(0.5) == pytest.approx(0.5, abs=0.01)
        assert histogram.quantile(0.95) == pytest.approx(0.95, abs=0.03)
        assert histogram.quantile(1) == pytest.approx(1.0)
        assert histogram.quantile(0) == 0

    def test_one_duration_is_every_percentile(self):
        histogram = Histogram()
        histogram.add(0.3)
        assert histogram.quantile(0.5) == histogram.quantile(0.99) == pytest.approx(0.3)

    def test_none_is_zero(self):
        assert Histogram().quantile(0.99) == 0.0

    def test_what_is_slower_than_every_bucket_counts(self):
        histogram = Histogram()
        histogram.add(1000)
        assert histogram.counts[-1] == 1
        assert len(histogram.counts) == len(BOUNDS) + 1
        assert histogram.quantile(0.5) == 1000


class TestPage:
    def test_it_shows_numbers_pages_and_failures(self, site):
        for target in ('/', '/', '/broken', '/nowhere', '/slow'):
            site.get(target)
        answer = site.get('/stats/')
        text = answer.text
        assert answer.status == 200
        assert answer.headers['Content-Type'] == 'text/html;charset=utf-8'
        assert answer.headers['Cache-Control'] == 'no-store'
        assert '<span data-text="requests">5</span>' in text
        assert '<span data-text="errors">1</span>' in text
        for line in ('GET /broken HTTP/1.1', 'GET /slow HTTP/1.1', '500 Internal Server Error', '(not found)'):
            assert line in text
        import os

        assert f'process <span data-text="process">{os.getpid()}</span>' in text
        assert 'These are the numbers of one process.' in text

    def test_it_is_shown_before_anything_was_counted(self, site):
        for target in ('', 'live', 'data', 'metrics'):
            assert site.get(f'/stats/{target}').status == 200

    def test_it_renews_itself_with_and_without_script(self, site):
        text = site.get('/stats/').text
        assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in text
        assert "fetch('live'" in text

    def test_it_needs_no_other_file_and_nothing_else_may_run(self, site):
        answer = site.get('/stats/')
        policy = answer.headers['Content-Security-Policy']
        nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy)[1]
        assert f'<script nonce="{nonce}">' in answer.text
        assert f'<style nonce="{nonce}">' in answer.text
        assert "default-src 'none'" in policy
        assert 'unsafe' not in policy
        assert not re.search(r'\b(src|style|on\w+)=', answer.text)
        assert nonce not in site.get('/stats/').text

    def test_all_that_clients_send_is_escaped(self, site, namespaces):
        evil = '<script>alert("1")</script>'
        namespaces[evil] = {evil: evil, 'Shards': {evil: {evil: evil}}, 'List': [{evil: evil}]}
        call = {'raw': False} if site.protocol == 'asgi' else {}
        for target in ('/broken', '/slow', '/nowhere'):
            site.get(f"{target}?q=<script>alert('2')</script>", validated=False, **call)
        text = site.get('/stats/').text
        assert text.count('<script') == 1
        assert 'alert(&#x27;2&#x27;)' in text
        assert '&lt;script&gt;alert(&quot;1&quot;)' in text

    def test_the_script_gets_the_same_numbers(self, site):
        site.get('/')
        site.get('/broken')
        answer = site.get('/stats/live')
        view = answer.json
        assert answer.headers['Content-Type'] == 'application/json'
        assert (view['enabled'], view['texts']['requests'], view['texts']['errors']) == (True, '2', '1')
        assert len(view['bars']['seconds']) == SECONDS
        assert sum(pair[0] for pair in view['bars']['latency']) == 2
        assert [row[1] for row in view['tables']['failures']] == ['GET /broken HTTP/1.1']
        page = site.get('/stats/').text
        for name in view['texts']:
            if name != 'site' or view['texts']['site']:
                assert f'data-text="{name}"' in page
        for name in view['tables']:
            assert f'data-table="{name}"' in page
        for name in view['bars']:
            assert f'data-bars="{name}"' in page

    def test_other_sites_numbers_are_not_shown(self, site, numbers):
        site.get('/')
        data = site.get('/stats/data').json
        assert data[APPLICATIONS]['Total Requests'] == numbers.requests == 1
        assert cpstats.appstats is not numbers.namespace

    def test_it_answers_while_all_threads_are_busy(self, asgi):
        class Root:
            stats = cpstats.StatsPage()

        asgi.mount(Root())
        pool = asgi.site.handler_pool()
        pool.submit = pool.run = None  # no thread is to be had
        for target in ('', 'live', 'data', 'metrics'):
            assert asgi.get(f'/stats/{target}').status == 200


class TestData:
    def test_it_is_json_in_order(self, site):
        site.get('/')
        answer = site.get('/stats/data')
        assert answer.headers['Content-Type'] == 'application/json'
        found = json.loads(answer.body)[APPLICATIONS]
        assert found['Enabled'] is True
        assert found['Total Requests'] == 1
        assert found['Latency']['50 %']['Seconds'] > 0
        assert list(found) == sorted(found)
        assert b'\n        "Bytes Read/Request"' in answer.body

    def test_it_has_every_name_that_readers_of_cherrypys_know(self, site):
        found = site.get('/stats/data').json[APPLICATIONS]
        names = (
            *('Bytes Read/Request', 'Bytes Read/Second', 'Bytes Written/Request', 'Bytes Written/Second'),
            *('Current Requests', 'Current Time', 'Enabled', 'Requests', 'Requests/Second', 'Server Version'),
            *('Start Time', 'Total Bytes Read', 'Total Bytes Written', 'Total Requests', 'Total Time', 'Uptime'),
        )
        assert [name for name in names if name not in found] == []

    def test_what_json_does_not_know_is_given_as_text(self, site, namespaces):
        namespaces['Mine'] = {
            'Thing': {
                1,
            },
            'f': lambda scope: len(scope),
        }
        found = site.get('/stats/data').json['Mine']
        assert found == {'Thing': '{1}', 'f': 2}


class TestMetrics:
    LINE = re.compile(r'(?P<name>[a-z_]+)\{(?P<labels>(?:[a-z]+="(?:[^"\\\n]|\\.)*",?)*)\} (?P<value>[0-9.e+-]+)')

    def test_every_line_is_prometheus_text(self, site):
        for target in ('/', '/broken', '/nowhere'):
            site.get(target)
        answer = site.get('/stats/metrics')
        assert answer.headers['Content-Type'] == 'text/plain;version=0.0.4;charset=utf-8'
        typed = set()
        values = {}
        for line in answer.text.splitlines():
            if line.startswith('# TYPE'):
                assert line.split()[2] not in typed
                typed.add(line.split()[2])
            elif not line.startswith('# HELP'):
                match = self.LINE.fullmatch(line)
                assert match, line
                assert 'pid="' in match['labels']
                values[match['name'], re.sub(r'(pid|site)="[^"]*",?', '', match['labels'])] = float(match['value'])
        assert values['cpadapter_requests_total', 'status="5xx"'] == 1
        assert values['cpadapter_requests_total', 'status="4xx"'] == 1
        assert values['cpadapter_requests_total', 'status="other"'] == 1
        assert values['cpadapter_request_duration_seconds_bucket', 'le="+Inf"'] == 3
        assert values['cpadapter_request_duration_seconds_count', ''] == 3
        buckets = [v for (name, _), v in values.items() if name == 'cpadapter_request_duration_seconds_bucket']
        assert buckets == sorted(buckets)

    def test_labels_are_escaped(self, client):
        def page():
            return 'x'

        page.exposed = True
        page.__qualname__ = 'a"b\\c\nd'

        class Root:
            pass

        Root.page = staticmethod(page)
        Root.stats = cpstats.StatsPage()
        client.mount(Root(), '', {'/': {'tools.cpstats.on': True}})
        client.get('/page')
        text = client.get('/stats/metrics').text
        assert r'a\"b\\c\nd"} 1' in text


class TestPauseAndResume:
    def test_a_post_pauses_and_resumes(self, site, numbers):
        answer = site.post('/stats/pause', form={'namespace': APPLICATIONS})
        assert (answer.status, answer.headers['Location']) == (303, 'http://testserver/stats/')
        assert numbers.enabled is False
        assert 'Counting is paused.' in site.get('/stats/').text
        site.post('/stats/resume', form={'namespace': APPLICATIONS})
        assert numbers.enabled is True
        assert 'Counting is paused.' not in site.get('/stats/').text

    def test_another_method_does_nothing(self, site, numbers):
        for method in ('GET', 'HEAD', 'PUT'):
            more = {'form': {'namespace': APPLICATIONS}} if method == 'PUT' else {}
            answer = site.request(method, f'/stats/pause?namespace={APPLICATIONS.replace(" ", "+")}', **more)
            assert (answer.status, answer.headers['Allow']) == (405, 'POST')
        assert numbers.enabled is True

    @pytest.mark.parametrize(
        ('headers', 'status'),
        [
            ({}, 303),
            ({'Origin': 'http://testserver'}, 303),
            ({'Origin': 'https://testserver'}, 303),
            ({'Origin': 'http://evil.example'}, 403),
            ({'Origin': 'http://testserver.evil.example'}, 403),
            ({'Origin': 'null'}, 403),
            ({'Referer': 'http://testserver/stats/'}, 303),
            ({'Referer': 'http://evil.example/testserver'}, 403),
            ({'Sec-Fetch-Site': 'same-origin'}, 303),
            ({'Sec-Fetch-Site': 'none'}, 303),
            ({'Sec-Fetch-Site': 'same-origin', 'Origin': 'http://other.name'}, 303),
            ({'Sec-Fetch-Site': 'cross-site'}, 403),
            ({'Sec-Fetch-Site': 'same-site', 'Origin': 'http://testserver'}, 403),
        ],
    )
    def test_another_sites_page_cannot(self, site, numbers, headers, status):
        assert site.post('/stats/pause', form={'namespace': APPLICATIONS}, headers=headers).status == status
        assert numbers.enabled == (status == 403)

    def test_an_unknown_namespace_is_not_found(self, site):
        assert site.post('/stats/pause', form={'namespace': 'nothing'}).status == 404
        assert site.post('/stats/pause', form={'namespace': [APPLICATIONS, 'nothing']}).status == 400

    def test_a_namespace_of_somebody_elses_is_switched_too(self, site, namespaces):
        namespaces['Mine'] = {'Enabled': True}
        assert 'value="Mine"' in site.get('/stats/').text
        site.post('/stats/pause', form={'namespace': 'Mine'})
        assert namespaces['Mine']['Enabled'] is False


class TestFunctions:
    def test_functions_in_a_scope_are_called_with_it(self):
        scope = {'a': lambda s: s['b'] + 1, 'b': 3, 'e': {'f': lambda s: 9}, 'l': [{'d': lambda s: 5}, 7]}
        assert cpstats.extrapolate_statistics(scope) == {'a': 4, 'b': 3, 'e': {'f': 9}, 'l': [{'d': 5}, 7]}
        assert callable(scope['a'])

    def test_averages_and_times(self):
        assert cpstats.average_uriset_time({'Count': 4, 'Sum': 2.0}) == 0.5
        assert cpstats.average_uriset_time({'Count': 0, 'Sum': 2.0}) == 0
        assert cpstats.proc_time({'Start Time': 0}) > 1e9
        assert re.fullmatch(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d', cpstats.iso_format(0))

    def test_buttons_suit_the_state(self):
        on, off = map(cpstats.pause_resume('a "b"'), (True, False))
        assert 'value="Resume" disabled' in on
        assert 'value="Pause" disabled' in off
        assert 'value="a &quot;b&quot;"' in on

    def test_bytes_read_are_counted(self):
        file = cpstats.ByteCountWrapper(io.BytesIO(b'one\ntwo\nthree\nfour\n'))
        assert (file.readline(), file.bytes_read) == (b'one\n', 4)
        assert (file.read(2), file.bytes_read) == (b'tw', 6)
        assert (file.readlines(3), file.bytes_read) == ([b'o\n', b'three\n'], 14)
        assert (list(file), file.bytes_read) == ([b'four\n'], 19)
        with pytest.raises(StopIteration):
            file.next()
        file.close()
        assert file.rfile.closed

    def test_the_default_sites_numbers_stand_in_logging_statistics(self):
        assert logging.statistics[APPLICATIONS] is cpstats.appstats
        assert cpstats.appstats is cpadapter.tools.cpstats.numbers.namespace
        assert cpstats.appstats['Enabled'] is True

    def test_importing_the_package_does_not_touch_logging(self):
        import subprocess
        import sys

        code = 'import logging, cpadapter; print(hasattr(logging, "statistics"), hasattr(cpadapter.tools, "cpstats"))'
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.split() == ['False', 'True']

    def test_collections_are_formatted_as_the_page_says(self):
        page = cpstats.StatsPage()
        headings, rows = page.get_dict_collection(
            {'b': {'x': 3}, 'a': {'x': 1, 'y': 2.5, 'z': 0}}, {'x': '%.2f', 'z': None}
        )
        assert (headings, rows) == (['x', 'y'], [['a', '1.00', 2.5], ['b', '3.00', '']])
        headings, rows = page.get_list_collection([{'x': 1, 'y': 2}, {'y': 'no number'}], {'y': '%d!'})
        assert (headings, rows) == (['x', 'y'], [[1, '2!'], ['', 'no number']])

    def test_namespaces_are_given_in_order_and_formatted(self, namespaces):
        namespaces['A'] = {'n': 1.5, 'd': {'k': {'v': 1}}, 'l': [{'v': 2}], 'hidden': 3}
        namespaces['B'] = 'no namespace'
        page = cpstats.StatsPage()
        page.formatting = {'A': {'n': '%.3f', 'hidden': None}}
        found = {title: rest for title, *rest in page.get_namespaces()}
        assert found['A'] == [[('n', '1.500')], [('d', ['ID', 'v'], [['k', 1]]), ('l', ['v'], [[2]])]]
        assert 'B' not in found
