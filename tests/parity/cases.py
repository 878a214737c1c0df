"""The table of cases. Each id begins with the section of the rule it shows: here of Spec A, in cases_*.py of Spec B."""

from __future__ import annotations

import json
import xmlrpc.client
from typing import Any
from urllib.parse import urlencode

from . import (
    cases_auth_caching,
    cases_bodies,
    cases_errors,
    cases_extension,
    cases_helpers,
    cases_proxy_stats,
    cases_requests,
    cases_responses,
    cases_sessions,
    cases_static_encoding,
    cases_tools,
)
from .probes import DEFAULTS, FILE_SUPERSET, FIND_PATHS, TREE_PATHS, UNREPR, URLS_OUTSIDE
from .table import CASES, case, post, probe

__all__ = [
    'CASES',
    'cases_auth_caching',
    'cases_bodies',
    'cases_errors',
    'cases_extension',
    'cases_helpers',
    'cases_proxy_stats',
    'cases_requests',
    'cases_responses',
    'cases_sessions',
    'cases_static_encoding',
    'cases_tools',
]

# 1.1 exposure

for name in (
    'plain',
    'called',
    'alias_one',
    'original_one',
    'alias_two',
    'alias_three',
    'original_two',
    'alias_tuple',
    'alias_set',
    'alias_generator',
    'alias_keyword',
    'alias_keyword_1',
    'alias_keyword_2',
    'original_keyword',
    'statement',
    'alias_statement',
    'alias_statement_1',
    'alias_statement_2',
    'alias_statement_keyword',
    'dotted',
    'q.r',
    'q_r',
    'dashed',
    'x-y',
    'x_y',
    'global_',
    'xyz',
    'nex',
    'stacked_a',
    'stacked_b',
    'stacked_c',
    'alias_config',
    'by_hand',
    'falsy',
    'truthy',
    'toggled',
    'page_class',
    'static_above',
    'static_below',
    'class_below',
    'property_below',
    'instance',
    'partial',
    'builtin',
):
    case(f'A1.1-{name}', f'/x/{name}')
case('A1.1-page_class-argument', '/x/page_class/x')
case('A1.1-instance-arguments', '/x/instance/a', 'b=1')
case('A1.1-partial-arguments', '/x/partial/a', 'b=1')
case('A1.1-toggle-on', '/x/toggle/on')
case('A1.1-toggled-on', '/x/toggled')
case('A1.1-toggle-off', '/x/toggle/off')
case('A1.1-toggled-off', '/x/toggled')
probe('A1.1-bound-method', 'expose_bound_method')
probe('A1.1-alias-bytes', 'expose_alias_bytes')
probe('A1.1-returns-the-same', 'expose_returns_the_same')
probe('A1.1-alias-binds-in-the-class-body', 'expose_alias_in_a_function')
probe('A1.1-property', 'expose_property')

# 1.2 what counts as a tree, and what handlers give

for path in ('', '/', '/a', '/a/b', '/a/b/'):
    case(f'A1.2-function-root{path or "-empty"}', '/fn' + path, 'q=1')
case('A1.2-class-root', '/class/')
case('A1.2-class-root-method', '/class/method')
case('A1.2-class-root-method-argument', '/class/method', 'name=y')
case('A1.2-module-root', '/module/')
case('A1.2-module-root-page', '/module/page/a/b')
case('A1.2-module-root-unexposed', '/module/__name__')
for path in ('/', '/a/b', '/child', '/child/x'):
    case(f'A1.2-callable-root{path}', '/callable' + path)
case('A1.2-none-root', '/none/')
case('A1.2-none-root-deep', '/none/a/b')
case('A1.2-none-root-no-slash', '/none')
case('A1.2-callable-node', '/cal')
case('A1.2-callable-node-slash', '/cal/')
case('A1.2-callable-node-child', '/cal/child')
case('A1.2-callable-node-arguments', '/cal/x/y')
case('A1.2-unexposed-walked', '/hidden/inner')
case('A1.2-unexposed-node', '/hidden')
case('A1.2-unexposed-node-slash', '/hidden/')
case('A1.2-unexposed-method', '/hidden/not_exposed')
case('A1.2-unexposed-config', '/hidden/conf')
for name in (
    'generator',
    'generator_bytes',
    'bytes',
    'list',
    'list_bytes',
    'tuple',
    'file',
    'text_file',
    'iterator',
    'map',
    'none',
    'empty',
    'empty_bytes',
    'empty_list',
    'unicode',
    'int',
    'float',
    'object',
    'list_int',
    'async',
):
    case(f'A1.2-gives-{name}', f'/x/g_{name}')
for name in ('str', 'bytes', 'list', 'empty'):
    case(f'A1.2-unencoded-{name}', f'/x/e_{name}')
case('A1.2-streamed', '/x/stream')
case('A1.2-body-then-none', '/x/body_then_none')
case('A1.2-own-length', '/x/length')
case('A1.2-head-length', '/x/plain', method='HEAD')
case('A1.2-head-generator', '/x/g_generator', method='HEAD')

# 2.1 segments

for ident, path in {
    'root': '/',
    'empty': '',
    'double-slash-root': '//',
    'double-slashes': '//method//a',
    'many-slashes': '///method///a///b',
    'trailing-double': '/method//',
    'dot': '/./plain',
    'dot-segment': '/method/./a',
    'dotdot': '/method/../plain',
    'dotdot-first': '/../plain',
    'dot-only': '/.',
    'dotdot-only': '/..',
    'translated-dot': '/translate.html',
    'translated-dash': '/translate-html',
    'translated-underscore': '/translate_html',
    'translated-colon': '/a:b',
    'translated-comma': '/a,b',
    'translated-tilde': '/a~b',
    'translated-at': '/a@b',
    'translated-plus': '/a+b',
    'translated-space': '/a b',
    'authority': '/created.example.com:3128',
    'arguments-untranslated': '/method/a.b/c-d',
    'utf-8-name': '/grün',
    'utf-8-argument': '/grün/ä',
    'case-sensitive': '/PLAIN',
    'null-byte': '/pla\0in',
    'percent-argument': '/method/100%',
    'space-argument': '/method/a b',
    'question-argument': '/method/a?b',
}.items():
    case(f'A2.1-{ident}', path)
case('A2.1-all-punctuation', '/x' + '!"#$%&\'()*+,-.:;<=>?@[\\]^_`{|}~' + '!')
case('A2.1-latin-1-name', b'/Von B\xfclow')
case('A2.1-utf-8-spelling-of-a-name', '/Von Bülow')
case('A2.1-connect', '/created.example.com:3128', method='CONNECT')
case('A2.1-invalid-utf-8-argument', b'/method/\xff\xfe')

# 2.2, 2.3 walk and choice

