"""The `auth_digest` tool."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live import Live, command, free_port
from werkzeug.test import Client

import cpadapter
from cpadapter.lib import auth_digest
from cpadapter.lib.auth_digest import (
    HttpDigestAuthorization,
    NonceCounts,
    authentication_info,
    get_ha1_dict,
    get_ha1_dict_plain,
    get_ha1_file_htdigest,
    md5_hex,
    synthesize_nonce,
    www_authenticate,
)

USERS = {'ada': 'secret', 'jos\u00e9': 'pass\u00e9', 'empty': ''}
REALM = 'the realm'
KEY = 'a565c27146791cfb'
HASHES = {
    'MD5': hashlib.md5,
    'SHA-256': hashlib.sha256,
    'SHA-512-256': lambda data: hashlib.new('sha512_256', data),
}
HAS_512 = 'sha512_256' in hashlib.algorithms_available


def answer_to(
    challenge,
    user='ada',
    password='secret',
    method='GET',
    uri='/x',
    algorithm='MD5',
    qop='auth',
    nc=1,
    cnonce='abc',
    body=b'',
    **changed,
):
    """Give the Authorization header that proves the password, with `changed` parameters; None leaves one out."""

    def hashed(text):
        data = text if isinstance(text, bytes) else text.encode()
        return HASHES[algorithm.removesuffix('-sess')](data).hexdigest()

    params = {
        'username': user,
        'realm': REALM,
        'nonce': parameters(challenge)['nonce'],
        'uri': uri,
        'algorithm': algorithm,
        'qop': qop,
        'nc': f'{nc:08x}' if qop else None,
        'cnonce': cnonce if qop or algorithm.endswith('-sess') else None,
    }
    params.update({name: value for name, value in changed.items() if name in params})
    ha1 = hashed(f'{user}:{params["realm"]}:{password}')
    if algorithm.endswith('-sess'):
        ha1 = hashed(f'{ha1}:{params["nonce"]}:{params["cnonce"]}')
    ha2 = hashed(f'{method}:{params["uri"]}' + (f':{hashed(body)}' if qop == 'auth-int' else ''))
    middle = f'{params["nonce"]}:{params["nc"]}:{params["cnonce"]}:{params["qop"]}' if qop else params['nonce']
    params['response'] = hashed(f'{ha1}:{middle}:{ha2}')
    params.update(changed)
    quoted = ', '.join(
        f'{name}={value}' if name in ('nc', 'qop', 'algorithm') else f'{name}="{value}"'
        for name, value in params.items()
        if value is not None
    )
    return {'Authorization': 'Digest ' + quoted.encode('utf-8').decode('latin-1')}


def parameters(challenge):
    """Read a challenge as simple clients do."""
    scheme, _, rest = challenge.partition(' ')
    assert scheme == 'Digest'
    return {name: value.strip('"') for name, _, value in (part.partition('=') for part in rest.split(', '))}


@pytest.fixture
def site(client, handler):
    """Mounts pages that say who is logged in, with the tool's settings, and gives the client."""

    def make(**more):
        def page(*args, **params):
            return f'hello {cpadapter.request.login}'

        class Root:
            x = staticmethod(handler(page))

        wanted = {'realm': REALM, 'get_ha1': get_ha1_dict_plain(USERS), 'key': KEY, **more}
        config = {'tools.auth_digest.on': True, **{f'tools.auth_digest.{k}': v for k, v in wanted.items()}}
        client.mount(Root(), '', {'/': {key: value for key, value in config.items() if value is not ...}})
        return client

    return make


def challenges(answer):
    assert answer.status == 401, answer
    return answer.headers.get_all('WWW-Authenticate')


class TestChallenge:
    def test_each_algorithm_has_a_header_of_its_own_the_stronger_one_first(self, site):
        first, second = challenges(site().get('/x'))
        one, two = parameters(first), parameters(second)
        assert (one['algorithm'], two['algorithm']) == ('SHA-256', 'MD5')
        for params in (one, two):
            assert (params['realm'], params['qop'], params['charset']) == (REALM, 'auth', 'UTF-8')
            assert 'stale' not in params
        assert one['nonce'] == two['nonce']
        assert one['opaque'] == two['opaque']

    @pytest.mark.parametrize(
        ('more', 'names'),
        [
            ({'algorithms': 'MD5'}, ['MD5']),
            ({'algorithms': ['MD5', 'SHA-256']}, ['MD5', 'SHA-256']),
            ({'algorithms': ['SHA-256-sess']}, ['SHA-256-sess']),
            ({'get_ha1': get_ha1_dict({})}, ['MD5']),
            ({'get_ha1': lambda realm, user: None}, ['MD5']),
        ],
    )
    def test_algorithms_may_be_chosen(self, site, more, names):
        found = challenges(site(**more).get('/x'))
        assert [parameters(challenge)['algorithm'] for challenge in found] == names

    def test_nonces_differ(self, site):
        client = site()
        assert len({parameters(challenges(client.get('/x'))[0])['nonce'] for _ in range(5)}) == 5

    def test_latin_1_is_not_named(self, site):
        assert 'charset' not in challenges(site(accept_charset='ISO-8859-1').get('/x'))[0]

    def test_quotes_in_the_realm_are_escaped(self, site):
        assert 'realm="a\\"b\\\\c"' in challenges(site(realm='a"b\\c').get('/x'))[0]

    @pytest.mark.parametrize('missing', ['realm', 'get_ha1', 'key'])
    def test_a_missing_setting_is_named(self, site, missing):
        client = site(**{missing: ...})
        assert client.get('/x').status == 500
        assert any(f"needs the setting '{missing}'" in line for line in client.errors)


