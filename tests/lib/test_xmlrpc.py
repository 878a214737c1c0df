"""XML-RPC: XMLRPCController, the `xmlrpc` tool, and the parser that reads calls."""

from __future__ import annotations

import resource
import time
import xmlrpc.client

import pytest

import cpadapter
from cpadapter.lib import xmlrpcutil
from cpadapter.lib.xmlrpcutil import XMLRPCController, parse_call

XML = {'Content-Type': 'text/xml'}


@pytest.fixture
def call(client, handler):
    """Gives a call of a method, by name or as a whole document: the answer, with `value` or `fault`."""

    def echo(self, *args):
        return list(args)

    def fails(self):
        raise ValueError('secret <detail>')

    def fault(self):
        return xmlrpc.client.Fault(5, 'returned')

    def raised_fault(self):
        raise cpadapter.HTTPError(403, 'not you')

    def moved(self):
        raise cpadapter.HTTPRedirect('/elsewhere')

    def nothing(self):
        return None

    def text(self, code):
        return {'title': f'a{chr(code)}b'}

    def large(self):
        return 1 << 40

    def add(self, a, b=1):
        return a + b

    class Nested:
        pass

    Nested.add = handler(add)
    Nested.hidden = lambda self: 'hidden'
    Nested._private = cpadapter.expose(lambda self: 'private')

    class Calls(XMLRPCController):
        nested = Nested()
        numbers = [1]

    for func in (echo, fails, fault, raised_fault, moved, nothing, text, large, add):
        setattr(Calls, func.__name__, handler(func))
    Calls.hidden = lambda self: 'hidden'
    Calls._private = cpadapter.expose(lambda self: 'private')

    class Root:
        rpc = Calls()

    client.mount(Root(), '', {'/': {'request.show_tracebacks': False}})

    def do(method, *args, path='/rpc/', **more):
        body = method if isinstance(method, bytes) else xmlrpc.client.dumps(args, method, allow_none=True).encode()
        answer = client.post(path, headers=XML, body=body, **more)
        answer.value = answer.fault = None
        if answer.status == 200:
            try:
                ((answer.value,), _) = xmlrpc.client.loads(answer.body)
            except xmlrpc.client.Fault as exc:
                answer.fault = exc
        return answer

    return do


def config(client, **settings):
    client.site.config.update({key.replace('__', '.'): value for key, value in settings.items()})


@pytest.mark.parametrize('value', [1, 'text', 'grün ☃ <&>', True, 1.5, [1, ['a']], {'a': {'b': []}}, []])
def test_values_go_there_and_back(call, value):
    answer = call('echo', value)
    assert answer.value == [value]
    assert answer.headers['Content-Type'] == 'text/xml;charset=utf-8'
    assert answer.headers['Content-Length'] == str(len(answer.body))


def test_bytes_and_dates_go_there_and_back(call):
    assert call('echo', xmlrpc.client.Binary(b'\0\xff')).value == [xmlrpc.client.Binary(b'\0\xff')]
    date = xmlrpc.client.DateTime('20200229T12:00:00')
    assert call('echo', date).value == [date]


def test_dotted_names_are_walked(call):
    assert call('nested.add', 1, 2).value == 3


def test_the_rest_of_the_path_and_the_query_are_arguments_too(call):
    assert call('echo', 1, path='/rpc/a/b').value == ['a', 'b', 1]
    assert call('add', 1, path='/rpc/?b=5').fault.faultCode == 1
    assert call('nested.add', 'a', path='/rpc/?b=5').value == 'a5'


@pytest.mark.parametrize(
    'name',
    [
        *('nosuch', 'hidden', 'nested.hidden', 'nested', 'nested.nosuch', 'numbers.append', 'a.b.c', ''),
        *('_private', 'nested._private', '__class__', 'echo.__func__', 'nested.add.__globals__.get', '_cp_config.get'),
        *('.echo', 'echo.', 'default', 'nested.__init__', '_method', 'echo.__self__.echo', 'x' * 5000, 'é'),
    ],
)
def test_only_exposed_methods_without_underscore_are_called(call, client, name):
    answer = call(name)
    assert answer.fault.faultCode == 1
    told = name if len(name) <= 200 else f'{name[:200]}...'
    assert answer.fault.faultString == f'method "{told or "ERRORMETHOD"}" is not supported'
    assert answer.headers['Content-Type'] == 'text/xml'