for ident, path in {
    'index-by-name': '/index',
    'index-by-name-slash': '/index/',
    'index-takes-no-vpath': '/index/q',
    'index-redirect': '/dir',
    'index-slash': '/dir/',
    'index-method': '/dir/method/a/b',
    'index-method-slash': '/dir/method/',
    'index-vpath': '/dir/x',
    'dir-index-by-name': '/dir/index',
    'fixed': '/dir/fixed',
    'fixed-vpath': '/dir/fixed/x',
    'hidden-method': '/dir/hidden',
    'default-without-index': '/default_only',
    'default-slash': '/default_only/',
    'default-arg': '/default_only/x',
    'default-arg-slash': '/default_only/x/',
    'default-hidden': '/default_only/hidden',
    'default-by-name': '/default_only/default',
    'default-by-name-arg': '/default_only/default/a',
    'both-index': '/both',
    'both-index-slash': '/both/',
    'both-default': '/both/x',
    'both-method': '/both/method/x',
    'method-vpath': '/method/a/b',
    'method-vpath-slash': '/method/a/b/',
    'noindex': '/noindex',
    'noindex-slash': '/noindex/',
    'noindex-leaf': '/noindex/leaf',
    'noindex-leaf-vpath': '/noindex/leaf/a',
    'noindex-index': '/noindex/index',
    'nearest-default': '/dir3/dir4/index',
    'nearest-default-slash': '/dir3/dir4/',
    'nearest-default-node': '/dir3/dir4',
    'unexposed-default': '/unexposed_default',
    'unexposed-default-x': '/unexposed_default/x',
    'unexposed-default-by-name': '/unexposed_default/default',
    'unexposed-default-by-name-arg': '/unexposed_default/default/a',
    'object-default': '/object_default',
    'object-default-arg': '/object_default/a/b',
    'object-default-child': '/object_default/default/child',
    'inherited': '/derived/inherited',
    'property': '/derived/prop/a',
    'single-underscore': '/derived/_single',
    'none-attribute': '/nothing',
    'none-attribute-below': '/nothing/x',
    'string-attribute': '/data',
    'string-method': '/data/upper',
    'chain-index': '/chain/a',
    'chain-index-slash': '/chain/a/',
    'chain-default': '/chain/a/x',
    'chain-default-slash': '/chain/a/x/',
    'missing': '/nosuch',
    'missing-slash': '/nosuch/',
    'missing-deep': '/no/such/page',
    'missing-escaped': '/<b>&"\'',
    'plain-slash': '/plain/',
    'plain-extra': '/plain/x',
}.items():
    case(f'A2.3-{ident}', path)
for ident, path in {
    'intermediate-index': '/wd/dir2/5/3/sir',
    'root-default': '/wd/x',
    'root-default-slash': '/wd/x/',
    'mount-only': '/wd',
    'mount-slash': '/wd/',
    'root-default-by-name': '/wd/default',
    'root-default-by-name-arg': '/wd/default/a',
    'hidden-falls-to-root-default': '/wd/hidden/not_exposed',
    'noindex-falls-to-root-default': '/wd/noindex/',
    'hidden-arg': '/wd/hidden',
    'method-before-default': '/wd/noindex/leaf/q',
    'index-beats-default': '/wd/dir/',
    'dir-index-tail': '/wd/dir/index/x',
    'dir4-index': '/wd/dir3/dir4/index/x',
    'string-attribute': '/wd/data/x',
}.items():
    case(f'A2.3-default-{ident}', path)
for method in ('POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PURGE', 'get'):
    case(f'A2.3-any-method-{method}', '/plain', method=method, body=b'')
    case(f'A2.3-any-method-redirects-{method}', '/dir', 'a=1', method=method, body=b'')
case('A2.3-redirect-keeps-the-query', '/dir', 'a=1&b=%20')
case('A2.3-redirect-http-1.0', '/dir', environ={'SERVER_PROTOCOL': 'HTTP/1.0'})
for ident, path in {
    'class': '/__class__',
    'class-slash': '/__class__/',
    'self': '/plain/__self__/',
    'self-page': '/plain/__self__/plain',
    'func': '/plain/__func__',
    'func-globals': '/plain/__func__/__globals__',
    'init': '/__init__',
    'dict': '/__dict__',
    'module': '/__module__',
    'below-default': '/wd/__class__',
    'below-default-slash': '/wd/__class__/plain',
    'cp-config': '/_cp_config',
    'translated': '/--class--/',
    'translated-dots': '/..class../plain',
    'doc': '/__doc__',
    'private-mangled': '/__private',
}.items():
    case(f'A2.3-dunder-{ident}', path)

# 2.4 after the choice

for ident, path in {
    'slash': '/page%2Fname',
    'argument': '/page/a%2Fb',
    'argument-lower': '/page/a%2fb',
    'argument-both': '/method/a%2fb%2Fc',
    'default': '/default_only/page%2Fname',
    'default-lower': '/default_only/page%2fname',
    'other-escape': '/page/a%20b',
}.items():
    case(f'A2.4-{ident}', path)
case('A2.4-raw-uri-escaped-slash', '/page/a/b', environ={'RAW_URI': '/page/a%2Fb', 'REQUEST_URI': '/page/a%2Fb'})
case('A2.4-raw-uri-double-escape', '/page/a%2Fb', environ={'RAW_URI': '/page/a%252Fb', 'REQUEST_URI': '/page/a%252Fb'})

# 2.5 _cp_dispatch

for ident, path in {
    'one': '/d/pop_one/x',
    'one-slash': '/d/pop_one/x/',
    'one-method': '/d/pop_one/x/method/a',
    'one-end': '/d/pop_one/',
    'one-end-no-slash': '/d/pop_one',
    'one-attribute-first': '/d/pop_one/page',
    'last': '/d/pop_last/method/y/x',
    'last-index': '/d/pop_last/x/',
    'all': '/d/pop_all/a/b/c/',
    'all-no-slash': '/d/pop_all/a/b/c',
    'all-attribute-below': '/d/pop_all/a/method',
    'none-popped': '/d/pop_none/x/',
    'none-popped-method': '/d/pop_none/x/method',
    'self': '/d/self_node/a/',
    'self-page': '/d/self_node/a/page',
    'self-twice': '/d/self_node/a/b/page',
    'returns-none': '/d/none_node/a/b',
    'returns-list': '/d/list_node/a/b',
    'returns-list-one': '/d/list_node/a',
    'grows': '/d/grow/a',
    'exposed-is-a-page': '/d/exposed_dispatch/_cp_dispatch',
    'exposed-is-no-dispatcher': '/d/exposed_dispatch/a',
    'not-callable': '/d/not_callable/a',
    'raises-404': '/d/raises/404',
    'raises-redirect': '/d/raises/redirect',
    'raises-notfound': '/d/raises/notfound/x',
    'raises-other': '/d/raises/boom',
    'by-url': '/d/pop_one/_cp_dispatch',
    'renamed': '/d/renamed/x/',
    'renamed-method': '/d/renamed/x/method',
}.items():
    case(f'A2.5-{ident}', path)
case('A2.5-params-hold-no-query', '/d/params/k/', 'q=1')
post('A2.5-params-hold-no-body', '/d/params/k/', 'b=2')
for number in ('one', 'two', 'three'):
    case(f'A2.5-sections-of-popped-{number}', '/d/conf/one/two/conf', f'key={number}')

# 2.6 popargs

for ident, path in {
    'none': '/d/p/',
    'one': '/d/p/1/',
    'two': '/d/p/1/2/',
    'three': '/d/p/1/2/3/',
    'no-slash': '/d/p/1',
    'attribute-first': '/d/p/act',
    'attribute-after-one': '/d/p/1/act',
    'attribute-after-two': '/d/p/1/2/act',
    'attribute-after-two-arg': '/d/p/1/2/act/x',
    'as-attribute': '/d/attr/1/',
    'as-attribute-act': '/d/attr/1/act',
    'as-attribute-missing': '/d/attr/1/nosuch',
    'as-attribute-untranslated': '/d/attr/1/dash-ed',
    'as-attribute-underscore': '/d/attr/1/dash_ed',
    'default': '/d/dt/1/2',
    'default-one': '/d/dt/1',
    'default-slash': '/d/dt/1/2/',
    'no-names': '/d/nothing/x',
    'no-names-index': '/d/nothing/',
    'no-names-page': '/d/nothing/page',
    'handler': '/d/handler/2010/10/',
    'handler-method': '/d/handler/2010/10/method/x',
    'handler-own-index': '/d/handler/',
    'handler-one': '/d/handler/2010/',
    'class': '/d/cls/2010/10/',
    'class-one': '/d/cls/2010/',
    'class-act': '/d/cls/2010/10/act',
    'factory': '/d/factory/2010/',
    'factory-method': '/d/factory/2010/method',
    'nested': '/d/users/ann/posts/7/',
    'nested-none': '/d/users/ann/posts/',
    'nested-edit': '/d/users/ann/posts/7/edit',
    'nested-user': '/d/users/ann/',
    'escaped-slash': '/d/p/x%2Fy/',
    'escaped-slash-lower': '/d/p/x%2fy/',
    'utf-8': '/d/p/grün/',
    'dunder': '/d/attr/1/__class__',
    'dunder-name': '/d/p/__class__/',
}.items():
    case(f'A2.6-{ident}', path)