class TestProof:
    @pytest.mark.parametrize('algorithm', ['MD5', 'SHA-256', 'MD5-sess', 'SHA-256-sess'])
    def test_who_knows_the_password_is_let_in(self, site, algorithm):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        answer = client.get('/x', headers=answer_to(challenge, algorithm=algorithm))
        assert (answer.status, answer.text) == (200, 'hello ada')
        assert 'WWW-Authenticate' not in answer.headers

    def test_algorithms_are_compared_without_regard_to_case(self, site):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        header = answer_to(challenge, algorithm='MD5')['Authorization'].replace('algorithm=MD5', 'algorithm=md5')
        assert client.get('/x', headers={'Authorization': header.replace('Digest', 'dIGEST')}).status == 200

    def test_an_algorithm_left_out_is_md5(self, site):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        header = answer_to(challenge)['Authorization'].replace('algorithm=MD5, ', '')
        assert client.get('/x', headers={'Authorization': header}).status == 200

    @pytest.mark.parametrize(
        'changed',
        [
            {'password': 'wrong'},
            {'user': 'unknown'},
            {'user': 'empty', 'password': ''},
            {'method': 'POST'},
            {'realm': 'other'},
            {'response': '0' * 32},
            {'response': 'caf\u00e9'},
            {'nonce': 'x'},
            {'nonce': ':'},
            {'nonce': '9' * 5000 + ':' + '0' * 48},
            {'opaque': 'forged'},
            {'qop': None},
            {'uri': '/y', 'response': '0' * 32},
            {'username': 'jos\u00e9'},
        ],
    )
    def test_anybody_else_is_refused(self, site, changed):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        answer = client.get('/x', headers=answer_to(challenge, **changed))
        assert answer.status == 401
        assert all('stale' not in found for found in challenges(answer))
        assert 'You are not authorized to access that resource' in answer.text

    @pytest.mark.parametrize('field', ['Basic eDp5', 'Digest-like x', 'Digests username="x"'])
    def test_another_scheme_is_refused(self, site, field):
        assert site().get('/x', headers={'Authorization': field}).status == 401

    def test_a_nonce_forged_without_the_key_is_refused(self, site):
        client = site()
        for nonce in (synthesize_nonce(REALM, 'other key'), synthesize_nonce('other realm', KEY)):
            challenge = www_authenticate(REALM, KEY, nonce=nonce)
            assert client.get('/x', headers=answer_to(challenge)).status == 401

    def test_a_nonce_whose_time_was_changed_is_refused(self, site):
        client = site()
        nonce = parameters(challenges(client.get('/x'))[0])['nonce']
        seconds, _, rest = nonce.partition(':')
        challenge = www_authenticate(REALM, KEY, nonce=f'{int(seconds) + 100}:{rest}')
        assert client.get('/x', headers=answer_to(challenge)).status == 401

    def test_an_algorithm_that_was_not_offered_is_refused(self, site):
        client = site(algorithms='SHA-256')
        challenge = challenges(client.get('/x'))[0]
        assert client.get('/x', headers=answer_to(challenge)).status == 401
        assert client.get('/x', headers=answer_to(challenge, algorithm='SHA-256')).status == 200

    def test_names_may_be_any_text(self, site):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        answer = client.get('/x', headers=answer_to(challenge, user='jos\u00e9', password='pass\u00e9'))
        assert answer.text == 'hello jos\u00e9'

    def test_a_name_may_come_in_its_extended_form(self, site):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        header = answer_to(challenge, user='jos\u00e9', password='pass\u00e9')['Authorization']
        for form, status in [("UTF-8''jos%C3%A9", 200), ("latin-1''jos%E9", 400), ("UTF-8''jos%E9", 400)]:
            start, _, rest = header.partition('username="')
            sent = f'{start}username*={form}{rest[rest.index(chr(34)) + 1 :]}'
            assert client.get('/x', headers={'Authorization': sent}).status == status

    def test_get_ha1_may_be_async(self, site):
        async def get_ha1(realm, user):
            import asyncio

            await asyncio.sleep(0)
            return md5_hex(f'{user}:{realm}:secret') if user == 'ada' else None

        client = site(get_ha1=get_ha1)
        challenge = challenges(client.get('/x'))[0]
        assert client.get('/x', headers=answer_to(challenge)).text == 'hello ada'
        assert client.get('/x', headers=answer_to(challenge, user='bob', nc=2)).status == 401

    def test_it_asks_before_the_body_is_read(self, site):
        client = site()
        assert client.post('/x', form={'a': '1'}, headers={}).status == 401
        challenge = challenges(client.get('/x'))[0]
        assert client.post('/x', form={'a': '1'}, headers=answer_to(challenge, method='POST')).status == 200

    @pytest.mark.parametrize('nothing', [None, ''])
    def test_no_proof_is_right_for_a_user_without_ha1(self, site, nothing):
        client = site(get_ha1=lambda realm, user: nothing)
        challenge = challenges(client.get('/x'))[0]
        header = answer_to(challenge, user='anybody')['Authorization'].encode('latin-1').decode('utf-8')
        auth = HttpDigestAuthorization(header, 'GET')
        for ha1 in ('', '0' * 32):
            forged = header.replace(auth.response, auth.request_digest(ha1))
            assert client.get('/x', headers={'Authorization': forged}).status == 401

    @pytest.mark.skipif(not HAS_512, reason='needs an OpenSSL with SHA-512/256')
    @pytest.mark.parametrize('algorithm', ['SHA-512-256', 'SHA-512-256-sess'])
    def test_sha_512_256_is_taken_where_it_is_offered(self, site, algorithm):
        ha1 = HASHES['SHA-512-256'](f'ada:{REALM}:secret'.encode()).hexdigest()
        for get_ha1 in (get_ha1_dict_plain(USERS), get_ha1_dict({'ada': ha1})):
            client = site(get_ha1=get_ha1, algorithms=['SHA-512-256'])
            (challenge,) = challenges(client.get('/x'))
            assert parameters(challenge)['algorithm'] == 'SHA-512-256'
            assert client.get('/x', headers=answer_to(challenge, algorithm=algorithm)).text == 'hello ada'
            assert client.get('/x', headers=answer_to(challenge, password='other', algorithm=algorithm)).status == 401
        challenge = challenges(site().get('/x'))[0]
        assert site().get('/x', headers=answer_to(challenge, algorithm=algorithm)).status == 401


