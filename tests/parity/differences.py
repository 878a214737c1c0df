"""Where cpadapter is meant to answer otherwise than CherryPy, and what it must answer there.

Each entry names its row of docs/differences.md. `ELSEWHERE` names, for rows that no case of this folder can show, the
tests that show them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

__all__ = ['DIFFERENCES', 'ELSEWHERE', 'Difference', 'difference_for']

Wanted = str | re.Pattern[str]

ANY = re.compile(r'(?s).*')
SOME = re.compile(r'(?s).+')


@dataclass(frozen=True)
class Difference:
    """What cpadapter answers to the cases that `cases` names.

    cases: one id, or a glob over ids in which only `*` and `?` are special.
    row: key of the row in docs/differences.md.
    status: the status code, or 'probe'. body, headers: text, or a pattern for the whole of it; a header that is None
    must be absent. What is not named is not compared.
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

# Rows whose difference is no answer to one request: row -> the test that shows it.
ELSEWHERE: dict[str, str] = {
    row: f'tests/lib/{test}'
    for row, test in {
        'accept-choice': 'test_cptools_more.py::test_accept_chooses_what_the_client_likes_best',
        'entity-tags': 'test_cptools_more.py::test_entity_tags_are_compared_as_the_standard_says',
        'date-conditions': 'test_cptools_more.py::test_dates_are_compared_as_times',
        'gzip-choice': 'test_gzip.py::test_the_client_decides_by_weight',
        'gzip-etag': 'test_gzip.py::test_a_strong_etag_becomes_weak_and_still_matches',
        'flatten-text': 'test_cptools_more.py::test_flatten_opens_nested_iterators_and_encodes_their_text',
        'logged-credentials': 'test_cptools_more.py::test_log_headers_does_not_write_credentials',
        'xmlrpc-documents': 'test_xmlrpc.py::test_hostile_documents_are_faults_at_once_and_in_little_memory',
        'static-containment': 'test_static.py::test_nothing_outside_of_the_folder_is_served',
        'static-index': 'test_static.py::test_a_folder_asked_for_without_slash_is_redirected',
        'static-types': 'test_static.py::test_the_extension_gives_the_type',
        'file-validators': 'test_static.py::test_a_range_is_sent_only_of_what_if_range_names',
        'ranges': 'test_static.py::test_ranges_that_make_no_sense_are_ignored',
        'file-names': 'test_static.py::test_file_names_are_escaped_in_content_disposition',
        'special-files': 'test_static.py::test_fifos_and_devices_are_refused_without_waiting',
    }.items()
}
ELSEWHERE['late-hook-errors'] = 'tests/core/test_pipeline.py::test_a_hook_may_answer_with_an_error_or_redirect'
ELSEWHERE['content-length-kept-true'] = 'tests/gateways/test_endings.py::test_a_wrong_length_is_put_right'
ELSEWHERE['hop-by-hop-headers'] = (
    'tests/gateways/test_endings.py::test_what_belongs_to_the_connection_is_left_to_the_server'
)