case('A2.6-query-of-the-same-name', '/d/p/1/', 'a=2')
case('A2.6-query-of-another-name', '/d/p/1/', 'c=2')
case('A2.6-query-fills-a-missing-name', '/d/p/1/', 'b=2')
post('A2.6-body-of-the-same-name', '/d/p/1/', 'a=2')
post('A2.6-body-of-another-name', '/d/p/1/', 'c=2')
case('A2.6-class-query', '/d/cls/2010/', 'year=5')
probe('A2.6-unknown-keyword', 'popargs_unknown_keyword')
probe('A2.0-translate-must-be-a-dict', 'translate_must_be_a_dict')
probe('A2.0-dispatch-method-name', 'dispatch_method_name')

# 2, 4 dispatchers of one's own

for path in ('/plain', '/PLAIN', '/Dir/', '/METHOD/A'):
    case(f'A2.0-lowering{path}', '/lower' + path, variant='dispatchers')
case('A2.0-find-handler', '/find/method/a', variant='dispatchers')
case('A2.0-hand-made', '/hand/any/path', variant='dispatchers')
case('A2.0-translate-own', '/tr/a-b', variant='dispatchers')
case('A2.0-translate-own-not', '/tr/a.b', variant='dispatchers')
case('A2.0-translate-own-kept', '/tr/a_b', variant='dispatchers')
case('A4.0-not-from-code', '/ignored/', variant='dispatchers')
case('A4.0-most-specific-method', '/mixed/both', variant='dispatchers')
case('A4.0-most-specific-default', '/mixed/both/method/x', variant='dispatchers')
case('A4.0-elsewhere-default', '/mixed/dir/', variant='dispatchers')

# 3.1 the handler's arguments

for name in (
    'args',
    'kwargs',
    'params',
    'early_params',
    'replaced',
    'skipped',
    'skipped_body',
    'error',
    'redirect',
    'notfound',
    'seen',
):
    case(f'A3.1-{name}', f'/args/{name}')
case('A3.1-args-with-path', '/args/args/a/b', 'q=1')
case('A3.1-kwargs-with-query', '/args/kwargs/a', 'q=1')
case('A3.1-params-with-query', '/args/params/a', 'q=1&added=mine')
case('A3.1-early-params-with-query', '/args/early_params/a', 'q=1&added=mine')
case('A3.1-seen-with-query', '/args/seen/a', 'q=1')
probe('A3.1-errors-are-callable', 'errors_are_callable')

# 3.2 params

for ident, query in {
    'pair': 'a=1',
    'two': 'a=1&b=2',
    'semicolon': 'a=1;b=2',
    'mixed-separators': 'a=1;b=2&c=3',
    'no-value': 'a',
    'empty-value': 'a=',
    'blank-name': '=1',
    'only-ampersands': '&&&',
    'empty': '',
    'plus': 'a=b+c',
    'escaped': 'a=%20b%2Bc',
    'escaped-name': 'a%20b=1',
    'repeated': 'a=1&a=2&a=3',
    'utf-8': 'a=gr%C3%BCn',
    'bad-utf-8': 'a=%FF',
    'bad-utf-8-name': '%FF=1',
    'lone-percent': 'a=100%',
    'bad-escape': 'a=%zz',
    'equals-in-value': 'a=b=c',
    'brackets': 'a[b]=1',
    'image-map': '223,114',
    'image-map-three': '1,2,3',
    'image-map-tail': '12,34&a=1',
    'image-map-text': '1,2x',
    'image-map-not': 'x,1',
    'image-map-escaped': '1%2C2',
    'url-in-query': 'service=http://a.b/c?d',
    'null': 'a=%00',
    'question': 'a=b?c',
    'self': 'self=1',
    'cherrypy': 'cherrypy=1',
    'handler-names': 'args=1&kwargs=2&func=3',
    'trailing': 'a=1&',
    'unescaped-utf-8': 'a=gr\u00c3\u00bcn',
}.items():
    case(f'A3.2-query-{ident}', '/par/only_kwargs', query)
case('A3.2-latin-1-encoding', '/par/latin', 'a=%FC')
case('A3.2-image-map-types', '/par/only_kwargs', '5,6')
for ident, (query, body) in {
    'only': ('', 'a=1'),
    'both': ('a=1', 'b=2'),
    'same-name': ('a=1', 'a=2'),
    'same-name-repeated': ('a=1', 'a=2&a=3'),
    'both-repeated': ('a=0&a=1', 'a=2&a=3'),
    'repeated': ('', 'a=1&a=2'),
    'blank': ('', 'a='),
    'semicolon': ('', 'a=1;b=2'),
    'escaped': ('', 'a=%C3%BC+x'),
    'empty': ('q=1', ''),
    'latin-1-fallback': ('', 'a=%FC'),
    'no-equals': ('', 'a'),
    'self': ('', 'self=1'),
}.items():
    post(f'A3.2-body-{ident}', '/par/only_kwargs', body, query)
post('A3.2-body-put', '/par/only_kwargs', 'a=1', method='PUT')
post('A3.2-body-patch', '/par/only_kwargs', 'a=1', method='PATCH')
post('A3.2-body-delete-is-not-read', '/par/only_kwargs', 'a=1', method='DELETE')
post('A3.2-body-get-is-not-read', '/par/only_kwargs', 'a=1', method='GET')
post('A3.2-methods-with-bodies', '/par/bodies', 'a=1', method='DELETE')
post('A3.2-process-request-body', '/par/unread', 'a=1', 'q=2')
post('A3.2-body-params-apart', '/par/body_params', 'a=1&b=2', 'a=0')
post('A3.2-body-charsets', '/par/charsets', 'a=1')
post('A3.2-body-maxbytes', '/par/small', 'a=123456789')
post('A3.2-body-maxbytes-small', '/par/small', 'a=1')
post('A3.2-body-json-is-not-params', '/par/only_kwargs', '{"a": 1}', headers={'Content-Type': 'application/json'})
post(
    'A3.2-body-upper-case-type',
    '/par/only_kwargs',
    'a=1',
    headers={'Content-Type': 'Application/X-WWW-Form-Urlencoded'},
)
MULTIPART = (
    '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n2\r\n--b--\r\n'
)
post('A3.2-body-multipart', '/par/only_kwargs', MULTIPART, headers={'Content-Type': 'multipart/form-data; boundary=b'})
post(
    'A3.2-body-multipart-and-query',
    '/par/only_kwargs',
    MULTIPART,
    'a=0',
    headers={'Content-Type': 'multipart/form-data; boundary=b'},
)

# 3.3 parameter mismatch