def test_a_long_name_is_neither_told_nor_logged_whole(call, client):
    answer = call('x' * 100_000)
    assert len(answer.fault.faultString) < 300
    assert sum(map(len, client.errors)) < 5000


def test_an_exception_is_a_fault_without_its_text(call, client):
    answer = call('fails')
    assert answer.fault.faultCode == 1
    assert answer.fault.faultString.startswith('The server encountered an unexpected condition')
    assert b'secret' not in answer.body
    assert any('secret <detail>' in line for line in client.errors)


def test_an_exception_tells_its_text_where_tracebacks_are_shown(call, client):
    client.site.tree.apps[''].config['/']['request.show_tracebacks'] = True
    assert call('fails').fault.faultString == 'secret <detail>'
    assert 'missing 1 required positional argument' in call('add').fault.faultString


@pytest.mark.parametrize(('name', 'args'), [('nothing', ()), ('large', ()), ('add', ()), ('add', (1, 2, 3))])
def test_results_that_cannot_be_sent_and_wrong_arguments_are_faults(call, name, args):
    assert call(name, *args).fault.faultCode == 1


@pytest.mark.parametrize('code', [0, 1, 8, 0x0B, 0x0C, 0x1F, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF])
def test_text_that_no_document_can_hold_is_a_fault_that_says_so(call, code):
    answer = call('text', code)
    assert answer.status == 200
    assert answer.fault.faultString == (
        f'The result holds the character U+{code:04X}, which no XML document may: send bytes in its place.'
    )


@pytest.mark.parametrize('code', [9, 10, 0x7F, 0x85, 0x2028, 0xE000, 0xFFFD, 0x10000, 0x10FFFF])
def test_text_that_a_document_can_hold_is_sent(call, code):
    assert call('text', code).value == {'title': f'a{chr(code)}b'}


def test_a_fault_that_is_returned_is_sent_as_it_is(call):
    fault = call('fault').fault
    assert (fault.faultCode, fault.faultString) == (5, 'returned')


def test_http_errors_and_redirects_stay_what_they_are(call):
    assert call('raised_fault').status == 403
    assert call('moved').status == 303


def test_encoding_and_none_are_set_by_config(call, client):
    config(client, tools__xmlrpc__encoding='latin-1', tools__xmlrpc__allow_none=1)
    assert call('nothing').value is None
    answer = call('echo', 'grün ☃')
    assert answer.body.startswith(b"<?xml version='1.0' encoding='latin-1'?>")
    assert b'gr\xfcn &#9731;' in answer.body


def test_a_page_of_the_controller_is_a_page_like_any_other(call, client):
    assert client.get('/rpc/add?a=x&b=y').text == 'xy'


def test_a_call_by_get_is_a_fault(call, client):
    answer = client.get('/rpc/nosuch')
    assert b'method "ERRORMETHOD" is not supported' in answer.body


# --- the parser -----------------------------------------------------------------------------------------------