def hashed_name(user, algorithm='MD5', realm=REALM):
    return HASHES[algorithm](f'{user}:{realm}'.encode()).hexdigest()


def answer_by_hash(challenge, user='ada', algorithm='MD5', **more):
    """Give the header of a client that hides the name."""
    header = answer_to(challenge, user, algorithm=algorithm, userhash='true', **more)['Authorization']
    name = user.encode().decode('latin-1')
    return {'Authorization': header.replace(f'username="{name}"', f'username="{hashed_name(user, algorithm)}"')}


class TestUserhash:
    """RFC 7616 section 3.4.4."""

    @pytest.mark.parametrize('algorithm', ['MD5', 'SHA-256'])
    @pytest.mark.parametrize('user', ['ada', 'jos\u00e9'])
    def test_names_may_be_hidden_where_that_is_offered(self, site, user, algorithm):
        client = site(userhash=True)
        found = challenges(client.get('/x'))
        assert [parameters(challenge)['userhash'] for challenge in found] == ['true', 'true']
        answer = client.get('/x', headers=answer_by_hash(found[0], user, algorithm, password=USERS[user]))
        assert answer.text == f'hello {user}'
        again = answer_to(found[0], user, USERS[user], nc=2, algorithm=algorithm)
        assert client.get('/x', headers=again).text == f'hello {user}'

    def test_it_is_not_offered_unless_that_is_asked_for(self, site):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        assert 'userhash' not in parameters(challenge)
        assert client.get('/x', headers=answer_by_hash(challenge)).status == 401

    def test_a_hash_of_nobodys_name_is_refused(self, site):
        name = hashed_name('nobody')
        # Not even where somebody is called what the hash is.
        client = site(userhash=True, get_ha1=get_ha1_dict_plain({'ada': 'secret', name: 'secret'}))
        challenge = challenges(client.get('/x'))[0]
        header = answer_to(challenge, name, userhash='true')
        assert client.get('/x', headers=header).status == 401
        assert client.get('/x', headers=answer_by_hash(challenge, password='other')).status == 401

    def test_dicts_and_files_find_names(self, tmp_path):
        path = tmp_path / 'users'
        ha1 = md5_hex(f'ada:{REALM}:secret')
        path.write_text(f'bob:other:{"0" * 32}\nada:{REALM}:{ha1}\nada:other:{ha1}\n')
        for get_ha1 in (get_ha1_dict_plain(USERS), get_ha1_dict({'ada': ha1}), get_ha1_file_htdigest(str(path))):
            assert get_ha1.username_of(REALM, hashed_name('ada'), 'MD5') == 'ada'
            assert get_ha1.username_of(REALM, hashed_name('ada').upper(), 'MD5') == 'ada'
            assert get_ha1.username_of(REALM, hashed_name('ada'), 'SHA-256') is None
            assert get_ha1.username_of(REALM, hashed_name('bob'), 'MD5') is None
            assert get_ha1.username_of(REALM, '\u00e9', 'MD5') is None

    @pytest.mark.parametrize('finds_async', [False, True])
    @pytest.mark.parametrize('asks_async', [False, True])
    def test_both_look_ups_may_be_async(self, site, finds_async, asks_async):
        plain = get_ha1_dict_plain(USERS)

        def get_ha1(realm, user):
            return plain(realm, user)

        async def aget_ha1(realm, user):
            return plain(realm, user)

        async def ausername_of(*args):
            return plain.username_of(*args)

        asked = aget_ha1 if asks_async else get_ha1
        asked.username_of = ausername_of if finds_async else plain.username_of
        client = site(userhash=True, get_ha1=asked)
        challenge = challenges(client.get('/x'))[0]
        assert client.get('/x', headers=answer_by_hash(challenge)).text == 'hello ada'

    @pytest.mark.parametrize('changed', [{'userhash': 'maybe'}, {'username': None, 'username*': "UTF-8''ada"}])
    def test_a_header_that_contradicts_itself_is_a_bad_request(self, site, changed):
        client = site(userhash=True)
        challenge = challenges(client.get('/x'))[0]
        assert client.get('/x', headers=answer_to(challenge, **{'userhash': 'true', **changed})).status == 400