MISMATCHES: dict[str, list[tuple[str, str]]] = {
    # handler: (rest of the path, query)
    'no_positional': [('', ''), ('/foo', ''), ('', 'param1=foo'), ('/foo', 'param1=foo')],
    'one_positional': [
        ('', ''),
        ('/foo', ''),
        ('/foo/bar', ''),
        ('/foo/bar/baz', ''),
        ('', 'param1=foo'),
        ('', 'param1=foo&param1=bar'),
        ('/foo', 'param1=foo'),
        ('/foo', 'param2=x'),
        ('', 'param2=x'),
        ('/foo/bar', 'param1=x'),
        ('/foo/', ''),
    ],
    'two_positional': [
        ('', ''),
        ('/a', ''),
        ('/a/b', ''),
        ('/a/b/c', ''),
        ('/a', 'param1=x'),
        ('/a', 'param2=x'),
        ('', 'param1=1&param2=2'),
        ('/a/b', 'param1=x&param2=y'),
        ('', 'param2=x'),
    ],
    'one_default': [('', ''), ('/a', ''), ('', 'param1=x'), ('/a', 'param1=x'), ('/a/b', ''), ('', 'zz=1')],
    'one_args': [('', ''), ('/a', ''), ('/a/b/c', ''), ('/a', 'zz=1'), ('', 'param1=x'), ('/a/b', 'param1=x')],
    'one_args_kwargs': [('', ''), ('/a/b', 'zz=1'), ('/a', 'param1=x'), ('', 'param1=x')],
    'one_kwargs': [('', ''), ('/a', 'zz=1'), ('/a/b', 'zz=1'), ('/a', 'param1=1')],
    'only_args': [('', ''), ('/a/b', ''), ('', 'zz=1'), ('/a', 'args=1')],
    'only_kwargs': [('/a', ''), ('/a', 'b=1')],
    'call_one': [('', ''), ('/a', ''), ('/a/b', ''), ('', 'param1=x'), ('/a', 'param1=x'), ('', 'zz=1')],
    'call_none': [('', ''), ('/a', ''), ('', 'zz=1')],
    'keyword_only': [('', ''), ('/extra', ''), ('', 'name=y'), ('', 'zz=1')],
    'keyword_required': [('', ''), ('', 'name=y'), ('/extra', 'name=y'), ('', 'zz=1')],
    'positional_only': [('', ''), ('/a', ''), ('', 'name=y'), ('/a', 'name=y')],
    'static': [('', ''), ('/a', ''), ('', 'name=y'), ('', 'name=y&zz=1'), ('/a/b', '')],
    'decorated': [('', ''), ('/a', ''), ('', 'zz=1'), ('/a', 'zz=1')],
    'decorated_raises': [('/a', '')],
    'supplied': [('', ''), ('', 'name=y'), ('', 'zz=1')],
    'raises': [('', ''), ('', 'a=1')],
    'raises_default': [('', ''), ('/a', '')],
    'quiet': [('', ''), ('/a/b', ''), ('/a', 'param1=x'), ('/a', 'zz=1')],
}
for name, rows in MISMATCHES.items():
    for rest, query in rows:
        case(f'A3.3-{name}{rest or "-none"}{"?" if query else ""}{query}', f'/par/{name}{rest}', query)
for name, rest, query, body in (
    ('no_positional', '', '', 'param1=foo'),
    ('one_positional', '', '', 'param1=foo'),
    ('one_positional', '/foo', '', 'param1=foo'),
    ('one_positional', '/foo', '', 'zz=1'),
    ('one_positional', '/foo', 'zz=3', 'zz=4'),
    ('one_positional', '/foo', 'yy=3', 'zz=4'),
    ('one_positional', '/foo/bar', '', 'zz=1'),
    ('one_positional', '', 'param1=a', 'param1=b'),
    ('two_positional', '/a', '', 'param1=x'),
    ('two_positional', '/a/b', 'param1=q', 'param2=b'),
    ('call_one', '/a', '', 'param1=x'),
    ('call_none', '', '', 'zz=1'),
    ('quiet', '/a', '', 'zz=1'),
    ('quiet', '', '', ''),
    ('one_default', '', '', 'aa=1&bb=2'),
    ('one_positional', '', '', ''),
):
    post(f'A3.3-{name}{rest or "-none"}-post-{query}-{body}', f'/par/{name}{rest}', body, query)
case('A3.3-two-unexpected', '/par/no_positional', 'zz=1&aa=2')
case('A3.3-escaped-names', '/par/no_positional', '%3Cb%3E=1')

# 3.4 paths and encodings

for ident, path in {
    'utf-8': '/echo/grün',
    'latin-1': b'/echo/gr\xfcn',
    'plain': '/echo/a',
    'double-slash': '/echo//a',
    'other-app-latin-1': b'/latin/echo/gr\xfcn',
    'other-app-utf-8': '/latin/echo/grün',
}.items():
    case(f'A3.4-path-{ident}', path, variant='wire')
case('A3.4-query-utf-8', '/echo', 'a=%C3%BC', variant='wire')
case('A3.4-query-latin-1-path-utf-8', b'/echo/\xfc', 'a=%C3%BC', variant='wire')
case('A3.4-empty-path', '', variant='wire')
case('A3.4-script-name-in-environ', '/echo/x', environ={'SCRIPT_NAME': '/latin'}, variant='wire')

# 3.5 protocol

for protocol in ('HTTP/1.0', 'HTTP/1.1', 'HTTP/2', 'HTTP/2.0', 'HTTP/3', 'HTTP/0.9'):
    case(
        f'A3.5-protocol-{protocol}',
        '/get',
        'name=request.protocol',
        environ={'SERVER_PROTOCOL': protocol},
        variant='wire',
    )
case('A3.5-protocol-missing', '/get', 'name=request.protocol', environ={'SERVER_PROTOCOL': None}, variant='wire')
case(
    'A3.5-protocol-of-the-server',
    '/get',
    'name=request.protocol',
    environ={'ACTUAL_SERVER_PROTOCOL': 'HTTP/1.0'},
    variant='wire',
)
case('A3.5-no-host', '/', environ={'HTTP_HOST': None}, variant='wire')
case(
    'A3.5-no-host-http-1.0',
    '/get',
    'name=request.base',
    environ={'HTTP_HOST': None, 'SERVER_PROTOCOL': 'HTTP/1.0'},
    variant='wire',
)
case('A3.5-host-with-port', '/get', 'name=request.base', headers={'Host': 'h:8080'}, variant='wire')
case('A3.5-head', '/echo', method='HEAD', variant='wire')
case('A3.5-post-without-length', '/echo', method='POST', variant='wire')
case('A3.5-put-without-length', '/echo', method='PUT', variant='wire')
case('A3.5-delete-without-length', '/echo', method='DELETE', variant='wire')
case(
    'A3.5-post-chunked',
    '/echo',
    method='POST',
    headers={'Transfer-Encoding': 'chunked'},
    environ={'wsgi.input_terminated': True},
    variant='wire',
)
for ident, cookie in {
    'one': 'a=1',
    'two': 'a=1; b=2',
    'bad-name': 'a=1; bad,name=2; b=3',
    'quoted': 'a="x y"',
    'empty': '',
    'nameless': '=1; a=2',
}.items():
    case(f'A11-cookie-{ident}', '/cookie', headers={'Cookie': cookie}, variant='wire')
case('A11-set-cookie', '/set_cookie', variant='wire')
for code in ('200', '201', '404', '204', '304', '298', '200 Fine', '781', 'error', '100'):
    case(f'A8-status-{code}', '/status', urlencode({'code': code}), variant='wire')
case('A5.4-attributes', '/attributes', variant='wire')
for ident, environ in {
    'no-port': {'SERVER_PORT': None},
    'empty-port': {'SERVER_PORT': ''},
    'no-remote': {'REMOTE_ADDR': None, 'REMOTE_PORT': None},
    'empty-remote-port': {'REMOTE_PORT': ''},
    'remote-host': {'REMOTE_HOST': 'client.example'},
    'remote-user': {'REMOTE_USER': 'ann'},
    'logon-user': {'LOGON_USER': 'bob', 'REMOTE_USER': 'ann'},
    'empty-user': {'REMOTE_USER': ''},
    'https': {'wsgi.url_scheme': 'https'},
    'no-multithread': {'wsgi.multithread': None},
    'no-multiprocess': {'wsgi.multiprocess': None},
    'multiprocess': {'wsgi.multiprocess': True, 'wsgi.multithread': False},
}.items():
    case(f'A5.4-attributes-{ident}', '/attributes', environ=environ, variant='wire')
