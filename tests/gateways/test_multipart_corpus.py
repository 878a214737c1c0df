"""Each body of the corpus gives what is written there, however it is cut and through whichever gateway."""

from __future__ import annotations

import hashlib
import random

import pytest
from multipart_corpus import BODIES, File, Group

import cpadapter
from cpadapter.core.body import Part


def described(value):
    """Give a value of `params` or `parts` as JSON has it."""
    if isinstance(value, list):
        return [described(item) for item in value]
    if not isinstance(value, Part):
        return value
    if value.parts or value.params or (value.value is None and value.file is None):
        return [value.content_type.value, described(value.parts), {k: described(v) for k, v in value.params.items()}]
    if value.file is None:
        content = value.value
    else:
        assert value.file.tell() == 0
        content = value.file.read()
        value.file.seek(0)
    return of_file(value.filename, value.content_type.value, content)


def expected(value):
    """Give a value of the corpus in the same form."""
    if isinstance(value, File):
        return of_file(*value)
    if isinstance(value, Group):
        return [value.type, expected(value.parts), {k: expected(v) for k, v in value.params.items()}]
    return [expected(item) for item in value] if isinstance(value, list) else value


def of_file(filename, kind, content):
    return {'filename': filename, 'type': kind, 'size': len(content), 'sha256': hashlib.sha256(content).hexdigest()}


@pytest.fixture
def root(handler):
    class Root:
        @cpadapter.tools.json_out()
        @handler
        def upload(self, **kwargs):
            return [{name: described(value) for name, value in kwargs.items()}, described(cpadapter.request.body.parts)]

    return Root()


def cuts(data):
    """Give ways to cut a body: whole, byte by byte, and at random, the last without a Content-Length."""
    yield 'whole', [data], {}
    yield 'byte by byte', [data[i : i + 1] for i in range(len(data))], {}
    rng = random.Random(len(data))
    for longest, more in ((9, {}), (90, {'chunked': True})):
        pieces, at = [], 0
        while at < len(data):
            size = rng.randint(1, longest)
            pieces.append(data[at : at + size])
            at += size
        yield f'pieces of up to {longest} bytes', pieces, more


@pytest.mark.parametrize('body', BODIES, ids=lambda body: body.ident)
def test_a_body_means_the_same_however_it_arrives(client, root, body):
    client.mount(root)
    answers = {}
    for name, pieces, more in cuts(body.data):
        answer = client.post('/upload', headers={'Content-Type': body.kind}, body=body.data, pieces=pieces, **more)
        answers[name] = (answer.status, answer.body)
    assert len(set(answers.values())) == 1, answers
    assert answer.status == body.status, answer
    if body.status == 200:
        assert answer.json == [{k: expected(v) for k, v in body.params.items()}, expected(body.parts)]
    else:
        assert answer.headers['Content-Type'].startswith('text/html')
        assert b'Traceback' not in answer.body
    assert not [line for line in client.errors if 'Traceback' in line]


def test_the_corpus_is_large_enough_to_mean_something():
    assert len(BODIES) >= 120
    assert len({body.ident for body in BODIES}) == len(BODIES)
    assert sum(body.status != 200 for body in BODIES) >= 50


def test_a_stray_body_is_never_read_as_a_whole_one(client, root):
    client.mount(root)
    data = next(body.data for body in BODIES if body.ident == 'file of all bytes')
    kind = {'Content-Type': 'multipart/form-data; boundary=b', 'Content-Length': str(len(data))}
    for end in (0, 1, 50, len(data) // 2, len(data) - 1):
        answer = client.post('/upload', headers=kind, body=data, cut_at=end)
        assert answer.status != 200, end