class TestSettings:
    @pytest.mark.parametrize(
        ('key', 'value', 'told'),
        [
            ('key', '', 'a secret'),
            ('key', None, 'a secret'),
            ('realm', 'a\r\nb', 'a header cannot hold it'),
            ('nonce_counts', 5, 'NonceCounts'),
            ('userhash', True, 'username_of'),
            ('algorithms', ['MD6'], 'SHA-512-256'),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, site, key, value, told):
        client = site(**{'get_ha1': lambda realm, user: None, key: value})
        assert client.get('/x').status == 500
        text = ''.join(client.errors)
        assert f"'tools.auth_digest.{key}' = {value!r} in section [/]" in text
        assert told in text

    def test_an_algorithm_that_this_python_lacks_is_refused(self, site, monkeypatch):
        monkeypatch.setattr(auth_digest, '_HASHES', {**auth_digest._HASHES, 'SHA-512-256': 'nosuch'})
        client = site(algorithms='SHA-512-256')
        assert client.get('/x').status == 500
        assert 'has no SHA-512-256' in ''.join(client.errors)


class TestHeader:
    @pytest.mark.parametrize(
        'changed',
        [
            {'username': None},
            {'realm': None},
            {'nonce': None},
            {'uri': None},
            {'response': None},
            {'algorithm': 'SHA-1'},
            {'algorithm': ''},
            {'qop': 'auth-other'},
            {'nc': None},
            {'cnonce': None},
            {'nc': '1'},
            {'nc': '00000000'},
            {'nc': 'zzzzzzzz'},
            {'nc': '+0000001'},
            {'nc': '000000001'},
        ],
    )
    def test_an_incomplete_one_is_a_bad_request(self, site, changed):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        headers = answer_to(challenge)
        good = dict(part.split('=', 1) for part in headers['Authorization'].removeprefix('Digest ').split(', '))
        good.update(changed)
        text = ', '.join(f'{name}={value}' for name, value in good.items() if value is not None)
        answer = client.get('/x', headers={'Authorization': f'Digest {text}'})
        assert answer.status == 400
        assert 'The Authorization header could not be parsed.' in answer.text

    @pytest.mark.parametrize(
        'field',
        [
            'Digest',
            'Digest ',
            'Digest x',
            'Digest =',
            'Digest "',
            'Digest username="a',
            'Digest username="a"b',
            'Digest username="a", username="a"',
            'Digest user name="a"',
            'Digest ' + ',' * 1000,
            'Digest username="a", realm="r", nonce="n", uri="/x", response="r", nc=00000001',
            'Digest username="a", realm="r", nonce="n", uri="/x", response="r", cnonce="c"',
            'Digest username="a", realm="r", nonce="n", uri="/x", response="r", algorithm=MD5-sess',
        ],
    )
    def test_one_that_is_no_list_of_parameters_is_a_bad_request(self, site, field):
        assert site().get('/x', headers={'Authorization': field}).status == 400

    def test_quotes_and_commas_in_values_are_read(self):
        auth = HttpDigestAuthorization(
            r'Digest username="a,\"b\\", realm = "r" , nonce=n,uri="/?a=1,2", response=x,, opaque=""', 'GET'
        )
        assert (auth.username, auth.realm, auth.nonce, auth.uri) == ('a,"b\\', 'r', 'n', '/?a=1,2')
        assert (auth.opaque, auth.algorithm, auth.qop, auth.nc) == ('', 'MD5', None, None)

    def test_another_scheme_is_no_digest(self):
        assert HttpDigestAuthorization.matches('digest x')
        assert not HttpDigestAuthorization.matches('Basic x')
        with pytest.raises(ValueError, match='not "Digest"'):
            HttpDigestAuthorization('Basic x', 'GET')


class TestUri:
    @pytest.mark.parametrize(
        ('target', 'uri', 'status'),
        [
            ('/x', '/x', 200),
            ('/x?a=1', '/x?a=1', 200),
            ('/x/a%20b', '/x/a%20b', 200),
            ('/x/caf%C3%A9', '/x/caf%C3%A9', 200),
            ('/x', 'http://testserver/x', 200),
            ('/x/a%2Fb', '/x/a%2Fb', 200),
            ('/x', '/y', 400),
            ('/x', '/', 400),
            ('/x', '*', 400),
            ('/x?a=1', '/x', 400),
            ('/x', '/x?a=1', 400),
            ('/x?a=1', '/x?a=2', 400),
            ('/x', 'ftp://testserver/x', 400),
        ],
    )
    def test_the_proof_holds_for_one_uri(self, site, target, uri, status):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        assert client.get(target, headers=answer_to(challenge, uri=uri)).status == status

    def test_a_mounted_application_is_found_by_its_whole_path(self, site):
        client = site()
        challenge = challenges(client.get('/x', prefix='/out'))[0]
        assert client.get('/x', prefix='/out', headers=answer_to(challenge, uri='/out/x')).status == 200
        assert client.get('/x', prefix='/out', headers=answer_to(challenge, uri='/x', nc=2)).status == 400

    def test_the_check_may_be_left_to_others(self, site):
        client = site(check_uri=False)
        challenge = challenges(client.get('/x'))[0]
        assert client.get('/x', headers=answer_to(challenge, uri='/elsewhere')).status == 200


class TestQop:
    def test_a_proof_without_qop_is_taken_where_that_is_asked_for(self, site):
        client = site(without_qop=True)
        challenge = challenges(client.get('/x'))[0]
        assert client.get('/x', headers=answer_to(challenge, qop=None)).status == 200

    def test_auth_int_of_a_request_without_body_is_checked(self, site):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        assert client.get('/x', headers=answer_to(challenge, qop='auth-int')).status == 200
        wrong = answer_to(challenge, qop='auth-int', nc=2, body=b'other')
        assert client.get('/x', headers=wrong).status == 401

    def test_auth_int_of_a_request_with_a_body_is_told_to_use_auth(self, site):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        headers = answer_to(challenge, method='POST', qop='auth-int', body=b'a=1')
        answer = client.post('/x', form={'a': '1'}, headers=headers)
        assert parameters(challenges(answer)[0])['qop'] == 'auth'


class TestNonces:
    def test_an_old_one_is_told_to_be_stale(self, site, monkeypatch):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        now = time.time()
        monkeypatch.setattr(time, 'time', lambda: now + 601)
        answer = client.get('/x', headers=answer_to(challenge))
        assert all(parameters(found)['stale'] == 'true' for found in challenges(answer))
        again = client.get('/x', headers=answer_to(challenges(answer)[0]))
        assert again.status == 200

    def test_a_wrong_password_with_an_old_one_is_not_told_that_it_is_stale(self, site, monkeypatch):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        now = time.time()
        monkeypatch.setattr(time, 'time', lambda: now + 601)
        answer = client.get('/x', headers=answer_to(challenge, password='wrong'))
        assert 'stale' not in challenges(answer)[0]

    def test_the_age_may_be_set(self, site, monkeypatch):
        client = site(max_age=5)
        challenge = challenges(client.get('/x'))[0]
        now = time.time()
        monkeypatch.setattr(time, 'time', lambda: now + 6)
        assert 'stale="true"' in challenges(client.get('/x', headers=answer_to(challenge)))[0]

    def test_a_header_sent_again_is_refused(self, site):
        client = site()
        headers = answer_to(challenges(client.get('/x'))[0])
        assert client.get('/x', headers=headers).status == 200
        answer = client.get('/x', headers=headers)
        assert 'stale="true"' in challenges(answer)[0]

    def test_a_nonce_serves_for_many_counts_in_any_near_order(self, site):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        for nc in (1, 3, 2, 5, 4, 100):
            assert client.get('/x', headers=answer_to(challenge, nc=nc)).status == 200
        for nc in (1, 3, 2, 5, 4, 100):
            assert client.get('/x', headers=answer_to(challenge, nc=nc)).status == 401

    def test_who_cannot_prove_a_password_uses_no_count_up(self, site):
        client = site()
        challenge = challenges(client.get('/x'))[0]
        assert client.get('/x', headers=answer_to(challenge, password='wrong')).status == 401
        assert client.get('/x', headers=answer_to(challenge)).status == 200

    def test_several_processes_may_share_counts(self, site):
        shared = NonceCounts()
        client = site(nonce_counts=shared)
        headers = answer_to(challenges(client.get('/x'))[0])
        assert client.get('/x', headers=headers).status == 200
        nonce = parameters(headers['Authorization'])['nonce']
        assert not shared.use(nonce, int(nonce.partition(':')[0]), 1, 600)

    def test_counts_are_kept_in_bounded_memory_and_what_was_dropped_is_no_good(self):
        counts = NonceCounts(10)
        now = int(time.time())
        for n in range(100):
            assert counts.use(f'n{n}', now + n, 1, 600)
        assert len(counts._used) == 10
        assert not counts.use('n0', now, 2, 600)
        assert not counts.use('never seen', now + 50, 1, 600)
        assert counts.use('new', now + 200, 1, 600)

    def test_what_is_too_old_is_forgotten_for_good(self):
        counts = NonceCounts()
        now = int(time.time())
        assert counts.use('old', now - 601, 1, 600)
        assert counts.use('new', now, 1, 600)
        assert list(counts._used) == ['new']

    @given(st.lists(st.integers(1, 600), max_size=60))
    def test_no_count_is_ever_taken_twice(self, given_counts):
        counts = NonceCounts()
        taken = [count for count in given_counts if counts.use('n', int(time.time()), count, 600)]
        assert len(taken) == len(set(taken))
        if given_counts:
            assert taken[0] == given_counts[0]

    def test_a_nonce_of_a_given_time_is_the_same_each_time(self):
        assert synthesize_nonce('r', 'k', 1000) == synthesize_nonce('r', 'k', 1000)
        assert synthesize_nonce('r', 'k', 1000).startswith('1000:')
        assert synthesize_nonce('r', 'k') != synthesize_nonce('r', 'k')


class TestAuthenticationInfo:
    """RFC 7616 section 3.5: what the server says of itself to those it lets in."""

    def info(self, client, **more):
        challenge = challenges(client.get('/x'))[more.get('algorithm', 'MD5').startswith('MD5')]
        answer = client.get('/x', headers=answer_to(challenge, **more))
        assert answer.status == 200
        return parameters('Digest ' + answer.headers.get('Authentication-Info', '')), parameters(challenge)['nonce']

    @pytest.mark.parametrize('algorithm', ['MD5', 'SHA-256', 'MD5-sess', 'SHA-256-sess'])
    def test_the_server_proves_that_it_knows_the_password_too(self, site, algorithm):
        info, nonce = self.info(site(), algorithm=algorithm, nc=3)

        def hashed(text):
            return HASHES[algorithm.removesuffix('-sess')](text.encode()).hexdigest()

        ha1 = hashed(f'ada:{REALM}:secret')
        if algorithm.endswith('-sess'):
            ha1 = hashed(f'{ha1}:{nonce}:abc')
        proof = hashed(f'{ha1}:{nonce}:00000003:abc:auth:{hashed(":/x")}')
        assert info == {'rspauth': proof, 'qop': 'auth', 'nc': '00000003', 'cnonce': 'abc'}

    def test_an_answer_from_the_cache_has_the_proof_for_this_client(self, client, handler):
        def page():
            cpadapter.response.headers['Cache-Control'] = 'public, max-age=60'
            return 'for all'

        class Root:
            x = staticmethod(handler(page))

        wanted = {'realm': REALM, 'get_ha1': get_ha1_dict_plain(USERS), 'key': KEY}
        config = {f'tools.auth_digest.{k}': v for k, v in wanted.items()}
        client.mount(Root(), '', {'/': {'tools.auth_digest.on': True, **config, 'tools.caching.on': True}})
        challenge = challenges(client.get('/x'))[0]
        first, second = (client.get('/x', headers=answer_to(challenge, nc=nc, cnonce=f'c{nc}')) for nc in (1, 2))
        assert ('Age' in first.headers, 'Age' in second.headers) == (False, True)
        assert 'cnonce="c1"' in first.headers['Authentication-Info']
        assert 'cnonce="c2"' in second.headers['Authentication-Info']

    def test_whoever_is_refused_gets_no_proof(self, site):
        client = site()
        challenge = challenges(client.get('/x'))[1]
        answer = client.get('/x', headers=answer_to(challenge, password='wrong'))
        assert (answer.status, answer.headers.get('Authentication-Info')) == (401, None)

    @pytest.mark.parametrize(('seconds', 'is_renewed'), [(70, False), (80, True)])
    def test_a_nonce_is_renewed_before_it_is_too_old(self, site, monkeypatch, seconds, is_renewed):
        client = site(max_age=100)
        challenge = challenges(client.get('/x'))[1]
        now = time.time()
        monkeypatch.setattr(time, 'time', lambda: now + seconds)
        answer = client.get('/x', headers=answer_to(challenge))
        info = parameters('Digest ' + answer.headers['Authentication-Info'])
        assert ('nextnonce' in info) is is_renewed
        if is_renewed:
            monkeypatch.setattr(time, 'time', lambda: now + 150)
            assert client.get('/x', headers=answer_to(challenge, nc=2)).status == 401
            following = answer_to(f'Digest nonce="{info["nextnonce"]}"')
            assert client.get('/x', headers=following).status == 200

    def test_auth_int_and_proofs_without_qop_are_not_answered_by_one(self, site):
        assert self.info(site(), qop='auth-int')[0] == {'': ''}
        assert self.info(site(without_qop=True), qop=None)[0] == {'': ''}

    def test_a_cnonce_that_is_no_plain_text_is_not_sent_back(self, site):
        assert self.info(site(), cnonce='\u00e9')[0] == {'': ''}

    def test_quotes_in_a_cnonce_are_escaped(self):
        auth = HttpDigestAuthorization(
            'Digest username="u", realm="r", nonce="n", uri="/", response="0", qop=auth, nc=00000001, cnonce="a\\"b"',
            'GET',
        )
        assert auth.cnonce == 'a"b'
        assert authentication_info(auth, '0' * 32).endswith('cnonce="a\\"b"')


class TestNames:
    def test_public_functions_give_what_they_did(self):
        assert auth_digest.H('a') == md5_hex('a') == hashlib.md5(b'a').hexdigest()
        assert auth_digest.valid_qops == ('auth', 'auth-int')
        assert auth_digest.DEFAULT_CHARSET == 'UTF-8'
        assert auth_digest.FALLBACK_CHARSET == 'ISO-8859-1'

    def test_a_challenge_has_its_parts_in_order(self):
        text = www_authenticate('r', 'k', nonce='n', stale=True)
        expected = 'Digest realm="r", nonce="n", algorithm="MD5", qop="auth", stale="true", charset="UTF-8"'
        assert text == expected
        with pytest.raises(ValueError, match='algorithm'):
            www_authenticate('r', 'k', algorithm='SHA')
        with pytest.raises(ValueError, match='qop'):
            www_authenticate('r', 'k', qop='other')

    def test_the_worked_example_of_the_rfc_comes_out(self):
        """RFC 7616 3.9.1."""
        nonce = '7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v'
        cnonce = 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ'
        for algorithm, response in [
            ('MD5', '8ca523f5e9506fed4657c9700eebdbec'),
            ('SHA-256', '753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1'),
        ]:
            header = (
                f'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", '
                f'algorithm={algorithm}, nonce="{nonce}", nc=00000001, cnonce="{cnonce}", qop=auth, '
                f'response="{response}", opaque="x"'
            )
            auth = HttpDigestAuthorization(header, 'GET')
            ha1 = get_ha1_dict_plain({'Mufasa': 'Circle of Life'})('http-auth@example.org', 'Mufasa', algorithm)
            assert auth.request_digest(ha1) == response

    def test_hashes_come_from_dicts_and_files(self, tmp_path):
        ha1 = md5_hex('ada:r:secret')
        sha = hashlib.sha256(b'ada:r:secret').hexdigest()
        plain = get_ha1_dict_plain({'ada': 'secret', 'empty': ''})
        assert (plain('r', 'ada'), plain('r', 'ada', 'SHA-256'), plain('r', 'empty')) == (ha1, sha, None)
        kept = get_ha1_dict({'ada': ha1, 'bob': sha})
        assert (kept('r', 'ada'), kept('r', 'bob'), kept('r', 'bob', 'SHA-256')) == (ha1, None, sha)
        file = tmp_path / 'htdigest'
        file.write_text(f'bob:r:{ha1[::-1]}\nnonsense\nada:q:0\nada:r:{ha1}\nada:r:{sha}\nada:r:zz\n', 'utf-8')
        read = get_ha1_file_htdigest(str(file))
        assert (read('r', 'ada'), read('r', 'ada', 'SHA-256'), read('r', 'x')) == (ha1, sha, None)

    def test_debug_says_why(self, site):
        client = site(debug=True)
        challenge = challenges(client.get('/x'))[0]
        client.get('/x', headers=answer_to(challenge))
        client.get('/x', headers=answer_to(challenge, password='wrong', nc=2))
        text = '\n'.join(client.errors)
        for said in ('there are no credentials', "'ada' is let in", 'the proof is wrong', 'the nonce is valid'):
            assert f'TOOLS.AUTH_DIGEST {said}' in text


_app = []


def app():
    if not _app:

        class Root:
            @cpadapter.expose
            def x(self):
                return 'x'

        site = cpadapter.Site('fuzz')
        site.config.update({'checker.on': False})
        tool = {'realm': REALM, 'get_ha1': get_ha1_dict_plain(USERS), 'key': KEY, 'on': True}
        site.tree.mount(Root(), '', {'/': {f'tools.auth_digest.{key}': value for key, value in tool.items()}})
        _app.append(Client(site.tree))
    return _app[0]


PARTS = st.sampled_from(
    [
        *('username="a"', f'realm="{REALM}"', 'nonce="1:x"', f'nonce="{synthesize_nonce(REALM, KEY)}"', 'uri="/x"'),
        *('response="0"', 'algorithm=MD5', 'algorithm="SHA-256"', 'qop=auth', 'qop=auth-int', 'nc=00000001'),
        *('cnonce="c"', 'opaque=""', 'username*=UTF-8', '"', '\\', '=', '', ' ', 'x', 'username="a\\', 'stale=true'),
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.lists(PARTS, max_size=14).map(', '.join),
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=80),
    )
)
def test_any_header_is_answered_400_or_401(text):
    assert app().get('/x', headers={'Authorization': f'Digest {text}'}).status_code in (400, 401)