case('A5.4-headers', '/headers', headers={'X-One': '1', 'Accept': 'text/html'}, variant='wire', ignore=())
case(
    'A5.4-headers-of-the-environ',
    '/headers',
    environ={'CONTENT_TYPE': 'a/b', 'CONTENT_LENGTH': '0', 'REMOTE_HOST': 'r', 'HTTP_CGI_AUTHORIZATION': 'Basic x'},
    variant='wire',
)
case('A5.4-headers-sent-in-the-servers-name', '/headers', headers={'Remote-Addr': '6.6.6.6'}, variant='wire')
case('A5.4-header-latin-1', '/header', 'name=X-Text', headers={'X-Text': 'gr\xfcn'}, variant='wire')
case('A5.4-header-rfc-2047', '/header', 'name=X-Text', headers={'X-Text': '=?utf-8?q?gr=C3=BCn?='}, variant='wire')
case('A8-header-out', '/header_out', 'value=text', variant='wire')
case('A8-header-out-latin-1', '/header_out', 'value=gr%C3%BCn', variant='wire')
case('A8-header-out-new-line', '/header_out', 'value=a%0D%0AX-Injected:%20b', variant='wire')

# 4.1 MethodDispatcher

for ident, path in {
    'root': '/',
    'root-no-slash': '',
    'thing': '/thing',
    'thing-slash': '/thing/',
    'thing-vpath': '/thing/a/b',
    'fixed': '/fixed',
    'fixed-vpath': '/fixed/x',
    'nomethods': '/nomethods',
    'constants': '/constants',
    'withindex': '/withindex',
    'withindex-slash': '/withindex/',
    'class': '/cls/a',
    'unexposed': '/unexposed',
    'unexposed-child': '/unexposed/child',
    'collection': '/collection',
    'collection-slash': '/collection/',
    'collection-vpath': '/collection/x',
    'at': '/at',
    'at-slash': '/at/',
    'dynamic': '/dynamic',
    'dynamic-below': '/dynamic/7',
    'dynamic-vpath': '/dynamic/7/x',
    'popped': '/popped',
    'popped-one': '/popped/5',
    'missing-below-root': '/nosuch',
    'escaped-slash': '/thing/a%2Fb',
}.items():
    for method in ('GET', 'HEAD'):
        case(f'A4.1-{method}-{ident}', '/m' + path, method=method, variant='dispatchers')