ENTITIES = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">%s]>
<methodCall><methodName>echo</methodName><params><param><value><string>&%s;</string></value></param></params></methodCall>"""
LAUGHS = ENTITIES % (
    ''.join(f'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">' for i in range(9)),
    'j',
)
QUADRATIC = ENTITIES.replace('aaaaaaaaaa', 'a' * 100_000).replace('&%s;', '&a;' * 100_000).replace('%s', '')
EXTERNAL = ENTITIES % ('<!ENTITY x SYSTEM "file:///etc/passwd">', 'x')
PARAMETER = '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x.dtd">%p;]><methodCall/>'
DTD = '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><methodCall><methodName>echo</methodName></methodCall>'


def nested(depth):
    before = '<value><array><data>' * depth
    after = '</data></array></value>' * depth
    return f'<methodCall><methodName>echo</methodName><params><param>{before}{after}</param></params></methodCall>'


HOSTILE = {
    'billion laughs': LAUGHS,
    'quadratic blowup': QUADRATIC,
    'external entity': EXTERNAL,
    'parameter entity': PARAMETER,
    'external document type': DTD,
    'empty document type': '<!DOCTYPE x><methodCall><methodName>echo</methodName></methodCall>',
    'nested 10000 deep': nested(10_000),
    'tags 1000000 deep': '<a>' * 1_000_000,
    'long number': '<methodCall><methodName>echo</methodName><params><param><value><int>'
    + '9' * 100_000
    + '</int></value></param></params></methodCall>',
    'undefined entity': '<methodCall><methodName>&nosuch;</methodName></methodCall>',
    'empty': '',
    'no xml': 'not xml',
    'NUL': '\0' * 1000,
    'other elements': '<x><value/><y/></x>',
    'a response': xmlrpc.client.dumps(('a',), methodresponse=True),
    'a fault': xmlrpc.client.dumps(xmlrpc.client.Fault(1, 'a')),
    'values without parameters': '<methodCall><value><struct><member></member></struct></value></methodCall>',
    'no date': '<methodCall><methodName>e</methodName><params><param><value><boolean>2</boolean></value></param>'
    '</params></methodCall>',
    'no base64': '<methodCall><methodName>e</methodName><params><param><value><base64>*</base64></value></param>'
    '</params>',
    'a member without a name': '<methodCall><params><param><value><struct><member><value>1</value></member>'
    '</struct></value></param></params></methodCall>',
    'an unknown encoding': '<?xml version="1.0" encoding="nosuch"?><methodCall/>',
}


@pytest.mark.parametrize('document', HOSTILE.values(), ids=HOSTILE)
def test_hostile_documents_are_faults_at_once_and_in_little_memory(call, document):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    answer = call(document.encode())
    assert time.process_time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB
    assert answer.fault.faultString.startswith('method "')


def test_every_prefix_of_a_call_is_refused():
    document = xmlrpc.client.dumps((1, 'a', [{'b': 1.5}]), 'echo').rstrip().encode()
    assert parse_call(document) == ((1, 'a', [{'b': 1.5}]), 'echo')
    for length in range(len(document)):
        with pytest.raises(ValueError, match=r'.'):
            parse_call(document[:length])


def test_elements_may_stand_as_deep_as_a_call_needs():
    (params, _) = parse_call(nested(90).encode())
    assert repr(params[0]).count('[') == 90


def test_encodings_of_documents_are_known():
    text = '<?xml version="1.0" encoding="%s"?>' + xmlrpc.client.dumps(('grün',), 'echo').partition('?>')[2]
    for name in ('utf-8', 'iso-8859-1', 'utf-16'):
        assert parse_call((text % name).encode(name)) == (('grün',), 'echo')


@pytest.mark.parametrize(
    ('path', 'patched'), [('/RPC2', '/'), ('/RPC2/', '/'), ('/RPC2/a', '/a/'), ('/a', '/a/'), ('/RPC2a', '/RPC2a/')]
)
def test_paths_are_patched(path, patched):
    assert xmlrpcutil.patched_path(path) == patched


def test_an_async_hook_does_not_keep_a_call_from_being_read(client):
    async def hook():
        pass

    class Root(XMLRPCController):
        _cp_config = {**XMLRPCController._cp_config, 'hooks.before_handler': hook}

        @cpadapter.expose
        def echo(self, text):
            return text

    client.mount(Root())
    answer = client.post('/', headers=XML, body=xmlrpc.client.dumps(('a' * 100_000,), 'echo').encode())
    assert xmlrpc.client.loads(answer.body) == (('a' * 100_000,), None)