@pytest.mark.parametrize('text', ['"' * 50000, ',' * 50000, 'a="\\' * 12000, '=' * 50000, 'a=' * 25000, '\\"' * 25000])
def test_a_long_header_is_read_in_linear_time(text):
    began = time.perf_counter()
    assert app().get('/x', headers={'Authorization': f'Digest {text}'}).status_code in (400, 401)
    assert time.perf_counter() - began < 1


APPLICATION = f"""
import cpadapter
from cpadapter.lib.auth_digest import get_ha1_dict_plain


class Root:
    @cpadapter.expose
    def default(self, *args, **kwargs):
        return 'hello ' + cpadapter.request.login


config = {{
    'tools.auth_digest.on': True,
    'tools.auth_digest.realm': {REALM!r},
    'tools.auth_digest.get_ha1': get_ha1_dict_plain({USERS!r}),
    'tools.auth_digest.key': {KEY!r},
}}
application = cpadapter.Application(Root(), config={{'/': config}})
"""


@pytest.mark.live
@pytest.mark.parametrize('server', ['uvicorn', 'gunicorn'])
def test_clients_log_in_to_a_live_server(server, tmp_path):
    pytest.importorskip(server)
    (tmp_path / 'app.py').write_text(APPLICATION, 'utf-8')
    port = free_port()
    live = Live(command(server, 'app:application', port), port, tmp_path, tmp_path / 'out')
    try:
        live.ready()
        url = f'http://127.0.0.1:{port}/a%20b/c?q=1&r=%2F'
        with httpx.Client(auth=httpx.DigestAuth('ada', 'secret'), timeout=10) as client:
            answers = [client.get(url) for _ in range(3)]
            answers.append(client.post(url, data={'a': '1'}))
        assert [(answer.status_code, answer.text) for answer in answers] == [(200, 'hello ada')] * 4
        # The first is asked to log in; the others use the nonce on.
        assert [len(answer.history) for answer in answers] == [1, 0, 0, 0]
        assert httpx.get(url, auth=httpx.DigestAuth('ada', 'wrong'), timeout=10).status_code == 401
        curl = shutil.which('curl')
        if curl:
            done = subprocess.run(
                [curl, '-s', '--max-time', '10', '--digest', '-u', 'ada:secret', url, url],
                capture_output=True,
                timeout=30,
                check=False,
                env={**os.environ, 'NO_PROXY': '127.0.0.1'},
            )
            assert done.stdout == b'hello adahello ada'
        assert live.end() in (0, -15)
    finally:
        live.kill()
