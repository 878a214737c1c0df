"""Where cpadapter is meant to answer otherwise than CherryPy, and what it must answer there.

Each entry names its row of docs/differences.md. `ELSEWHERE` names, for rows that no case of this folder can show, the
tests that show them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache

__all__ = ['DIFFERENCES', 'ELSEWHERE', 'UNTRIED', 'WSGI_ALONE', 'Difference', 'difference_for']

Wanted = str | re.Pattern[str]

ANY = re.compile(r'(?s).*')
SOME = re.compile(r'(?s).+')


@dataclass(frozen=True)
class Difference:
    """What cpadapter answers to the cases that `cases` names.

    cases: one id, or a glob over ids in which only `*` and `?` are special.
    row: key of the row in docs/differences.md.
    status: the status code, the whole line, or 'probe'. body, headers: text, or a pattern for the whole of it; a
    header that is None must be absent. What is not named is not compared.
    """

    cases: str
    row: str
    status: int | str
    body: Wanted = ANY
    headers: dict[str, Wanted | None] = field(default_factory=dict)


DIFFERENCES: list[Difference] = []


def differs(row: str, cases: str, status: int | str, body: Wanted = ANY, **headers: Wanted | None) -> None:
    named = {name.replace('_', '-').title(): value for name, value in headers.items()}
    DIFFERENCES.append(Difference(cases, row, status, body, named))


@cache
def difference_for(ident: str) -> Difference | None:
    """Give the entry for a case, the more precise one first written; None where both must answer alike."""
    for entry in DIFFERENCES:
        # Ids hold brackets, which fnmatch would read as sets.
        if fnmatchcase(ident, entry.cases.replace('[', '[[]')):
            return entry
    return None


def said(text: str) -> re.Pattern[str]:
    return re.compile(rf'(?s).*{re.escape(text)}.*')


OWN_500 = re.compile(r'own page: 500 Internal Server Error \| .*')
PAGE_404 = '[error page] 404 Not Found | '
NOT_FOUND = re.compile(r'\[error page\] 404 Not Found \| .*')

# exposure

differs('alias-punctuation', 'A1.1-x-y', 200, 'dashed')
differs('alias-punctuation', 'A1.1-x_y', 200, 'dashed')
differs('expose-anything', 'A1.1-static_below', 200, 'static below')
differs('expose-anything', 'A1.1-class_below', 200, 'class below')
differs('expose-anything', 'A1.1-property_below', 200, 'TypeError')
differs('expose-anything', 'A1.1-builtin', 200, 'TypeError')
differs('expose-anything', 'A1.1-instance', 200, 'instance () []')
differs('expose-anything', 'A1.1-instance-arguments', 200, "instance ('a',) [('b', '1')]")
differs('expose-anything', 'A1.1-partial', 200, "plain function ('given',) []")
differs('expose-anything', 'A1.1-partial-arguments', 200, "plain function ('given', 'a') [('b', '1')]")
differs('expose-anything', 'A1.1-property', 'probe', re.compile('TypeError: .*'))
differs('expose-anything', 'A1.1-bound-method', 'probe', re.compile('TypeError: .*'))
differs('async-handlers', 'A1.2-gives-async', 200, 'async')

# dispatch

differs('leading-underscores', 'A2.3-dunder-below-default', 200, "root.default ('__class__',) []")
differs('leading-underscores', 'A2.3-dunder-below-default-slash', 200, "root.default ('__class__', 'plain') []")
for name in ('class', 'class-slash', 'self', 'self-page', 'func', 'func-globals', 'translated', 'translated-dots'):
    differs('leading-underscores', f'A2.3-dunder-{name}', 404, NOT_FOUND)
differs('leading-underscores', 'A2.6-dunder', 404)
differs('leading-underscores', 'A2.6-dunder-name', 200, "pop.index () [('a', '__class__')]")
differs('escaped-slash', 'A2.4-argument-lower', 200, "page ('a/b',) []")
differs('escaped-slash', 'A2.4-argument-both', 200, "method ('a/b/c',) []")
differs('escaped-slash', 'A2.4-default-lower', 200, "default_only.default ('page/name',) []")
differs('escaped-slash', 'A2.4-raw-uri-escaped-slash', 200, "page ('a/b',) []")
differs('escaped-slash', 'A2.4-raw-uri-double-escape', 200, "page ('a%2Fb',) []")
differs('escaped-slash', 'A2.6-escaped-slash', 200, "pop.index () [('a', 'x/y')]")
differs('escaped-slash', 'A2.6-escaped-slash-lower', 200, "pop.index () [('a', 'x/y')]")
differs('dispatch-errors', 'A2.5-grows', 500, OWN_500)
differs('dispatch-errors', 'A2.5-raises-404', 404, re.compile(r'own page: 404 Not Found \| from the dispatcher *'))
differs(
    'dispatch-errors',
    'A2.5-raises-notfound',
    404,
    re.compile(r'own page: 404 Not Found \| The path .* was not found. *'),
)
differs('dispatch-errors', 'A2.5-raises-other', 500, OWN_500)
differs('dispatch-errors', 'A2.5-raises-redirect', 303, said('/elsewhere'), location='http://h/elsewhere', x_path=SOME)
differs('path-parameters-win', 'A2.6-query-of-the-same-name', 200, "pop.index () [('a', '1')]")
differs('path-parameters-win', 'A2.6-body-of-the-same-name', 200, "pop.index () [('a', '1')]")
differs('path-parameters-win', 'A4.1-popped-query', 200, 'popped 5 () []')
differs('path-parameters-win', 'A4.2-city-query-same-name', 200, "index city () [('id', '3')]")
differs('path-parameters-win', 'A4.2-body-same-name', 200, "index city () [('id', '3')]")
differs('popargs-names', 'A2.6-as-attribute-untranslated', 200, 'dashed 1')
differs('consumed-segments', 'A2.5-last', 200, "node method last x ('y',) []")
differs('consumed-segments', 'A2.6-default', 200, "pop.default ('2',) [('a', '1')]")
differs('consumed-segments', 'A2.6-default-slash', 200, "pop.default ('2',) [('a', '1')]")

# parameters

differs('query-separators', 'A3.2-query-semicolon', 200, "kwargs () [('a', '1;b=2')]")
differs('query-separators', 'A3.2-query-mixed-separators', 200, "kwargs () [('a', '1;b=2'), ('c', '3')]")
differs('query-separators', 'A3.2-body-semicolon', 200, "kwargs () [('a', '1;b=2')]")
differs('flat-parameter-lists', 'A3.2-body-same-name-repeated', 200, "kwargs () [('a', ['1', '2', '3'])]")
differs('flat-parameter-lists', 'A3.2-body-both-repeated', 200, "kwargs () [('a', ['0', '1', '2', '3'])]")
differs('flat-parameter-lists', 'A3.2-body-multipart-and-query', 200, "kwargs () [('a', ['0', '1', '2'])]")
differs('image-map', 'A3.2-query-image-map-three', 200, "kwargs () [('1,2,3', '')]")
differs('image-map', 'A3.2-query-image-map-tail', 200, "kwargs () [('12,34', ''), ('a', '1')]")
differs('image-map', 'A3.2-query-image-map-text', 200, "kwargs () [('1,2x', '')]")
differs('media-type-case', 'A3.2-body-upper-case-type', 200, "kwargs () [('a', '1')]")
differs('mismatch-order', 'A3.3-two-unexpected', 404, said('Unexpected query string parameters: zz, aa'))
differs('mismatch-order', 'A3.3-one_default-none-post--aa=1&bb=2', 400, said('Unexpected body parameters: aa, bb'))
differs('signature-binding', 'A3.2-query-self', 404)
differs('signature-binding', 'A3.2-body-self', 400)
differs('signature-binding', 'A3.3-keyword_required-none', 404, said('Missing parameters: name'))
differs('signature-binding', 'A3.3-keyword_required-none?zz=1', 404, said('Missing parameters: name'))
differs('signature-binding', 'A3.3-positional_only-none?name=y', 404)
differs('signature-binding', 'A3.3-positional_only/a?name=y', 404, said('Unexpected query string parameters: name'))
differs('signature-binding', 'A3.3-static-none', 404, said('Missing parameters: name'))
differs('signature-binding', 'A3.3-static-none?name=y&zz=1', 404, f'{PAGE_404}Unexpected query string parameters: zz')
differs('wrapped-handlers', 'A3.3-decorated-none', 404, said('Missing parameters: param1'))
differs('wrapped-handlers', 'A3.3-decorated-none?zz=1', 404, said('Missing parameters: param1'))
differs('wrapped-handlers', 'A3.3-decorated/a?zz=1', 404, said('Unexpected query string parameters: zz'))

differs('wrapped-handlers', 'A3.3-supplied-none?zz=1', 404)

# the request's head

for protocol in ('HTTP/2', 'HTTP/3'):
    differs('protocol-versions', f'A3.5-protocol-{protocol}', 200, '(1, 1)')
differs('protocol-versions', 'A3.5-protocol-missing', 200)
differs(
    'server-told-headers', 'A5.4-headers-sent-in-the-servers-name', 200, "[('Host', 'h'), ('Remote-Addr', '192.0.2.7')]"
)
differs('no-content-type', 'A8-status-204', 204, **{'Content-Type': None})
differs('no-content-type', 'A8-status-304', 304, **{'Content-Type': None})
differs('absent-environ-keys', 'A5.4-attributes-no-multithread', 200)
differs('absent-environ-keys', 'A5.4-attributes-no-multiprocess', 200)
differs('bad-cookies', 'A11-cookie-nameless', 200, "[('a', '2')]")
differs('bad-cookies', 'A11-cookie-bad-name', 200, "[('a', '1'), ('b', '3')]")
differs('tracebacks', 'A3.5-no-host', 400, "[error page] 400 Bad Request | HTTP/1.1 requires a 'Host' request header.")

# MethodDispatcher, RoutesDispatcher, XML-RPC, virtual hosts

for name in ('GET', 'HEAD', 'OPTIONS', 'get'):
    differs('allow-header', f'A4.1-{name}-constants', 200, allow='GET, HEAD, OPTIONS')
for name in ('POST', 'PUT', 'DELETE', 'PATCH', 'FOO', 'X_1', '_PRIV'):
    differs('allow-header', f'A4.1-{name}-constants', 405, allow='GET, HEAD, OPTIONS')
differs('private-actions', 'A4.2-private', 404, NOT_FOUND)
differs('private-actions', 'A4.2-dunder', 404, f"{PAGE_404}The path '/r/city/__init__/3' was not found.")
differs('xmlrpc-slash', 'A4.3-no-slash', 200, said('Hello world!'))
differs('xmlrpc-slash', 'A4.3-rpc2-no-slash', 200, said('Hello world!'))
for ident in ('raises', 'mismatch'):
    differs('xmlrpc-faults', f'A4.3-{ident}', 200, said('<string>The server encountered an unexpected condition'))
differs('xmlrpc-faults', 'A4.3-vpath', 200, said('<string>The server encountered an unexpected condition'))
differs('xmlrpc-faults', 'A4.3-dotted-unexposed', 200, said('method "nested.unexposed" is not supported'))
differs('xmlrpc-faults', 'A4.3-unknown-dotted', 200, said('method "a.b.nosuch" is not supported'))
differs('xmlrpc-faults', 'A4.3-dunder-dotted', 200, said('method "foo.__func__" is not supported'))
for ident in ('upper', 'key-case'):
    differs('virtual-host-names', f'A4.4-{ident}/', 200, 'index of domain 2')
    differs('virtual-host-names', f'A4.4-{ident}/page/a', 200, "domain 2 ('a',) []")
    differs('virtual-host-names', f'A4.4-{ident}/conf', 200, 'prefixed /conf')
differs('virtual-host-names', 'A4.4-bare/conf', 200, 'prefixed /conf')
differs('virtual-host-names', 'A4.4-vh-forwarded-empty', 200, 'domain 3 () []')
differs('virtual-host-names', 'A5.4-vhost-case', 200, 'welcome to one')
differs('virtual-host-names', 'A5.4-vhost-case-url', 200, 'http://WWW.ONE.EXAMPLE/x')

# applications and the tree

differs('own-toolboxes', 'A5.1-toolboxes_are_per_application', 'probe', 'False')
differs('no-script-name', 'A5.1-application_repr_without_script_name', 'probe', 'Application(None, None)')
differs('no-script-name', 'A5.2-mount_of_an_application_without_script_name', 'probe', 'TypeError')
differs('outer-script-name', 'A5.1-direct-empty-outer', 200, "('/app', '/info', 'http://h')")
differs('outer-script-name', 'A5.1-direct-empty-outer-slash', 200, "('/app', '/info', 'http://h')")
differs('outer-script-name', 'A5.1-direct-empty-outer-other', 200, "('/x', '/info', 'http://h')")
differs('outer-script-name', 'A5.1-direct-empty-outer-root', 200, 'hello world')
differs('outer-script-name', 'A5.1-direct-empty-outer-empty', 301, location='http://h/app/')
differs('outer-script-name', 'A5.1-direct-empty-outer-url', 200, 'http://h/app/extra')
for app in ('app', 'slash'):
    for ident in ('root', 'other', 'plain', 'outer-other'):
        differs('outer-script-name', f'A5.1-direct-{app}-{ident}', 404, re.compile(r"(?s)(?!.*'/app).*"))
    differs('outer-script-name', f'A5.1-direct-{app}-outer-and-mount', 200, "('/x/app', '/info', 'http://h')")
differs('outer-script-name', 'A12-outer-script-name', 200, "('/outer/foo', '/info', 'http://h')")
differs('mount-slash', 'A5.2-mount_without_slash', 'probe', "['/a']")
differs('mount-slash', 'A5.2-noroot-unslashed', 200, 'hello world')
differs('favicon', 'A5.2-mount_sets_the_icon', 'probe', '(False, False)')
differs('favicon', 'A5.2-mount_of_a_root_without_attributes', 'probe', 'Application')
differs('favicon', 'A5.2-mount_of_a_number', 'probe', 'Application')
differs('favicon', 'A5.2-favicon_slots', 200, content_type='image/x-icon')
differs('favicon', 'A5.2-favicon_slots-index', 200, 'index')
differs('favicon', 'A5.2-favicon_config', 200, 'own icon', content_type='image/x-icon')
for ident in ('miss', 'miss-deep', 'prefix'):
    differs('tree-not-found', f'A5.2-noroot-{ident}', 404, SOME, content_type=SOME)
differs('tree-not-found', 'A5.2-noroot-head', 404, '', content_type=SOME)
differs('non-ascii-mounts', 'A5.2-noroot-non-ascii', 200, 'hello world')
differs('non-ascii-mounts', 'A5.2-noroot-non-ascii-page', 200, 'contact')
differs('quickstart-config', 'A5.3-quickstart_with_an_open_file', 'probe', "('started', 1, {'a': 2})")
differs('quickstart-config', 'A5.3-quickstart_with_a_flat_dict', 'probe', "('ValueError', None)")

# the WSGI pipeline and internal redirects

differs('merge-applies-changes', 'A7.3-merge_again_applies_what_changed', 'probe', "[('a', 1), ('b', 2)]")
differs(
    'merge-applies-changes',
    'A5.4-pipeline_merged_twice',
    'probe',
    "['ExceptionTrapper', 'InternalRedirector', 'replace']",
)
differs('merge-applies-changes', 'A5.4-pipeline-twice', 200, 'marked Hello World')
for ident in ('thrown', 'thrown-quiet', 'replaced-fail'):
    differs('tracebacks', f'A5.4-pipeline-{ident}', 500, '[unrecoverable]')
for ident in ('key', 'value', 'status'):
    differs(
        'tracebacks', f'A5.4-pipeline-{ident}', 500, re.compile(r'\[(unrecoverable|error page)\].*(?<!\[traceback\])')
    )
for ident in ('loop', 'pair'):
    differs('tracebacks', f'A5.4-internal*-{ident}', 500, '[unrecoverable]')
differs('head-internal-redirect', 'A5.4-internal-head', 200, '')
differs('error-response-none', 'A5.4-internal-emptied', 500, said('[error page] 500'))

for ident in ('internal-streamed', 'internal/app-streamed'):
    differs('streamed-errors', f'A5.4-{ident}', 'raised')
differs('streamed-errors', 'A5.4-pipeline-stream-first', 500, said('[error page] 500'))
differs('streamed-errors', 'A5.4-pipeline-stream-later', 'raised')

# url

for ident, url in {
    '../../p': 'http://h/app/p',
    '/x/..': 'http://h/app/',
    '/a/./b/': 'http://h/app/a/b/',
    'http://e.com/z': 'http://e.com/z',
    '//e.com/z': '//e.com/z',
    'mailto:x': 'http://h/app/d/mailto:x',
    'a//./b': 'http://h/app/d/a//b',
}.items():
    differs('url-normal-form', f'A6-leaf-{ident}', 200, url)
differs('url-normal-form', 'A6-root-up', 200, 'http://h/app/p')
differs('url-normal-form', 'A6-root-app-up', 200, 'http://h/p')
differs('url-normal-form', 'A6-above-the-root-relative', 200, 'http://h/page1')
differs('url-normal-form', 'A6-base-empty-server', 200, '/app/d/p')
differs('url-normal-form', 'A6-outside-empty', 'probe', 'http://127.0.0.1:8080/')
differs('url-normal-form', 'A6-outside-relative-path', 'probe', 'http://127.0.0.1:8080/p')
differs('location-escaping', 'A6-redirect-non-ascii', 303, location='http://h/gr%C3%BCn')
differs('location-escaping', 'A6-redirect-space', 303, location='http://h/a%20b')
differs('location-escaping', 'A6-redirect-escaped', 303, location=re.compile(r'http://h/a\?b=%3C%22[^<>"]*%3E'))
differs('control-characters', 'A6-redirect-new-line', 500)
differs('control-characters', 'A8-header-out-new-line', 500, x_out=None)

# config

differs('config-expressions', 'A7.1-file-f_minus', 'probe', 'int -1')
differs('config-expressions', 'A7.1-file-f_divide', 'probe', 'float 0.5')
differs('config-expressions', 'A7.1-file-f_power', 'probe', 'int 8')
differs('config-expressions', 'A7.1-unrepr-positive', 'probe', 'int 1')
differs('config-expressions', 'A7.1-file-f_not', 'probe', 'bool False')
differs('config-expressions', 'A7.1-file-f_set', 'probe', 'set {1}')
differs('config-expressions', 'A7.1-file-f_slice', 'probe', 'list [1]')
differs('config-expressions', 'A7.1-file-f_star', 'probe', 'complex (1+2j)')
differs('callers-config', 'A7.2-config_update_of_the_callers_dict', 'probe', "['environment', 'tools.staticdir.dir']")
differs(
    'debug-environments',
    'A7.2-environment-*',
    'probe',
    said("('request.debug', False), ('request.debug_remote', False)"),
)
differs('config-reset', 'A7.2-config_reset_restores_what_it_set', 'probe', 'True')
differs('inherited-config', 'A7.2-config_decorates_a_subclass', 'probe', "(['a'], ['a', 'b'])")
differs(
    'inherited-config',
    'A7.2-tool_decorates_a_subclass',
    'probe',
    "(['tools.gzip.on'], ['tools.etags.autotags', 'tools.etags.on', 'tools.gzip.on'])",
)
differs('signal-none', 'A7.5-engine_namespace_signal_none', 'probe', 'False')
differs('tool-params', 'A7.6-tool_params?n=1&n=2', 400, said('Only one value may be given for the parameter'))
differs('tracebacks', 'A7.5-bad_hook', 500, re.compile(r'\[error page\] 500 .*(?<!\[traceback\])'))

# what is safe by default

differs('tracebacks', 'A8-default-404', 404, "[error page] 404 Not Found | The path '/nosuch' was not found.")
differs('tracebacks', 'A8-default-500', 500, re.compile(r'\[error page\] 500 .*(?<!\[traceback\])'))
differs('tracebacks', 'A8-default-error-page', 404, '[error page] 404 Not Found | &lt;b&gt;')
differs('tracebacks', 'A8-default-mismatch', 404, '[error page] 404 Not Found | Missing parameters: name')
differs('no-server-header', 'A8-default-headers', 200, 'root', server=None, date=None)
differs('error-page-sniffing', 'A8-error-page-sniffing', 404, x_content_type_options='nosniff')
differs('error-page-sniffing', 'A8-error-page-sniffing-500', 500, x_content_type_options='nosniff')
differs('field-limit', 'A8-many-fields', 400)
differs('field-limit', 'A8-many-fields-form', 413)
differs('error-page-text', 'A2.1-null-byte', 404, said('/pla\ufffdin'))

# the checker

differs('checker-context', 'A9-leaves-no-application-behind', 'probe', 'True')
differs('checker-every-application', 'A9-reports-every-empty-application', 'probe', '[True, True]')

# Spec B: the request

BARE = '[unrecoverable]'
UNEXPECTED = re.compile(r'\[error page\] 500 Internal Server Error \| The server encountered .*(?<!\[traceback\])')
ONE_ERROR = re.compile(r'(?s)(?!.*ERROR.*ERROR).*ERROR - ValueError: other.*')

differs('short-forms', 'B5.1-empty-length', 411, said('Client must specify Content-Length'))
differs('tracebacks', 'B1.4-thrown', 500, BARE)
differs('thrown-errors', 'B1.4-thrown-told', 200, said('on_end_request [] False 500 Internal Server Error - True'))
differs('thrown-errors', 'B1.4-throws', 'raised', "'passes'")
differs('thrown-errors', 'B1.4-throws-told', 200, re.compile('(?s)(?!.*ERROR).*on_end_request .*'))
differs('late-content-type', 'B1.4-generator-sets-type', 200, 'text', content_type='text/plain;charset=utf-8')
for point in ('on_start_resource', 'before_request_body', 'before_handler', 'before_finalize', 'before_finalize-once'):
    differs('logged-once', f'B1.5-{point}-other-told', 200, ONE_ERROR)
for point in ('on_end_resource', 'on_end_request', 'before_error_response'):
    differs('logged-once', f'B1.5-{point}-other-told', 200, ONE_ERROR)
differs(
    'logged-once',
    'B1.5-after_error_response-other-told',
    200,
    re.compile('(?s)(?!.*other.*other).*ValueError: other.*'),
)
for point in ('before_finalize', 'on_end_resource'):
    differs('late-hook-errors', f'B1.5-{point}-error', 409, '[error page] 409 Conflict | conflict')
    differs('late-hook-errors', f'B1.5-{point}-redirect', 303, SOME, location='http://h/elsewhere')
for ident in ('before_finalize-error', 'before_finalize-redirect', 'on_end_resource-error', 'on_end_resource-redirect'):
    differs('late-hook-errors', f'B1.5-{ident}-told', 200, re.compile('(?s)(?!.*ERROR).*before_finalize .*'))
differs('encoded-words', 'B1.6-text-word-unknown-charset', 200, "'=?nosuch?q?x?='")
differs('encoded-words', 'B1.6-text-word-bad-bytes', 200, "'=?utf-8?q?=FF?='")
differs('encoded-words', 'B1.6-text-word-in-text', 200, "'abc d e'")
differs('bad-cookies', 'B1.6-cookie-spaces', 200, "[('a', 'x y'), ('b', '2')]")
differs('bad-cookies', 'B1.6-cookie-no-value', 200, "[('b', '2')]")
differs('bad-cookies', 'B1.6-cookie-reserved', 200, "[('a', '2')]")
differs('bad-cookies', 'B1.6-cookie-bad-name', 200, "[('a', '2')]")
differs('bad-cookies', 'B1.6-cookie-non-ascii', 200, "[('a', 'gr\\xfcn'), ('b', '2')]")
differs('tracebacks', 'B1.6-no-host', 400, "[error page] 400 Bad Request | HTTP/1.1 requires a 'Host' request header.")
for ident in ('line-feed', 'line-end', 'word'):
    differs('host-header', f'B1.6-host-{ident}', 400, said("The 'Host' request header is malformed."))
for ident in ('dotted-missing', 'unknown-point'):
    differs('tracebacks', f'B1.8-hooks-{ident}', 500, UNEXPECTED)

# the response

for ident in ('header-list-of-numbers', 'header-list-of-text', 'output-status-of-text'):
    differs('tracebacks', f'B2.1-{ident}', 500, BARE)
for ident, text in (('bytearray', 'array'), ('memoryview', 'view')):
    differs('bytes-like-bodies', f'B2.2-{ident}', 200, text)
    differs('bytes-like-bodies', f'B2.2-{ident}-encode-off', 200, text)
differs('streamed-errors', 'B2.2-int-streamed', 500, UNEXPECTED)
differs('status-reasons', 'B2.3-reason-line-end', '200 OKX-Injected: 1', 'body')
for ident in ('B2.3-no-content', 'B2.3-not-modified', 'B2.4-no-body-204', 'B2.4-no-body-304'):
    differs('no-content-type', ident, 304 if ident.endswith(('304', 'modified')) else 204, '', **{'Content-Type': None})
differs('no-content-type', 'B2.4-no-body-runs-the-generator', 204, '', **{'Content-Type': None})
for code in (199, 204, 205, 304):
    differs('no-body-statuses', f'B2.4-no-body-{code}-streamed', code, '')
differs('content-length-kept-true', 'B2.4-length-too-long', 200, 'abc', content_length='3')
differs('content-length-kept-true', 'B2.4-length-too-short', 200, 'abc', content_length='3')
differs('control-characters', 'B2.4-header-tab', 200, 'body', x_a='a\tb')
for ident in ('line-feed', 'line-end', 'null', 'delete', 'name-line-feed'):
    differs('control-characters', f'B2.4-header-{ident}', 500, UNEXPECTED, x_a=None)
differs('header-names', 'B2.4-header-update', 200, 'x', content_type='text/css;charset=utf-8')
differs('streamed-errors', 'B2.7-fails_first', 500, UNEXPECTED)
differs(
    'streamed-errors', 'B2.7-fails_first-told', 200, re.compile('(?s)ERROR HTTP ValueError: first.*on_end_request True')
)
differs('streamed-errors', 'B2.7-fails_first_quietly', 409, '[error page] 409 Conflict | first')
differs('streamed-errors', 'B2.7-fails_first_quietly-told', 200, 'on_end_request True')
differs('streamed-errors', 'B2.7-fails_later', 'raised')
differs('streamed-errors', 'B2.7-fails_later-told', 200, 'ERROR - ValueError: later\non_end_request True')
differs('bodies-are-closed', 'B2.7-closable-told', 200, 'closed\non_end_request True')
differs('bodies-are-closed', 'B2.7-closable-not-streamed-told', 200, 'closed')
differs('bodies-are-closed', 'B2.7-closable-head-told', 200, 'closed')
differs(
    'bodies-are-closed', 'B2.7-close-fails-told', 200, 'closed\nERROR - ValueError: from close\non_end_request True'
)
differs('bodies-are-closed', 'B6.3-iterator-file', 'probe', '(True, True)')
differs('streamed-errors', 'B2.7-error-is-streamed', 418, 'the error', content_length='9')

# errors and redirects

differs('error-messages', 'B4.2-message-number', 409, '[error page] 409 Conflict | 5')
differs('error-messages', 'B4.2-message-bytes', 409, '[error page] 409 Conflict | bytes')
for code in (401, 404, 405, 416, 503):
    differs('error-page-types', f'B4.3-{code}', code, said('[error page]'), vary='Accept')
differs('error-page-types', 'B4.3-other', 500, said('[error page]'), vary='Accept')
differs(
    'location-escaping', 'B4.4-to-markup', 303, said('href="http://h/x?a=%3Cscript%3E&amp;b=%22c%22"'), location=SOME
)
for ident in ('to-bytes', 'encoding', 'own-defaults'):
    differs(
        'location-escaping',
        f'B4.4-{ident}',
        307 if ident == 'own-defaults' else 303,
        said('<a href="http://h/gr%C3%BCn">http://h/gr\xfcn</a>'),
        location='http://h/gr%C3%BCn',
    )
differs('tracebacks', 'B4.5-same', 500, BARE)
for ident, code, length in (
    ('callable', 409, '68'),
    ('bytes', 409, '7'),
    ('text', 409, '5'),
    ('generator', 409, '11'),
    ('instance', 409, '19'),
    ('headers', 409, '2'),
    ('status', 418, '14'),
    ('callable-boom', 500, '171'),
    ('generator-boom', 500, '11'),
    ('status-boom', 418, '14'),
    ('callable-escaped', 409, '81'),
    ('callable-no-message', 409, '80'),
    ('code', 404, '74'),
    ('code-500', 500, '7'),
    ('falsy-code', 409, '15'),
):
    differs('error-page-padding', f'B4.6-{ident}', code, content_length=length)
differs('error-page-failures', 'B4.6-generator_fails', 409, said('failed:\n<br />ValueError: in a chunk'))
differs('error-page-failures', 'B4.6-fails', 409, said('failed:\n<br />ValueError: &lt;page&gt; failed'))
differs('error-page-failures', 'B4.6-fails-boom', 500, said('failed:\n<br />ValueError: &lt;page&gt; failed'))
differs('error-page-failures', 'B4.6-unknown_file', 409, said("failed:\n<br />KeyError: 'nosuch'"))
differs('error-response-none', 'B4.7-error-response-none', 500, UNEXPECTED)

# bodies

differs('body-readers', 'B5.2-fp-read', 200, "(b'one', 3, b'\\ntwo\\r\\n\\nfour', True)")
differs('body-readers', 'B5.6-read-size', 'probe', "(b'one\\n', 4, False, b'two\\nthree', True)")
differs('short-bodies', 'B5.6-read-short', 'probe', 'ClientDisconnected: The body ended after 13 of 99 bytes.')
differs('malformed-bodies', 'B5.3-charset-unknown', 415, said("The charset 'nosuch' is not supported."))
differs('lone-percent', 'B5.3-lone-percent', 200, "[('a', '100%'), ('b', '%zz')]")
for ident in ('no-boundary-inside', 'unclosed', 'unclosed-in-headers'):
    differs('malformed-bodies', f'B5.4-{ident}', 400, said('Illegal end of multipart body.'))
for ident in ('headers-without-colon', 'line-feeds-only'):
    differs('malformed-bodies', f'B5.4-{ident}', 400, said('The multipart body is malformed: '))
differs('malformed-bodies', 'B5.4-bad-extended', 400, said('malformed filename*'))
for ident in ('missing', 'empty', 'too-long', 'ends-in-space'):
    differs('malformed-bodies', f'B5.4-boundary-{ident}', 400, said('Invalid boundary in multipart form: '))
differs('part-headers', 'B5.4-name-raw-utf-8', 200, said("'gr\\xfcn.txt'"))
differs('media-type-case', 'B5.4-boundary-upper-case', 200, "[('a', '1')]")
differs('flat-parameter-lists', 'B5.5-body-twice', 200, "[('a', ['1', '2', '3'])]")
differs('media-type-case', 'B5.7-several-types', 200, "[('a', '1')]")

# lib.httputil

differs('protocol-versions', 'B6.1-protocol-HTTP/2', 'probe', '(2, 0)')
differs('protocol-versions', 'B6.1-protocol-empty', 'probe', '(1, 1)')
differs('header-faults', 'B6.1-protocol-HTTP/x.y', 'probe', "BadHeaderValue: 'HTTP/x.y' is not an HTTP version.")
differs('header-faults', 'B6.1-elements-q-word', 'probe', 'BadHeaderValue: Malformed HTTP header: `a;q=abc`')
differs('header-faults', 'B6.2-accept-negative', 'probe', 'BadHeaderValue: Malformed HTTP header: `a;q=-1`')
differs('header-faults', 'B6.2-malformed-accept', 400, said('Malformed HTTP header: `a;q=x`'))
for ident, found in {
    'last-none': '[]',
    'unit': 'None',
    'no-equals': 'None',
    'no-dash': 'None',
    'word': 'None',
    'double-dash': 'None',
}.items():
    differs('ranges', f'B6.1-ranges-{ident}', 'probe', found)
differs('element-order', 'B6.1-elements-quoted-comma', 'probe', re.compile(r"\[.*'a=\"1,2\"'.*'b'.*\]"))
differs('element-order', 'B6.1-elements-not-accept', 'probe', re.compile(r"\[.*'a'.*'c'.*'b'.*\]"))
for ident in ('decode', 'decode-maybe'):
    differs('encoded-words', f'B6.1-{ident}-mixed', 'probe', "'abc d e'")
    differs('encoded-words', f'B6.1-{ident}-unknown', 'probe', "'=?nosuch?q?d?='")
differs('hook-points', 'B3.1-map-attach-unknown', 'probe', said('There is no hook point'))
differs('image-map', 'B6.1-query-image-map-more', 'probe', "{'12,34': '', 'a': '1'}")
differs('query-separators', 'B6.1-query-semicolon', 'probe', "{'a': '1;b=2'}")
differs('header-names', 'B6.2-dict-number', 'probe', "(None, ['5', 'One-Two', 'Three'])")
differs('header-names', 'B6.2-dict-update', 'probe', "(None, ['One-Two', 'Three', 'X-Y'])")
differs('header-names', 'B6.2-dict-or', 'probe', "['One-Two', 'Three', 'X-Y']")
differs('header-names', 'B6.2-dict-copy', 'probe', "'CaseInsensitiveDict'")
differs('header-names', 'B6.2-map-encode-item', 'probe', "[b'a', b'b', b'5']")
differs('element-order', 'B6.2-map-te', 'probe', "['b', 'a;q=0.1']")

# proxy, autovary, session_auth

PROXY = "('http://h', '127.0.0.1', 'http://h/x')"
differs('proxy-port', 'C1.3-proxy-port', 200, said("('http://h:8080', "))
differs('proxy-trust', 'C1.3-proxy-stranger', 200, "('http://h', '192.0.2.7', 'http://h/x')")
differs('proxy-trust', 'C1.3-proxy-stranger-base', 200, said("('http://www.site.test', '192.0.2.7', "))
differs('proxy-trust', 'C1.3-proxy-for-spoofed', 200, "('http://h', '198.51.100.7', 'http://h/x')")
differs('proxy-trust', 'C1.3-proxy-host-spoofed', 200, said("'http://good.test', "))
for ident in ('for-junk', 'host-junk', 'host-url-path', 'scheme-javascript', 'scheme-list', 'scheme-ssl-off'):
    differs('proxy-values', f'C1.3-proxy-{ident}', 200, PROXY)
differs('proxy-values', 'C1.3-proxy-for-port', 200, "('http://h', '198.51.100.7', 'http://h/x')")
differs('proxy-values', 'C1.3-proxy-base-slash', 200, said("'http://www.site.test/x'"))
differs('proxy-rewrites', 'C1.3-proxy-rewrites-scheme', 200, "'https'")
differs('proxy-rewrites', 'C1.3-proxy-rewrites-name', 200, "''")
differs('proxy-forwarded', 'C1.3-proxy-forwarded', 200, "('https://a.test', '198.51.100.7', 'https://a.test/x')")
differs('autovary-names', 'C1.3-autovary-cookies', 200, vary='Accept-Charset, Cookie')
differs('autovary-names', 'C1.3-autovary-error', 402, vary='Accept, X-A')
differs('session-auth-form', 'C1.3-session_auth-form-status', 'probe', re.compile(r"\('401', 'form', .*"))
differs('session-auth-form', 'C1.3-session_auth-escaped', 'probe', said("['&lt;b&gt;', '&lt;i&gt;']"))
differs('session-auth-target', 'C1.3-session_auth-open-redirect*', 'probe', "('303', 'http://h/', '')")
differs('session-auth-session', 'C1.3-session_auth-new-id', 'probe', '2')
differs('session-auth-session', 'C1.3-session_auth-logout-drops-all', 'probe', "('200', '', 'page for ann, 1')")
differs('session-auth-requests', 'C1.3-session_auth-missing-field', 'probe', "('400', '', '')")
differs('session-auth-requests', 'C1.3-session_auth-other-name', 'probe', said("'form'"))

# caching, auth_basic, auth_digest

REFUSED = 'You are not authorized to access that resource'
SECOND = said("(200, 'visit 2', None)]")
for ident in ('authorization', 'answer-to-authorization', 'response-vary-all', 'response-cookie'):
    differs('cache-sharing', f'C2.2-{ident}', 'probe', SECOND)
for ident in ('private', 'no-cache', 'max-age-0', 's-maxage'):
    differs('cache-sharing', f'C2.2-response-{ident}', 'probe', SECOND)
differs('cache-sharing', 'C2.2-response-cookies-read', 'probe', said('"[\'b\'] 2", None)]'))
differs('cache-sharing', 'C2.2-response-404', 'probe', said("(404, 'visit 2', None)]"))
differs('cache-sharing', 'C2.2-response-303', 'probe', "['http://h/1', 'http://h/2']")
differs('cache-sharing', 'C2.2-response-201', 'probe', said("(201, 'visit 2', None)]"))
for ident in ('response-max-age', 'response-expires', 'age-at-the-limit'):
    differs('cache-freshness', f'C2.2-{ident}', 'probe', SECOND)
differs('cache-freshness', 'C2.2-delays-of-two-paths', 'probe', said("(200, 'visit 1', '10'), (200, 'visit 3', None)]"))
for ident in ('request-no-store-hit', 'request-min-fresh', 'condition-on-the-origin'):
    differs('cache-requests', f'C2.2-{ident}', 'probe', SECOND)
differs('cache-requests', 'C2.2-request-only-if-cached', 'probe', re.compile(r"\[\(504, '.*"))
differs('cache-methods', 'C2.2-method-OPTIONS', 'probe', said("(200, 'visit 2', None), (200, 'visit 1', '0')]"))
for ident in ('PATCH', 'WHATEVER', 'unsafe-and-unnamed'):
    differs('cache-methods', f'C2.2-method-{ident}', 'probe', said("(200, 'visit 2', None), (200, 'visit 3', None)]"))
differs('cache-methods', 'C2.2-head-fills', 'probe', SECOND)
differs('cache-variants', 'C2.2-variants-swapped', 'probe', SECOND)
differs('cache-limits', 'C2.2-more-objects-than-fit', 'probe', "['0']")
differs('cache-settings', 'C2.2-setting-unknown', 'probe', '[500]')
differs('auth-before-body', 'C1.3-auth_basic-before-the-body', 'probe', '401')
differs('auth-before-body', 'C1.3-auth_digest-before-the-body', 'probe', '401')
for ident in ('junk-in-base64', 'controls'):
    differs('basic-credentials', f'C1.3-auth_basic-{ident}', 'probe', "[(400, None, 'Bad Request')]")
differs('digest-algorithms', 'C1.3-auth_digest-opaque', 'probe', 'True')
differs('digest-algorithms', 'C1.3-auth_digest-algorithms-offered', 'probe', "['SHA-256', 'MD5']")
differs(
    'digest-algorithms', 'C2.6-auth_digest-algorithms', 'probe', said("'MD5', 'MD5-sess', 'SHA-256', 'SHA-256-sess'")
)
for ident in ('md5-sess', 'auth-int'):
    differs('digest-algorithms', f'C1.3-auth_digest-{ident}', 'probe', """[(200, None, "'ada'")]""")
differs('digest-replay', 'C1.3-auth_digest-replayed', 'probe', said("('stale', 'true')"))
differs('digest-replay', 'C1.3-auth_digest-without-qop', 'probe', said(REFUSED))
differs('digest-replay', 'C1.3-auth_digest-other-uri', 'probe', re.compile(r'\[\(400, None, .*'))
differs('digest-replay', 'C1.3-auth_digest-bad-count', 'probe', re.compile(r'\[\(400, None, .*'))
differs('digest-nonces', 'C2.6-auth_digest-nonces-differ', 'probe', 'True')
differs('digest-nonces', 'C2.6-auth_digest-nonce', 'probe', '48')

# sessions

for name in ('', '-again', '-regenerate'):
    differs(
        'session-cookie', f'C2.1-cookie-default{name}', 200, set_cookie=said('; HttpOnly; Max-Age=3600; Path=/; Same')
    )
differs(
    'session-cookie', 'C2.1-cookie-default-expire', 200, 'expired', set_cookie=said('; HttpOnly; Path=/; SameSite=Lax')
)
differs('session-cookie', 'C2.1-cookie-set', 200, 'set', set_cookie=said('; Max-Age=60; Path=/set; SameSite=Lax'))
for name in ('', '-again', '-regenerate'):
    differs('session-cookie-lifetime', f'C2.1-cookie-fraction{name}', 200, set_cookie=said('; Max-Age=30; '))
differs('session-cookie-lifetime', 'C2.1-cookie-temporary-regenerate', 200, set_cookie='session_id=[id]; Path=/')
differs('session-ids', 'C2.1-file-bad-id-parent', 200, '1', set_cookie=said('session_id=[id]'))
differs('session-unsaved', 'C2.1-ram-after-fail', 200, "[('error', 1), ('redirected', 1)]")
for store in ('ram', 'file'):
    differs('session-mapping', f'C2.1-{store}-iterated', 200, "['a']")
    differs('session-regenerate', f'C2.1-{store}-regenerate-unread', 200, "[('a', '1')]")
    for name in ('inside', 'after-inside'):
        differs('session-internal-redirect', f'C2.1-{store}-{name}', 200, "[('inside', 1)]")
for name in ('inside-known', 'after-inside-known'):
    differs('session-internal-redirect', f'C2.1-file-{name}', 200, "[('a', '1'), ('inside', 1)]")
differs('session-explicit-locks', 'C2.1-file-explicit', 200, '(1, True, False)')
differs('session-explicit-locks', 'C2.1-file-after-explicit', 200, "[('n', 1)]")

# the built-in tools, and how tools are put to use

differs(
    'error-page-types', 'C1.3-accept-tuple-exact', 406, said('"status": 406'), content_type='application/problem+json'
)
for name in ('excluded', 'tie'):
    differs('accept-choice', f'C1.3-accept-called-{name}', 200, 'application/json')
differs('accept-choice', 'C1.3-accept-called-capitals', 200, 'text/html')
for name in ('redirect', 'err_redirect'):
    differs('tracebacks', f'C1.3-{name}-default', 500, '[unrecoverable]')
for name in ('page', 'expired'):
    differs('setting-values', f'C1.3-expires-secs-text-{name}', 500, UNEXPECTED, pragma=None)
differs('autovary-names', 'C1.3-autovary-ignore-all', 200, vary=None)
differs('tool-params', 'C1.3-params-twice', 'probe', said('(400, '))
differs('tool-params', 'C1.3-params-named', 'probe', """(200, "[('n', 1)]")""")
differs('tool-params', 'C1.3-params-bool', 'probe', """(200, "[('n', False)]")""")
for name in ('GET', 'POST'):
    differs('xmlrpc-slash', f'A4.3-tools-xmlrpc-{name}/nosuch', 200, said('faultString'), content_type='text/xml')
differs('xmlrpc-faults', 'A4.3-tools-xmlrpc-nothing', 200, said('unexpected condition'))
for name in ('echo', 'nothing', 'page'):
    differs(
        'xmlrpc-encoding',
        f'A4.3-tools-xmlrpc-latin-{name}',
        200,
        said("encoding='iso-8859-1'"),
        content_type='text/xml;charset=iso-8859-1',
    )
differs('slash-methods', 'A4.0-tools-own-POST/en', 308)
LATE = re.compile(r'raises \[\] None\nsafe \[\] None\nafter .*\nend .*')
for name, status in {'error': 418, 'redirect': 303}.items():
    differs('late-hook-errors', f'B3.2-raising-{name}-at-before_finalize', status)
    differs('late-hook-errors', f'B3.2-raising-{name}-at-before_finalize-told', 200, LATE)

# Static files, encode, gzip and etags.
differs('static-types', 'C2.3-dir-unknown-type', 200, 'unknown', content_type='application/octet-stream')
differs('static-index', 'C2.3-index/sub', 301, SOME, location='http://h/files/index/sub/')
for name in ('', '-query'):
    differs('static-index', f'C2.3-index{name}', 301, SOME, accept_ranges=None)
differs('static-extensions', 'C2.3-types-UPPER.TXT', 200, 'upper', content_type='text/x-other')
for name in ('bytes=abc', 'abc', 'bytes=', 'items=0-1', 'bytes=--1'):
    differs('ranges', f'C2.3-range-{name}', 200, '0123456789', content_length='10')
differs('ranges', 'C2.3-range-bytes=-0', 416, SOME, content_range='bytes */10')
differs('ranges', 'C2.3-serve-bytes-range', 206, '12', content_range='bytes 1-2/6')
for name in ('', '-head'):
    differs('date-conditions', f'C2.3-If-Modified-Since-later{name}', 304)
    differs('date-conditions', f'C2.3-If-Unmodified-Since-later{name}', 200)
    differs('date-conditions', f'C2.3-If-Unmodified-Since-none{name}', 200)
differs('date-conditions', 'C2.3-validate-since-POST-If-Modified-Since', 200)
for name in ('POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PURGE', 'get'):
    differs('slash-methods', f'A2.3-any-method-redirects-{name}', 308, SOME, location='http://h/dir/?a=1')
for name in ('POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'get', 'FOO', 'X_1', '_PRIV'):
    differs('slash-methods', f'A4.1-{name}-withindex', 308)
for name in ('encoding', 'encoding-upper', 'encoding-fails'):
    differs('excluded-charsets', f'C2.4-encode-{name}-utf-16', 406, said('We tried these charsets: .'))
for name in ('identity;q=0', '?;q=0', 'gzip;q=0, identity;q=0'):
    differs('gzip-choice', f'C1.3-gzip-for-{name}', 406, vary='Accept, Accept-Encoding')
for name in ('br', 'deflate'):
    differs('gzip-choice', f'C1.3-gzip-for-{name}', 200, vary='Accept-Encoding')
differs('config-percent', 'A7.1-file_with_a_bare_percent', 'probe', 'merged')
differs('charset-fallback', 'B1.6-joined-by-the-server', 200, "'a, b'", content_type='text/html;charset=utf-8')
differs('gzip-choice', 'C1.3-gzip-for-?', 200, content_encoding='gzip', vary='Accept-Encoding')
differs('gzip-etag', 'C1.3-gzip-of-file', 200, accept_ranges=None, content_encoding='gzip')
differs('error-page-types', 'C1.3-gzip-of-error', 404, vary='Accept, Accept-Encoding')
differs('vary-once', 'C1.3-gzip-vary-once', 200, vary='Accept-Language, accept-encoding')
differs('vary-once', 'B6.3-set-vary', 200, "'A|B'")
differs('bodies-are-closed', 'B6.3-is-closable-file', 'probe', 'True')

# Settings that tools of both packages take, and no case tries: setting -> the reason.
UNTRIED = {
    'session_auth.arun': 'a step for async pages, which CherryPy calls by no name',
}

# Cases that our two protocols answer otherwise, each with its reason. No case of a tool is among them.
WSGI_ALONE = {
    'B1.4-throws-told': 'an exception that goes to the server is not being handled any more when the request ends',
    'A5.4-attributes-no-port': 'a WSGI server has a port, an ASGI server may have none',
    # What the server hands over is unquoted but for the slash, which it is quoted again as.
    'A2.4-argument-lower': '%2f is written %2F in path_info',
    'A2.4-argument-both': '%2f is written %2F in path_info',
    'A2.4-default-lower': '%2f is written %2F in path_info',
    'A2.6-escaped-slash-lower': '%2f is written %2F in path_info',
}

# Rows whose difference is no answer to one request: row -> the test that shows it.

differs('log-moved', 'B7.2-error-file', 'probe', "['first.log', 'first.log', 'second.log', '', '', 2, 1]")

ELSEWHERE: dict[str, str] = {
    row: f'tests/lib/{test}'
    for row, test in {
        'accept-choice': 'test_cptools_more.py::test_accept_chooses_what_the_client_likes_best',
        'entity-tags': 'test_cptools_more.py::test_entity_tags_are_compared_as_the_standard_says',
        'date-conditions': 'test_cptools_more.py::test_dates_are_compared_as_times',
        'gzip-choice': 'test_gzip.py::test_the_client_decides_by_weight',
        'gzip-etag': 'test_gzip.py::test_a_strong_etag_becomes_weak_and_still_matches',
        'charset-fallback': 'test_encoding.py::test_what_a_client_cannot_have_is_not_held_against_it',
        'proxy-port': 'test_proxy.py::test_a_trusted_proxy_tells_base_scheme_and_address',
        'charset-names': 'test_encoding.py::test_a_client_gets_no_codec_that_is_no_charset',
        'bytes-charset': 'test_encoding.py::test_bytes_keep_the_charset_that_their_page_names',
        'slash-methods': 'test_cptools.py::test_a_redirected_method_keeps_its_body',
        'json-suffix': 'test_jsontools.py::test_documents_of_a_json_format_are_taken',
        'json-numbers': 'test_jsontools.py::test_numbers_that_json_has_not_become_null',
        'json-types': 'test_jsontools.py::test_msgspec_writes_more_types',
        'flatten-text': 'test_cptools_more.py::test_flatten_opens_nested_iterators_and_encodes_their_text',
        'logged-credentials': 'test_cptools_more.py::test_log_headers_does_not_write_credentials',
        'xmlrpc-documents': 'test_xmlrpc.py::test_hostile_documents_are_faults_at_once_and_in_little_memory',
        'cpstats-page': 'test_cpstats.py::test_all_that_clients_send_is_escaped',
        'profiler-reports': 'test_profiler.py::test_only_names_of_reports_are_read',
        'covercp-files': 'test_covercp.py::test_a_report_of_any_other_file_is_not_found',
        'cache-waiting': 'test_caching.py::test_a_failure_frees_those_who_wait_and_one_of_them_takes_over',
        'cache-tools': 'test_caching.py::test_what_a_tool_has_answered_is_left_alone',
        'cache-stores': 'test_caching.py::test_sites_have_stores_of_their_own',
        'static-containment': 'test_static.py::test_nothing_outside_of_the_folder_is_served',
        'static-dotfiles': 'test_static_files.py::test_names_that_begin_with_a_dot_are_not_served_but_where_asked_for',
        'static-index': 'test_static.py::test_a_folder_asked_for_without_slash_is_redirected',
        'static-types': 'test_static.py::test_the_extension_gives_the_type',
        'file-validators': 'test_static.py::test_a_range_is_sent_only_of_what_if_range_names',
        'ranges': 'test_static.py::test_ranges_that_make_no_sense_are_ignored',
        'file-names': 'test_static.py::test_file_names_are_escaped_in_content_disposition',
        'session-sites': 'test_sessions.py::test_each_site_has_its_own_sessions',
        'session-caching': 'test_sessions.py::test_no_cache_may_share_a_response_with_a_session',
        'session-lock-timeout': 'test_sessions.py::test_a_held_lock_is_waited_for_and_no_longer_than_it_says',
        'session-damaged': 'test_sessions.py::test_a_damaged_file_is_a_new_session_and_one_line_in_the_log',
        'session-files': 'test_sessions.py::test_files_are_for_their_owner_and_nothing_else_is_left',
        'session-locking-words': 'test_sessions.py::test_settings_that_cannot_be_meant_are_refused',
        'session-owners': 'test_sessions.py::test_a_file_that_another_user_wrote_is_not_loaded',
        'session-clock': 'test_sessions.py::test_a_file_with_local_time_is_read',
        'session-settings': 'test_sessions.py::test_unknown_settings_are_reported_once_with_the_nearest',
        'session-proxy': 'test_sessions.py::test_without_the_tool_there_is_no_session_and_the_error_says_so',
        'session-setup': 'test_sessions.py::test_setup_is_called_once_for_each_class',
        'special-files': 'test_static.py::test_fifos_and_devices_are_refused_without_waiting',
    }.items()
}
CORPUS = 'tests/gateways/test_multipart_corpus.py::test_a_body_means_the_same_however_it_arrives'
ELSEWHERE['charset-field'] = CORPUS
ELSEWHERE['browser-quotes'] = CORPUS
ELSEWHERE['nested-parts'] = CORPUS
ELSEWHERE['short-files'] = 'tests/core/test_body.py::test_short_files_take_no_descriptor'
ELSEWHERE['waiting-requests'] = 'tests/gateways/test_pool.py::test_the_queue_is_as_long_as_the_setting_says'
ELSEWHERE['late-hook-errors'] = 'tests/core/test_pipeline.py::test_a_hook_may_answer_with_an_error_or_redirect'
ELSEWHERE['content-length-kept-true'] = 'tests/gateways/test_endings.py::test_a_wrong_length_is_put_right'
ELSEWHERE['hop-by-hop-headers'] = (
    'tests/gateways/test_endings.py::test_what_belongs_to_the_connection_is_left_to_the_server'
)