for method in ('POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'get', 'FOO', 'X_1', '_PRIV'):
    for name in ('thing', 'fixed', 'constants', 'nomethods', 'withindex'):
        case(f'A4.1-{method}-{name}', f'/m/{name}', method=method, body=b'', variant='dispatchers')
case('A4.1-head-explicit', '/m/head', method='HEAD', variant='dispatchers')
case('A4.1-head-explicit-get', '/m/head', variant='dispatchers')
case('A4.1-query', '/m/thing', 'a=1', variant='dispatchers')
case('A4.1-query-mismatch', '/m/fixed', 'a=1', variant='dispatchers')
case('A4.1-popped-query', '/m/popped/5', 'ident=6', variant='dispatchers')
post('A4.1-put-body', '/m/thing', 'a=1', method='PUT', variant='dispatchers')
case('A4.1-delete-query', '/m/fixed', 'key=k', method='DELETE', variant='dispatchers')
case('A4.1-delete-missing', '/m/fixed', method='DELETE', variant='dispatchers')

# 4.2 RoutesDispatcher

for ident, (path, query) in {
    'main': ('/', ''),
    'city': ('/city/index/3', ''),
    'city-update': ('/city/update/3', ''),
    'city-query': ('/city/index/3', 'x=1'),
    'city-query-same-name': ('/city/index/3', 'id=9'),
    'no-match': ('/nosuch', ''),
    'wrong-method': ('/only/3', ''),
    'unknown-action': ('/city/nosuch/3', ''),
    'private': ('/city/_private/3', ''),
    'dunder': ('/city/__init__/3', ''),
    'function': ('/function/7', ''),
    'made': ('/made/7', ''),
    'direct': ('/direct/7', ''),
    'exposed-not-checked': ('/city/hidden/1', ''),
    'conf-own': ('/conf/own', ''),
    'conf-who': ('/conf/who', ''),
    'conf-root': ('/conf/root', ''),
    'conf-path': ('/conf/path', ''),
    'conf-last': ('/conf/last', ''),
    'trailing-slash': ('/city/index/3/', ''),
    'no-slash': ('', ''),
}.items():
    case(f'A4.2-{ident}', '/r' + path, query, variant='routes')
post('A4.2-put', '/r/only/3', '', method='PUT', variant='routes')
post('A4.2-body-same-name', '/r/city/index/3', 'id=9', variant='routes')
case('A4.2-full-result', '/full/city/index/3', variant='routes')

# 4.3 XMLRPCDispatcher

for ident, (name, arguments) in {
    'call': ('foo', ()),
    'list': ('return_list', ()),
    'echo': ('echo', (1, 'a', [True])),
    'dotted': ('nested.add', (1, 2)),
    'dotted-unexposed': ('nested.unexposed', ()),
    'unknown': ('nosuch', ()),
    'unknown-dotted': ('a.b.nosuch', ()),
    'unexposed': ('unexposed', ()),
    'fault': ('fault', ()),
    'raises': ('raises', ()),
    'mismatch': ('foo', (1,)),
    'unicode': ('unicode', ()),
    'dunder': ('__class__', ()),
    'dunder-dotted': ('foo.__func__', ()),
}.items():
    body = xmlrpc.client.dumps(arguments, name)
    post(f'A4.3-{ident}', '/xmlrpc/', body, headers={'Content-Type': 'text/xml'}, variant='xmlrpc')
FOO = xmlrpc.client.dumps((), 'foo')
post('A4.3-no-slash', '/xmlrpc', FOO, headers={'Content-Type': 'text/xml'}, variant='xmlrpc')
post('A4.3-rpc2', '/RPC2/xr/', FOO, headers={'Content-Type': 'text/xml'}, variant='xmlrpc')
post('A4.3-rpc2-no-slash', '/RPC2/xr', FOO, headers={'Content-Type': 'text/xml'}, variant='xmlrpc')
post('A4.3-not-xml', '/xmlrpc/', 'not xml', headers={'Content-Type': 'text/xml'}, variant='xmlrpc')
post('A4.3-vpath', '/xmlrpc/extra/', FOO, headers={'Content-Type': 'text/xml'}, variant='xmlrpc')
case('A4.3-get-page', '/xmlrpc/foo', variant='xmlrpc')
case('A4.3-get-page-slash', '/xmlrpc/foo/', variant='xmlrpc')
case('A4.3-other-page', '/', variant='xmlrpc')

# 4.4 VirtualHost dispatcher

for ident, host in {
    'none': 'other.com',
    'prefix': 'www.d2.com',
    'prefix-slash': 'www.d3.com:8080',
    'bare': 'bare.com',
    'method': 'www.d4.com',
    'port-differs': 'www.d2.com:8080',
    'upper': 'WWW.D2.COM',
    'key-case': 'case.com',
    'port-missing': 'www.d3.com',
}.items():
    for path in ('/', '/page/a', '/conf', '/url'):
        case(f'A4.4-{ident}{path}', '/vh' + path, headers={'Host': host}, variant='dispatchers')
case('A4.4-index-redirect', '/vh', headers={'Host': 'www.d2.com'}, variant='dispatchers')
for app in ('vh', 'vhdirect'):
    for ident, forwarded in {'match': 'www.d2.com', 'no-match': 'x.com', 'empty': ''}.items():
        case(
            f'A4.4-{app}-forwarded-{ident}',
            f'/{app}/page',
            headers={'Host': 'www.d3.com:8080', 'X-Forwarded-Host': forwarded},
            variant='dispatchers',
        )

# 5.1 Application

for name in (
    'script_name_is_stripped',
    'application_repr',
    'application_repr_without_script_name',
    'application_members',
    'application_config_is_its_own',
    'toolboxes_are_per_application',
    'get_serving',
):
    probe(f'A5.1-{name}', name)
for app in ('empty', 'app', 'none', 'slash', 'root none'):
    for ident, (script_name, path) in {
        'root': ('', '/'),
        'mount': ('', '/app/info'),
        'outer': ('/app', '/info'),
        'outer-slash': ('/app/', '/info'),
        'other': ('', '/other/info'),
        'plain': ('', '/info'),
        'outer-other': ('/x', '/info'),
        'outer-and-mount': ('/x', '/app/info'),
        'prefix-of-a-name': ('', '/application'),
        'outer-root': ('/app', '/'),
        'outer-empty': ('/app', ''),
        'outer-url': ('/app', '/url'),
    }.items():
        case(
            f'A5.1-direct-{app}-{ident}',
            path,
            headers={'X-Choose': app},
            environ={'SCRIPT_NAME': script_name},
            variant='direct',
        )

# 5.2 Tree

for name in (
    'mount_gives_the_application',
    'mount_without_script_name',
    'mount_of_an_application_without_script_name',
    'mount_of_an_application_elsewhere',
    'mount_of_an_application_at_its_name',
    'mount_replaces',
    'mount_without_slash',
    'mount_sets_the_icon',
    'mount_of_a_root_without_attributes',
    'mount_of_a_number',
    'graft_gives_none',
    'tree_script_name_with_a_root',
    'tree_script_name_outside',
):
    probe(f'A5.2-{name}', name)
for path in TREE_PATHS:
    probe(f'A5.2-script_name{path or "-empty"}', f'tree_script_name {path}')
for ident, path in {
    'root': '/',
    'foo': '/foo/',
    'foo-no-slash': '/foo',
    'blog': '/users/fred/blog/',
    'corp': '/corp/blog/',
    'foobar': '/foobar',
    'users': '/users/fred',
    'isolated': '/isolated/',
    'isolated-missing': '/isolated/doesnt/exist',
    'isolated-no-slash': '/isolated',
    'double-slash': '//foo//contact',
    'slashed': '/slashed/',
    'graft': '/hosted/app1',
    'graft-slash': '/hosted/app1/',
    'graft-path': '/hosted/app1/a/b',
    'graft-none': '/hosted/app2/',
    'graft-none-info': '/hosted/app4/info',
    'graft-none-no-slash': '/hosted/app4',
    'graft-named': '/hosted/app3/',
    'graft-named-info': '/hosted/app3/info',
    'graft-missing': '/hosted/app9',
}.items():
    case(f'A5.2-tree-{ident}', path, variant='mounts')
for prefix in ('', '/foo', '/users/fred/blog', '/corp/blog'):
    for name in ('script_name', 'user', 'app_user', 'url', 'info', 'contact'):
        case(f'A12-blog{prefix}/{name}', f'{prefix}/{name}', variant='mounts')
    for rest in ('/defnoindex', '/defnoindex/', '/defnoindex/page'):
        case(f'A12-blog{prefix}{rest}', prefix + rest, variant='mounts')
    for rest in ('/redirect_via_url', '/redirect_via_url/'):
        case(f'A12-blog{prefix}{rest}', prefix + rest, 'path=./', variant='mounts')
case('A12-absolute-uri-in-the-query', '/contact', 'service=http://192.168.0.1/x', variant='mounts')
case('A12-script-name-in-environ', '/info', environ={'SCRIPT_NAME': '/foo'}, variant='mounts')
case('A12-outer-script-name', '/foo/info', environ={'SCRIPT_NAME': '/outer'}, variant='mounts')
for ident, path in {
    'miss': '/',
    'miss-deep': '/a/b',
    'hit': '/only/',
    'hit-no-slash': '/only',
    'prefix': '/onlyx',
    'unslashed': '/unslashed/',
    'non-ascii': '/grün/',
    'non-ascii-page': '/grün/contact',
}.items():
    case(f'A5.2-noroot-{ident}', path, variant='noroot')
case('A5.2-noroot-head', '/', method='HEAD', variant='noroot')
for name in ('favicon', 'favicon_override', 'favicon_config', 'favicon_none', 'favicon_slots'):
    case(
        f'A5.2-{name}',
        '/favicon.ico',
        variant=name,
        ignore=('body', 'content-length') if name in ('favicon', 'favicon_slots') else (),
    )
    case(f'A5.2-{name}-index', '/', variant=name)
case('A5.2-favicon_override-tool', '/tool/favicon.ico', variant='favicon_override')
case('A5.2-favicon-below', '/below/favicon.ico', variant='favicon')
for ident, (host, forwarded) in {
    'default': ('x.example', None),
    'one': ('www.one.example', None),
    'two': ('www.two.example:8080', None),
    'forwarded': ('x.example', 'www.one.example'),
    'case': ('WWW.ONE.EXAMPLE', None),
    'forwarded-other': ('www.one.example', 'x.example'),
}.items():
    headers = {'Host': host} | ({'X-Forwarded-Host': forwarded} if forwarded else {})
    case(f'A5.4-vhost-{ident}', '/', headers=headers, variant='virtualhost')
    case(f'A5.4-vhost-{ident}-url', '/url', headers=headers, variant='virtualhost')

# 5.3 quickstart

for name in (
    'quickstart_with_a_dict',
    'quickstart_without_a_global_section',
    'quickstart_with_an_open_file',
    'quickstart_with_a_flat_dict',
):
    probe(f'A5.3-{name}', name)

# 5.4 pipeline

for name in ('wsgi_names', 'pipeline_defaults', 'pipeline_key_without_dot', 'pipeline_merged_twice'):
    probe(f'A5.4-{name}', name)
for ident, path in {
    'plain': '/',
    'replaced': '/replaced/',
    'replaced-fail': '/replaced/fail',
    'twice': '/twice/',
    'late': '/late/',
    'boom': '/boom',
    'thrown': '/thrown',
    'thrown-quiet': '/thrown_quiet',
    'thrown-404': '/thrown_404',
    'key': '/key_2',
    'value': '/value_text',
    'status': '/status_text',
    'exits': '/exits',
    'stream-first': '/stream_first',
    'stream-later': '/stream_later',
    'catching': '/catching/thrown',
}.items():
    case(f'A5.4-pipeline-{ident}', path, variant='pipeline')
case('A5.4-response-class', '/shouting/', variant='response_class')
for prefix in ('', '/app'):
    for ident, (path, query) in {
        'plain': ('/go', 'to=/target'),
        'query': ('/go', 'to=/target&query=a%3D1'),
        'query-in-path': ('/go', 'to=/target%3Fa%3D1'),
        'query-in-path-wins': ('/go', 'to=/target%3Fa%3D1&query=b%3D2'),
        'relative': ('/deep/relative', ''),
        'missing': ('/go', 'to=/nosuch'),
        'count': ('/count', ''),
        'loop': ('/loop', ''),
        'pair': ('/pair', ''),
        'hook': ('/hooked', 'early=1'),
        'hook-not': ('/hooked', ''),
        'error-hook': ('/erring', ''),
        'tool': ('/tool', ''),
        'tool-external': ('/tool_external', ''),
        'err-tool': ('/err_tool', ''),
        'config': ('/conf_from', ''),
        'index': ('/go', 'to=/'),
        'absolute': ('/go', 'to=http://other.example/target'),
        'cookies': ('/cookies', ''),
        'streamed': ('/streamed', ''),
        'dir': ('/go', 'to=/deep'),
    }.items():
        case(
            f'A5.4-internal{prefix}-{ident}',
            prefix + path,
            query,
            variant='internal',
            ignore=('body',) if ident == 'absolute' else (),
        )
case('A5.4-internal-head', '/go', 'to=/target', method='HEAD', variant='internal')
post('A5.4-internal-post', '/go', 'a=1', 'to=/target', variant='internal')
case('A5.4-internal-outer', '/go', 'to=/target', environ={'SCRIPT_NAME': '/app'}, variant='internal')
case('A5.4-internal-emptied', '/emptied', variant='internal')

# 6 url


def url_case(ident: str, path: str, *args: Any, method: str = 'GET', **kwargs: Any) -> None:
    query = urlencode({'a': json.dumps(args), 'k': json.dumps(kwargs)})
    case(f'A6-{ident}', path, query, method=method, variant='url')


url_case('leaf', '/app/d/leaf')
url_case('leaf-slash', '/app/d/leaf/')
url_case('leaf-slash-p', '/app/d/leaf/', 'p')
url_case('index-unslashed', '/app/unslashed', 'p')
url_case('index-unslashed-empty', '/app/unslashed')
url_case('index-slashed', '/app/d/', 'p')
url_case('index-slashed-empty', '/app/d/')
url_case('default-unslashed', '/app/bare', 'p')
url_case('default-slashed', '/app/bare/', 'p')
url_case('default-vpath', '/app/bare/x', 'p')
for path_ in (
    'p',
    './p',
    '/p',
    '../p',
    'a/./b',
    '..',
    'p/',
    '?x=1',
    '/p?x=1',
    'p#f',
    '/',
    '.',
    './',
    '../',
    '../..',
    '../../p',
    'a/../b',
    '/x/..',
    '/a/./b/',
    '/x/../..',
    '/a/../b',
    '/a//b',
    'a//./b',
    '...',
    '/..p',
    'http://e.com/z',
    '//e.com/z',
    'grün',
    'a b',
    'mailto:x',
    '',
    '/p;x=1',
    '%2e%2e/p',
    'a/b/../../c',
    '/./',
):
    url_case(f'leaf-{path_ or "empty"}', '/app/d/leaf', path_)
url_case('vp', '/app/d/vp/x/y', 'p')
url_case('vp-up', '/app/d/vp/x/y', '../p')
url_case('vp-empty', '/app/d/vp/x/y')
url_case('qs', '/app/d/leaf', 'p', 'x=1')
url_case('qs-dict', '/app/d/leaf', qs={'a': 1, 'b': 'c d'})
url_case('qs-list', '/app/d/leaf', 'p', [['a', 1], ['a', 2]])
url_case('qs-list-value', '/app/d/leaf', 'p', {'a': [1, 2]})
url_case('qs-empty', '/app/d/leaf', 'p', '')
url_case('qs-not-normalised', '/app/d/leaf', 'p', 'next=/a/../b')
url_case('qs-after-query', '/app/d/leaf', 'p?x=1', 'y=2')
url_case('script-name-empty', '/app/d/leaf', 'p', script_name='')
url_case('script-name', '/app/d/leaf', 'p', script_name='/zz')
url_case('base', '/app/d/leaf', 'p', base='https://x')
url_case('base-empty', '/app/d/leaf', 'p', base='')
url_case('base-empty-server', '/app/d/leaf', 'p', base='', relative='server')
url_case('request-base', '/app/d/based', 'p')
url_case('request-base-absolute', '/app/d/based', '/p')
for path_ in ('p', '/p', '/', '', '../p', 'leaf/p', './', '/d/', '/d/x/y', 'leaf'):
    url_case(f'relative-{path_ or "empty"}', '/app/d/leaf', path_, relative=True)
    url_case(f'relative-server-{path_ or "empty"}', '/app/d/leaf', path_, relative='server')
url_case('relative-false', '/rel/d/leaf', 'p', relative=False)
url_case('relative-of-the-app', '/rel/d/leaf', 'p')
url_case('relative-of-the-app-up', '/rel/d/leaf', '/p')
url_case('relative-server-of-the-app', '/srv/d/leaf', 'p')
url_case('relative-query', '/app/d/leaf', 'p', 'x=1', relative=True)
url_case('relative-index', '/app/d/', '/d/p', relative=True)
url_case('above-the-root', '/url/leaf', '/other/../../../page1')
url_case('above-the-root-relative', '/url/leaf', '../../../page1')
url_case('baseurl-relative', '/baseurl', '/ab', relative=True)
url_case('baseurl-relative-root', '/baseurl', '/', relative=True)
url_case('root-up', '/app/', '../p')
url_case('root-p', '/app/', 'p')
url_case('root-empty', '/app/')
url_case('root-app', '/', 'p')
url_case('root-app-up', '/', '../p')
url_case('non-ascii-current-path', '/app/d/vp/grün', 'p')
url_case('post', '/app/d/leaf', 'p', method='HEAD')
case('A6-https', '/app/d/leaf', urlencode({'a': '["p"]'}), environ={'wsgi.url_scheme': 'https'}, variant='url')
case('A6-host', '/app/d/leaf', urlencode({'a': '["p"]'}), headers={'Host': 'other.example:81'}, variant='url')
case('A6-tree-script-name', '/app/tree_name', variant='url')
case('A6-tree-script-name-root', '/tree_name', variant='url')
case('A6-extra', '/app/extra', variant='url')
for ident, to in {
    'relative': 'x',
    'server-root': '/x',
    'absolute': 'http://e.com/z',
    'network': '//e.com/z',
    'empty': '',
    'query': '?q=1',
    'up': '../x',
    'non-ascii': '/grün',
    'space': '/a b',
    'list': ['a', 'b'],
    'escaped': '/a?b=<"\'&>',
}.items():
    case(f'A6-redirect-{ident}', '/app/redirect', urlencode({'to': json.dumps(to)}), variant='url')
for status in (300, 301, 302, 303, 305, 307, 308, 304, 399, 299):
    case(
        f'A6-redirect-status-{status}', '/app/redirect', urlencode({'to': '"/x"', 'status': str(status)}), variant='url'
    )
case(
    'A6-redirect-http-1.0',
    '/app/redirect',
    urlencode({'to': '"/x"'}),
    environ={'SERVER_PROTOCOL': 'HTTP/1.0'},
    variant='url',
)
case('A6-redirect-new-line', '/app/redirect', urlencode({'to': json.dumps('/x\r\nX-Injected: 1')}), variant='url')
for name in URLS_OUTSIDE:
    probe(f'A6-outside-{name}', f'url_outside {name}')
for name in (
    'server_base',
    'server_base_port_80',
    'server_base_ssl',
    'server_base_ssl_port',
    'server_base_name',
    'server_base_socket_file',
    'server_base_any_host_is_this_host',
):
    probe(f'A6-{name}', name)

# 7.1 config values and files

for name in UNREPR:
    probe(f'A7.1-unrepr-{name}', f'unrepr {name}')
for name in FILE_SUPERSET:
    probe(f'A7.1-file-{name}', f'file {name}')
for name in (
    'file_missing',
    'file_without_section',
    'file_with_a_duplicate_option',
    'file_with_a_duplicate_section',
    'file_with_an_option_without_value',
    'file_with_a_bare_percent',
    'file_naming_the_package',
    'reprconf_api',
    'reprconf_attributes_missing',
    'reprconf_load',
    'namespace_set',
    'namespace_set_swallows',
):
    probe(f'A7.1-{name}', name)
for key in (
    'from.file',
    'who',
    'neg',
    'flt',
    'cplx',
    'nothing',
    'empty',
    'byt',
    'true',
    'ellipsis',
    'joined',
    'lst',
    'dct',
    'plus',
    'times',
    'stradd',
    'percent',
    'attr',
    'sub',
    'idx',
    'call',
    'builtin',
    'inline',
    'continued',
    'CaseSensitive',
    'casesensitive',
    'ones',
    'section',
    '/ignored',
):
    case(f'A7.1-value-{key}', '/typed', urlencode({'key': key}), variant='files')
case('A7.1-value-module', '/name', variant='files')
case('A7.1-files-are-watched', '/watched', variant='files')
case('A7.1-section', '/branch/', 'key=section', variant='files')
case('A7.1-section-default', '/branch/', 'key=ones', variant='files')
case('A7.1-own-section', '/app_config', 'section=own+section&key=key', variant='files')
case('A7.1-dispatcher', '/methods/thing', variant='files')
case('A7.1-dispatcher-405', '/methods/fixed', method='PUT', body=b'', variant='files')
case('A7.1-opened', '/opened/typed', 'key=who', variant='files')
case('A7.1-opened-section', '/opened/branch/', 'key=section', variant='files')

# 7.2 global config

for name in (
    'config_defaults',
    'config_update_takes_the_global_section',
    'config_update_without_a_global_section',
    'config_update_of_the_callers_dict',
    'config_update_sets_the_static_section',
    'config_unknown_environment',
    'config_environment_by_item',
    'config_environment_gives_way',
    'config_own_environment',
    'config_namespace_failing',
    'config_namespace_calls',
    'config_reset_restores_what_it_set',
    'config_decorates_functions_and_classes',
    'config_decorates_a_subclass',
    'tool_decorates_a_subclass',
):
    probe(f'A7.2-{name}', name)
for name in ('staging', 'production', 'embedded', 'test_suite'):
    probe(f'A7.2-environment-{name}', f'environment {name}')
    case(f'A7.2-{name}-traceback', '/fail', variant=name)
    case(f'A7.2-{name}-404-traceback', '/error', variant=name)
    case(f'A7.2-{name}-mismatch', '/positional', variant=name)
    case(f'A7.2-{name}-mismatch-query', '/positional/a', 'zz=1', variant=name)
    for key in ('engine.autoreload.on', 'checker.on', 'tools.log_headers.on', 'request.show_tracebacks', 'log.screen'):
        case(f'A7.2-{name}-{key}', '/setting', f'key={key}', variant=name)

# 7.3, 7.4 application config

for name in (
    'merge_flat',
    'merge_leaves_the_callers_dict',
    'merge_runs_the_namespaces_of_the_root_section',
    'merge_again_applies_what_changed',
    'merge_sets_the_log',
):
    probe(f'A7.3-{name}', name)
for path, key in FIND_PATHS:
    probe(f'A7.3-find_config-{path}-{key}', f'find_config {path} {key}')
case('A7.3-free-section', '/app_config', 'section=database&key=dsn', variant='config')
case('A7.3-global-section-is-kept', '/app_config', 'section=global&key=inert', variant='config')
case('A7.3-global-section-is-inert', '/', 'key=inert', variant='config')
for path in ('/branch/leaf', '/branch', '/branches', '/', ''):
    case(f'A7.3-find{path}', '/find', urlencode({'path': path, 'key': 'code'}), variant='config')
for prefix in ('', '/bare', '/static'):
    for path in (
        '/',
        '/branch/',
        '/branch/leaf',
        '/branch/leaf/x',
        '/branch/a.b',
        '/branch/a_b',
        '/branch/z/w',
        '/branch/z%2Fw',
        '/branch/y',
        '/branch/default',
        '/branch/index',
        '/instance/',
        '/sub/',
        '/sub/leaf',
        '/withhidden/hidden',
        '/branch//leaf',
        '/branch/leaf2',
    ):
        for key in (
            'who',
            'code',
            'at',
            'leaf',
            'dflt',
            'section',
            'own',
            'root',
            'hidden',
            'site',
            'only.root',
            'tools.staticdir.section',
        ):
            wanted = (
                (prefix == '' and key != 'tools.staticdir.section')
                or (prefix == '/bare' and key in ('who', 'code'))
                or (
                    prefix == '/static'
                    and key == 'tools.staticdir.section'
                    and path in ('/', '/branch/', '/branch/leaf')
                )
            )
            if wanted:
                case(f'A7.4-{prefix}{path}-{key}', prefix + path, f'key={key}', variant='config')
case('A7.4-unknown-tool-off', '/', variant='config')

# 7.5, 7.6 namespaces and tools

for name in (
    'server_namespace',
    'server_namespace_empty_host',
    'server_namespace_second_server',
    'engine_namespace',
    'engine_namespace_unknown_plugin',
    'engine_namespace_plugin',
    'engine_namespace_signal',
    'engine_namespace_signal_none',
    'tree_namespace',
    'log_namespace',
    'checker_namespace',
):
    probe(f'A7.5-{name}', name)
for name in (
    'tool_with_a_positional_argument',
    'tool_on_is_refused',
    'tool_on_cannot_be_read',
    'tool_decorator_writes_config',
    'toolbox_register',
    'toolbox_names_a_tool',
):
    probe(f'A7.6-{name}', name)
for name in (
    'global_seen',
    'config_seen',
    'app_seen',
    'raw',
    'managed',
    'two_hooks',
    'failsafe',
    'bad_hook',
    'bad_error_page',
    'own_page',
    'own_default',
    'own_file',
    'own_file_missing',
    'response_keys',
    'request_keys',
    'own_response',
):
    case(f'A7.5-{name}', f'/{name}', variant='namespaces')
case('A7.5-manager-without-a-key', '/index', variant='namespaces')
for name in (
    'decorated',
    'off',
    'on',
    'ordered',
    'prioritised',
    'bad_argument',
    'bad_tool',
    'bad_tool_off',
    'two_dots',
    'boxed',
    'box_off',
):
    case(f'A7.6-{name}', f'/{name}', variant='namespaces')
for query in ('n=1', 'n=x', 'n=1&n=2', ''):
    case(f'A7.6-tool_params?{query}', '/tool_params', query, variant='namespaces')

# 8 defaults

for owner, names in DEFAULTS.items():
    for name in names:
        probe(f'A8-default-{owner}.{name}', f'default {owner}.{name}')
probe('A8-hook-points', 'hook_points')
case('A8-default-404', '/nosuch', variant='bare')
case('A8-default-500', '/fail', variant='bare')
case('A8-default-error-page', '/error', 'code=404&message=%3Cb%3E', variant='bare')
case('A8-default-headers', '/', variant='bare', show=('Server', 'Date'))
case('A8-error-page-sniffing', '/error', variant='wire', show=('X-Content-Type-Options',))
case('A8-error-page-sniffing-500', '/fail', variant='wire', show=('X-Content-Type-Options',))
case('A8-default-mismatch', '/get', variant='bare')
post('A8-many-fields-form', '/fields', '&'.join(f'a{n}=1' for n in range(10_001)), variant='bare')
case('A8-many-fields', '/fields', '&'.join(f'a{n}=1' for n in range(10_001)), variant='bare')
for code in (
    400,
    401,
    403,
    404,
    405,
    406,
    408,
    409,
    410,
    411,
    412,
    413,
    414,
    415,
    416,
    417,
    418,
    422,
    428,
    429,
    431,
    500,
    501,
    502,
    503,
    504,
    505,
):
    case(f'A8-error-{code}', '/error', f'code={code}', variant='wire')
case('A8-trailing-slash-of-a-missing-page', '/branch/leaf/', variant='config')

# the settings that restore

case('restored-query-separators', '/keywords', 'a=1;b=2&c=3', variant='restored')
post('restored-query-separators-body', '/keywords', 'a=1;b=2&c=3', variant='restored')
case('restored-traceback-404', '/nosuch', variant='restored')
case('restored-traceback-500', '/fail', variant='restored')
case('restored-traceback-error', '/error', 'code=410&message=gone', variant='restored')
case('restored-server-header', '/', variant='restored', show=('Server',))

# 9 checker

probe('A9-leaves-no-application-behind', 'checker_leaves_no_application_behind')
probe('A9-reports-every-empty-application', 'checker_reports_every_empty_application')

# 10 names

for name in ('names', 'all_names', 'proxy_items', 'serving_load_and_clear', 'module_attributes_are_assignable'):
    probe(f'A10-{name}', name)

# 11 order

for name in ('page', 'boom', 'error', 'redirect'):
    case(f'A11-{name}', f'/{name}', 'q=1', variant='order')
    post(f'A11-{name}-post', f'/{name}', 'b=1', 'q=1', variant='order')
    case(f'A11-{name}-end', '/last', variant='order')
case('A11-missing', '/nosuch', 'q=1', variant='order')
case('A11-bad-query', '/page', 'q=%FF', variant='order')
