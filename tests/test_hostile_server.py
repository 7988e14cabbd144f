"""Servers that answer nonsense: the call fails, or leaves out what is nonsense, and the mount lives on.

The nonsense is full of MARKER, which must never turn up in a log.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import fake_server
from harness.fake_server import (FakeNacos, TOKEN, broken, bytes_of, document, dripping, flooding, hanging, status,
                                 truncated, wrapped)
from harness.mounts import PASSWORD, run_nacosfs, option_text, source_of
from harness.waiting import wait_until

MARKER = "content-that-must-not-be-told"
TIMEOUT = 1
GET = {"3.1.0": "/v3/client/cs/config", "2.2.4": "/v1/cs/configs"}
LIST = {"3.1.0": "/v3/admin/cs/config/list", "2.2.4": "/v1/cs/configs"}
PUBLISH = {"3.1.0": "/v3/admin/cs/config", "2.2.4": "/v1/cs/configs"}
LOGIN = {"3.1.0": "/v3/auth/user/login", "2.2.4": "/v1/auth/login"}
NAMESPACES = {"3.1.0": "/v3/admin/core/namespace/list", "2.2.4": "/v1/console/namespaces"}

BOTH = ["a.txt", "b.txt"]
OUTAGES = {errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH}


@pytest.fixture(params=["3.1.0", "2.2.4"])
def server(request):
    with FakeNacos(request.param) as fake:
        fake.configs["public", "APP", "a.txt"] = f"{MARKER} one".encode()
        fake.configs["public", "APP", "b.txt"] = f"{MARKER} two".encode()
        yield fake


@pytest.fixture
def mounted(server, mount):
    """The group, mounted; what it logs must be clean whatever happens."""
    mounted = mount_fake(mount, server, "public", "APP")
    yield mounted
    check_log(mounted)


def mount_fake(mount, server, *location, **options):
    return mount.mount(source_of(f"127.0.0.1:{server.port}", *location), {
        "username": "nacos", "password_file": mount.password_file("pa55-of-the-fake"), "timeout": TIMEOUT,
        "console": f"http://127.0.0.1:{server.port}", "log": "debug", **options})


def check_log(mounted):
    log = mounted.log_text()
    for secret in (MARKER, TOKEN, "pa55-of-the-fake", "Bearer"):
        assert secret not in log
    assert not re.search(r"[^\n -~]", log.replace("\n", "")), "control or foreign characters in the log"
    assert max(map(len, log.splitlines())) < 1100


def error_of(function, *arguments):
    """The errno, 0 if there is none; no call takes longer than it may."""
    started = time.monotonic()
    try:
        function(*arguments)
    except OSError as error:
        return error.errno
    finally:
        assert time.monotonic() - started < TIMEOUT + 1
    return 0


def is_get(request):
    return "search" not in request.parameters


@contextlib.contextmanager
def bad_get(server, answer):
    """On 3.x two calls read a config: from the memory of the node, and from the database when it is absent there."""
    with server.fault(GET[server.generation], answer, is_get):
        if server.generation != "3.1.0":
            yield
            return
        with server.fault("/v3/admin/cs/config", answer, lambda request: request.command == "GET"):
            yield


def is_list(request):
    return "search" in request.parameters


# ---------------------------------------------------------------- bad answers to anything

MARKED = MARKER.encode()

ANSWERS = {
    "empty": status(200),
    "text": status(200, MARKED),
    "html": status(200, b"<html>" + MARKED),
    "json-number": status(200, b"42"),
    "json-null": status(200, b"null"),
    "json-array": status(200, b'["%s"]' % MARKED),
    "json-object": status(200, b'{"%s": 1}' % MARKED),
    "json-half": status(200, b'{"code": 0, "data": {"content": "%s' % MARKED),
    "json-deep": status(200, b"[" * 200_000),
    "json-deep-objects": status(200, b'{"data":' * 200_000),
    "json-not-utf8": status(200, b'{"code": 0, "data": {"content": "\xff\xfe%s", "md5": "", "dataId": "x"}}' % MARKED),
    "zeros": status(200, b"\0" * 1000),
    "truncated": truncated(b'{"code": 0, "data": {"content": "%s' % MARKED),
    "dripping": dripping(b'{"code": 0, "data": {"content": "' + MARKED * 10),
    "flood": flooding(200 << 20, b'{"code": 0, "data": {"content": "%s' % MARKED),
    "redirect": status(302, MARKED, Location="/nacos/elsewhere"),
    "redirect-forever": status(307, MARKED, Location="/nacos/v3/client/cs/config"),
    "redirect-to-a-file": status(301, MARKED, Location="file:///etc/passwd"),
    "203": status(203, MARKED),
    "206": status(206, MARKED),
    "400": status(400, b"illegal characters"),
    "401": status(401, b"who are you?"),
    "403": document({"status": 403, "message": "authorization failed!"}, 403),
    "404-of-a-gateway": status(404, b"<html>no such page " + MARKED),
    "409": status(409, b"busy"),
    "410": status(410, b"gone"),
    "418": status(418, b"<html>" + MARKED),
    "429": status(429, b"<html>" + MARKED),
    "500": status(500, MARKED),
    "500-object": document({"code": 30000, "message": "server error", "data": MARKER}, 500),
    "502": status(502, b"<html>" + MARKED),
    "503": status(503, MARKED),
    "999": status(999, MARKED),
    "not-http": bytes_of(b"220 mail ESMTP " + MARKED + b"\r\n"),
    "bad-status-line": bytes_of(b"HTTP/1.1 0\r\n\r\n"),
    "bad-chunks": bytes_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + MARKED),
    "bad-length": bytes_of(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + MARKED),
    "two-lengths": bytes_of(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 400\r\n\r\n" + MARKED),
    "many-headers": bytes_of(b"HTTP/1.1 200 OK\r\n" + b"X-Header: %s\r\n" % MARKED * 20_000 + b"\r\n"),
    "long-header": bytes_of(b"HTTP/1.1 200 OK\r\nX-Header: " + MARKED * 20_000 + b"\r\n\r\n"),
    "endless-header": bytes_of(b"HTTP/1.1 200 OK\r\nX-Header: " + MARKED * 20_000),
    "gzip-that-is-none": status(200, MARKED, Content_Encoding="gzip"),
    "broken": broken,
    "hanging": hanging,
}

# Beside an outage, what these answers may mean.
MEANS = {
    "400": {errno.ENOENT, errno.EINVAL},
    "401": {errno.EACCES},
    "403": {errno.EACCES},
    "empty": {errno.ENOENT},  # how 2.x says that there is none
    "json-null": {errno.ENOENT},
}

SLOW = {"dripping", "hanging", "409"}


def failures(names, attempt):
    """Tries each name; what went wrong, so that one bad answer does not hide the others."""
    wrong = {}
    for name in names:
        try:
            attempt(name)
        except AssertionError as error:
            wrong[name] = str(error).splitlines()[0] if str(error) else "assertion"
        except OSError as error:
            wrong[name] = str(error)
    return wrong


def test_hostile_answer_to_a_get(server, mounted):
    """Neither read nor stat succeeds (but for a refusal, where the server takes what is written: then the mode says
    that it can't be read); then the server is sound again, and so is the file."""
    def attempt(name):
        file = f"c-{name}"  # a mere number would be the name of an editor's probe
        server.configs["public", "APP", file] = MARKED
        allowed = OUTAGES | MEANS.get(name, set())
        with bad_get(server, ANSWERS[name]):
            assert error_of((mounted.path / file).read_bytes) in allowed
            if errno.EACCES in MEANS.get(name, set()) and not error_of(os.stat, mounted.path / file):
                assert os.stat(mounted.path / file).st_mode & 0o444 == 0
            elif name not in SLOW:
                assert error_of(os.stat, mounted.path / file) in allowed
        wait_until(lambda: reads(mounted, file), TIMEOUT + 1, "the file to be back")

    assert failures(ANSWERS, attempt) == {}
    assert not server.asked("/elsewhere")
    assert mounted.log_text().count("warning") > len(ANSWERS) / 2


def test_hostile_answer_to_a_listing(server, mount):
    """It is an error and not an empty directory; what is known by name goes on."""
    mounted = mount_fake(mount, server, "public")

    def attempt(name):
        path = mounted.path / f"G-{name}"
        server.configs["public", path.name, "a.txt"] = MARKED
        assert path.exists()
        with server.fault(LIST[server.generation], ANSWERS[name], is_list):
            assert error_of(os.listdir, path) in OUTAGES | MEANS.get(name, set())
            assert (path / "a.txt").read_bytes() == MARKED
        if errno.EACCES not in MEANS.get(name, set()):  # which is believed for a while
            wait_until(lambda: lists(path, ["a.txt"]), TIMEOUT + 1, "the listing to be back")

    assert failures(ANSWERS, attempt) == {}
    check_log(mounted)


def test_hostile_answer_to_the_list_of_namespaces(server, mount):
    mounted = mount_fake(mount, server)

    def attempt(name):
        with server.fault(NAMESPACES[server.generation], ANSWERS[name]):
            error = error_of(os.listdir, mounted.path)
            if not error:  # what it said before may still be shown
                assert os.listdir(mounted.path) == ["public"]
            assert error in OUTAGES | MEANS.get(name, set()) | {0, errno.EOPNOTSUPP}
        wait_until(lambda: lists(mounted.path, ["public"]), TIMEOUT + 1, "the listing to be back")

    assert failures(ANSWERS, attempt) == {}
    check_log(mounted)


def test_hostile_answer_where_the_config_is_cached(server, mounted):
    """What was readable stays readable, unless the server says no."""
    names = [name for name in ANSWERS if name not in SLOW]
    for name in names:
        server.configs["public", "APP", name] = MARKED
        assert reads(mounted, name)
    time.sleep(1.1)  # they are fresh no more

    def attempt(name):
        with bad_get(server, ANSWERS[name]):
            assert error_of((mounted.path / name).read_bytes) in MEANS.get(name, set()) | {0}
        wait_until(lambda: reads(mounted, name), TIMEOUT + 3, "the file to be back")

    assert failures(names, attempt) == {}


def test_hostile_answer_to_the_login(server, mount):
    directory = mount.new_directory()
    options = option_text({"username": "nacos", "password_file": mount.password_file("pa55-of-the-fake"),
                           "timeout": TIMEOUT})
    no_login = {"404-of-a-gateway", "410"}

    def attempt(name):
        with server.fault(LOGIN[server.generation], ANSWERS[name]):
            done = run_nacosfs(f"nacos://127.0.0.1:{server.port}/public", directory, "-f", "-o", options,
                               timeout=TIMEOUT + 3)
        assert done.returncode != 0
        assert done.stderr.count("\n") == 1, done.stderr
        assert MARKER not in done.stderr and "pa55" not in done.stderr

    assert failures(ANSWERS.keys() - no_login, attempt) == {}


@pytest.mark.parametrize("code", [203, 400, 403, 422, 500])
def test_hostile_echo_is_not_told(server, mount, code):
    """Gateways quote what was sent to them: passwords at the login, content at a publish."""
    def echo(request):
        status(code, "bad request: {password} {content}".format_map(
            {"password": "", "content": "", **request.parameters}).encode())(request)

    directory = mount.new_directory()
    options = {"username": "nacos", "password_file": mount.password_file("pa55-of-the-fake")}
    with server.fault(LOGIN[server.generation], echo):
        done = run_nacosfs(f"nacos://127.0.0.1:{server.port}/public", directory, "-f", "-o", option_text(options))
        assert done.returncode != 0
        assert "pa55" not in done.stderr
    mounted = mount_fake(mount, server, "public", "APP")
    with server.fault(PUBLISH[server.generation], echo, lambda request: request.parameters.get("content")):
        assert error_of((mounted.path / "new.txt").write_text, MARKER)
        with contextlib.suppress(OSError):
            assert MARKER not in os.getxattr(mounted.path / "new.txt", "user.nacos.error").decode()
    check_log(mounted)


def reads(mounted, name):
    """Is the file there with its content?"""
    with contextlib.suppress(OSError):
        return (mounted.path / name).read_bytes().startswith(MARKED)
    return False


def lists(path, wanted):
    with contextlib.suppress(OSError):
        return sorted(os.listdir(path)) == wanted
    return False


def test_hostile_flood_takes_little_memory(server, mounted):
    if b"libasan" in Path(f"/proc/{mounted.pid}/maps").read_bytes():
        pytest.skip("memory says nothing with ASan")
    def read(name):
        with contextlib.suppress(OSError):  # how long is not judged: look-ups in one directory wait for each other
            (mounted.path / name).read_bytes()

    with server.fault(GET[server.generation], ANSWERS["flood"], is_get), ThreadPoolExecutor(3) as pool:
        list(pool.map(read, "cde"))
    peak_kb = int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{mounted.pid}/status").read_text())[1])
    assert peak_kb < 500_000


# ---------------------------------------------------------------- bad configs

GOOD_MD5 = hashlib.md5(MARKED).hexdigest()


def config(**changes):
    return {"content": MARKER, "md5": GOOD_MD5, "type": "text", "contentType": "text", "encryptedDataKey": "",
            "lastModified": fake_server.MODIFIED_MS, "modifyTime": fake_server.MODIFIED_MS, **changes}


BAD_CONFIGS = {
    "content-number": config(content=42),
    "content-null": config(content=None),
    "content-array": config(content=[MARKER]),
    "content-object": config(content={MARKER: 1}),
    "content-of-another-md5": config(content=MARKER + "!"),
    "md5-of-nothing": config(md5="0" * 32),
    "md5-no-hex": config(md5="z" * 32),
    "md5-long": config(md5=GOOD_MD5 * 100),
    "no-content": {"md5": GOOD_MD5},
}

ODD_CONFIGS = {
    "no-md5": config(md5=None),
    "md5-number": config(md5=42),
    "upper-md5": config(md5=GOOD_MD5.upper()),
    "type-number": config(type=1, contentType=1),
    "type-long": config(type="t" * 10_000, contentType="t" * 10_000),
    "type-controls": config(type="a\nb\x1b", contentType="a\nb\x1b"),
    "time-text": config(lastModified="now", modifyTime="now"),
    "time-negative": config(lastModified=-1, modifyTime=-1),
    "time-huge": config(lastModified=10**18, modifyTime=10**18),
    "time-float": config(lastModified=1e300, modifyTime=1e300),
    "time-null": config(lastModified=None, modifyTime=None),
    "key-number": config(encryptedDataKey=1),
    "key-long": config(encryptedDataKey="k" * 100_000),
    "more-members": config(**{f"member{number}": MARKER for number in range(10_000)}),
}


def answer_of(server, value):
    return wrapped(value) if server.generation == "3.1.0" else document(value)


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_hostile_config(server, mounted, name):
    with server.fault(GET[server.generation], answer_of(server, BAD_CONFIGS[name]), is_get):
        assert error_of((mounted.path / "c.txt").read_bytes) in OUTAGES
    assert reads(mounted, "a.txt")


@pytest.mark.parametrize("name", ODD_CONFIGS)
def test_hostile_metadata_does_not_keep_content_away(server, mounted, name):
    """Nothing but a bad answer (EIO) or the content, with a time that can be."""
    with server.fault(GET[server.generation], answer_of(server, ODD_CONFIGS[name]), is_get):
        error = error_of((mounted.path / "c.txt").read_bytes)
        assert error in (0, errno.EIO)
        if not error:
            assert (mounted.path / "c.txt").read_bytes() == MARKED
            assert 0 <= (mounted.path / "c.txt").stat().st_mtime < time.time() + 10**11
            with contextlib.suppress(OSError):
                assert "\n" not in os.getxattr(mounted.path / "c.txt", "user.nacos.type").decode()
    assert reads(mounted, "a.txt")


# ---------------------------------------------------------------- bad listings


def row(server, data_id, group="APP", namespace="public", **more):
    if server.generation == "3.1.0":
        return {"namespaceId": namespace, "groupName": group, "dataId": data_id, "md5": GOOD_MD5, **more}
    return {"tenant": "" if namespace == "public" else namespace, "group": group, "dataId": data_id,
            "content": MARKER, **more}


def page(server, rows, total=None, pages=1):
    return answer_of(server, {"totalCount": len(rows) if total is None else total, "pageNumber": 1,
                              "pagesAvailable": pages, "pageItems": rows})


BAD_NAMES = ["../x", "a/b", "/etc/passwd", "", ".", "..", "n" * 256, "n" * 300, "ü" * 128, None, 42, ["x"], {"x": 1}]
ODD_NAMES = ["a\nb", "a\tb", "a b", "\x1b[31mred", "a\\b", "a\x7fb", "\u202egpj.exe", "*", "-rf", "ü" * 127, "a\0b"]


def test_hostile_names_are_left_out(server, mounted):
    rows = [row(server, "a.txt"), *(row(server, name) for name in BAD_NAMES), row(server, "b.txt")]
    with server.fault(LIST[server.generation], page(server, rows), is_list):
        assert sorted(os.listdir(mounted.path)) == BOTH
    assert reads(mounted, "a.txt")
    assert "left out" in mounted.log_text()


def test_hostile_names_that_are_possible_do_no_harm(server, mounted):
    """Shown or not: what is shown leads nowhere but to itself, and the log stays in its lines."""
    rows = [row(server, "a.txt"), *(row(server, name) for name in ODD_NAMES), row(server, "b.txt")]
    with server.fault(LIST[server.generation], page(server, rows), is_list):
        listed = os.listdir(mounted.path)
        assert set(BOTH) <= set(listed) <= {*BOTH, *ODD_NAMES, "a"}
        for name in listed:
            assert error_of((mounted.path / name).read_bytes) in (0, errno.ENOENT)
    assert reads(mounted, "a.txt")


def test_hostile_groups_are_left_out(server, mount):
    mounted = mount_fake(mount, server, "public")
    bad = ["../x", "a/b", "", ".", "..", "n" * 300, None, 42]
    rows = [row(server, "a.txt"), *(row(server, "x.txt", group=group) for group in bad), row(server, "b.txt")]
    with server.fault(LIST[server.generation], page(server, rows), is_list):
        assert os.listdir(mounted.path) == ["APP"]
    assert (mounted.path / "APP" / "a.txt").read_bytes() == f"{MARKER} one".encode()
    check_log(mounted)


def test_hostile_namespaces_are_left_out(server, mount):
    mounted = mount_fake(mount, server)
    code = 0 if server.generation == "3.1.0" else 200
    bad = [*({"namespace": name} for name in ("../x", "a/b", ".", "..", "n" * 300, None, 42, [])), {}, 42, None, []]
    good = [{"namespace": name} for name in ("public" if code == 0 else "", "dev", "dev", "d\nv")]
    with server.fault(NAMESPACES[server.generation], document({"code": code, "data": good + bad})):
        assert {"dev", "public"} <= set(os.listdir(mounted.path)) <= {"dev", "public", "d\nv"}
        assert len(os.listdir(mounted.path)) == len(set(os.listdir(mounted.path)))
    check_log(mounted)


def test_hostile_names_of_other_places_are_left_out(server, mounted):
    """The server answers more than was asked for."""
    rows = [row(server, "a.txt"), row(server, "x.txt", group="OTHER"), row(server, "y.txt", namespace="other"),
            row(server, "z.txt", group="app")]
    with server.fault(LIST[server.generation], page(server, rows), is_list):
        assert "a.txt" in os.listdir(mounted.path)
        assert not {"x.txt", "y.txt", "z.txt"} & set(os.listdir(mounted.path))


def test_hostile_duplicates_are_shown_once(server, mounted):
    rows = [row(server, name) for name in ("a.txt", "b.txt", "a.txt", "a.txt")]
    with server.fault(LIST[server.generation], page(server, rows), is_list):
        assert sorted(os.listdir(mounted.path)) == ["a.txt", "b.txt"]


TOTALS = [0, 1, 3, 10**6, 10**18, 2**63, -1, 1.5, "2", [], True, [2], None]
ITEMS = [None, 42, {"a": 1}, [None], [42, [[]]]]


@pytest.mark.parametrize("what", ["totals", "items"])
def test_hostile_pages_of_a_listing(server, mount, what):
    """All names or an error, and soon."""
    mounted = mount_fake(mount, server, "public")

    def attempt(number):
        path = mounted.path / f"G-{number}"
        server.configs["public", path.name, "a.txt"] = MARKED
        wanted = ["a.txt"] if what == "totals" else []
        data = {"totalCount": 1, "pageNumber": 1, "pagesAvailable": 1, "pageItems": [row(server, "a.txt", path.name)]}
        data |= {"totalCount": TOTALS[number]} if what == "totals" else {"pageItems": ITEMS[number]}
        assert path.exists()
        with server.fault(LIST[server.generation], answer_of(server, data), is_list):
            error = error_of(os.listdir, path)
            assert error in OUTAGES | {0}
            if not error:
                assert os.listdir(path) == wanted
                assert what == "totals" or isinstance(ITEMS[number], list), "an empty directory instead of an error"

    assert failures(range(len(TOTALS if what == "totals" else ITEMS)), attempt) == {}
    check_log(mounted)


@pytest.mark.parametrize("new_names", [True, False])
def test_hostile_listing_without_an_end_ends(server, mounted, new_names):
    """Full pages for ever, of names that are always new, or always the same."""
    def answer(request):
        number, size = int(request.parameters["pageNo"]), int(request.parameters["pageSize"])
        first = number * size if new_names else 0
        page(server, [row(server, f"{first + index}") for index in range(size)], 10**9, 10**6)(request)

    with server.fault(LIST[server.generation], answer, is_list):
        started = time.monotonic()
        with contextlib.suppress(OSError):
            os.listdir(mounted.path)
        assert time.monotonic() - started < 30 * TIMEOUT + 5
        assert reads(mounted, "a.txt")


def test_hostile_listing_of_slow_pages_keeps_nothing_else_waiting(server, mounted):
    def answer(request):
        number = int(request.parameters["pageNo"])
        time.sleep(1)
        page(server, [row(server, f"page-{number}")], 10**9, 10**6)(request)

    assert reads(mounted, "a.txt")
    with server.fault(LIST[server.generation], answer, is_list), ThreadPoolExecutor(1) as pool:
        listing = pool.submit(os.listdir, mounted.path)
        wait_until(lambda: server.asked(LIST[server.generation])[1:], 5, "the listing to begin")
        for _ in range(5):
            started = time.monotonic()
            assert reads(mounted, "a.txt") and reads(mounted, "b.txt")
            assert time.monotonic() - started < 1
            time.sleep(0.2)
        server.faults[LIST[server.generation]] = ANSWERS["500"], is_list
        with contextlib.suppress(OSError):
            listing.result()


def test_hostile_pages_smaller_than_asked_for_lose_no_names(server, mounted):
    """A server may give fewer rows a page than it was asked for, and says how many there are."""
    server.page_size_max = 100
    wanted = {f"config-{number}" for number in range(750)} | {"a.txt", "b.txt"}
    for name in wanted:
        server.configs.setdefault(("public", "APP", name), MARKED)
    assert set(os.listdir(mounted.path)) == wanted


def test_hostile_listing_that_loses_names_hides_nothing_that_is_there(server, mounted):
    """Absent from one listing is not deleted: what was seen is asked for by name."""
    assert lists(mounted.path, BOTH)
    with server.fault(LIST[server.generation], page(server, [row(server, "b.txt")]), is_list):
        time.sleep(1.1)
        assert sorted(os.listdir(mounted.path)) == ["a.txt", "b.txt"]
        assert reads(mounted, "a.txt")


# ---------------------------------------------------------------- tokens


def test_login_token_goes_in_the_header_only(server, mounted):
    reads(mounted, "a.txt")
    lists(mounted.path, BOTH)
    with_token = [request for request in server.requests if request.headers.get("Authorization") == f"Bearer {TOKEN}"]
    assert {GET[server.generation], LIST[server.generation]} <= {request.path for request in with_token}
    for request in server.requests:
        assert not {"accessToken", "username"} & request.parameters.keys() or request.path == LOGIN[server.generation]
        assert TOKEN not in str(request.parameters)
        # A user agent of "Nacos-Server..." would go past the checks of 1.4.
        assert not request.headers.get("User-Agent", "").startswith("Nacos-Server")


def test_login_is_renewed_before_the_token_expires(server, mount):
    server.token_seconds = 3
    mounted = mount_fake(mount, server, "public", "APP")
    logins = len(server.asked(LOGIN[server.generation]))
    wait_until(lambda: reads(mounted, "a.txt") and len(server.asked(LOGIN[server.generation])) > logins, 5, "a login")
    assert len(server.asked(LOGIN[server.generation])) == logins + 1
    check_log(mounted)


@pytest.mark.parametrize("message", ["token expired!", "token invalid!", "user not found!",
                                     "Code: 401, Message: token expired!."])
def test_login_is_repeated_once_when_the_token_is_refused(server, mounted, message):
    logins = len(server.asked(LOGIN[server.generation]))
    refusal = document({"status": 403, "error": "Forbidden", "message": message}, 403)
    refused = []

    def first_only(request):
        if is_get(request) and not refused:
            refused.append(request)
            return True
        return False

    with server.fault(GET[server.generation], refusal, first_only):
        assert reads(mounted, "a.txt")
    assert len(server.asked(LOGIN[server.generation])) == logins + 1
    with server.fault(GET[server.generation], refusal, is_get):
        for _ in range(10):
            assert error_of((mounted.path / "c.txt").read_bytes) == errno.EACCES
    # Two requests for each read, and what the daemon asks for by itself meanwhile: the more, the busier the machine is.
    assert len(server.asked(LOGIN[server.generation])) <= logins + 40
    assert reads(mounted, "b.txt")


def test_login_is_not_repeated_when_the_account_may_not(server, mounted):
    logins = len(server.asked(LOGIN[server.generation]))
    with bad_get(server, ANSWERS["403"]):
        assert error_of((mounted.path / "c.txt").read_bytes) == errno.EACCES
    assert len(server.asked(LOGIN[server.generation])) == logins


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Evil: 1", "t" * 1_000_000, None, 42, "ü"],
                         ids=["empty", "blank", "two lines", "huge", "null", "number", "not ASCII"])
def test_hostile_token_is_refused(server, mount, token):
    directory = mount.new_directory()
    options = option_text({"username": "nacos", "password_file": mount.password_file(), "timeout": TIMEOUT})
    with server.fault(LOGIN[server.generation], document({"accessToken": token, "tokenTtl": 18000})):
        done = run_nacosfs(f"nacos://127.0.0.1:{server.port}/public", directory, "-f", "-o", options)
    assert done.returncode != 0 and done.stderr.count("\n") == 1
    assert not any("X-Evil" in str(request) for request in server.requests)


@pytest.mark.parametrize("seconds", [0, -1, 10**18, "x", None])
def test_hostile_life_of_a_token_makes_no_storm_of_logins(server, mount, seconds):
    with server.fault(LOGIN[server.generation], document({"accessToken": TOKEN, "tokenTtl": seconds})):
        mounted = mount_fake(mount, server, "public", "APP")
        for number in range(20):
            (mounted.path / f"none-{number}").exists()
        assert reads(mounted, "a.txt")
    assert len(server.asked(LOGIN[server.generation])) <= 2


# ---------------------------------------------------------------- servers that hide what they are


def test_managed_server_without_a_console(mount):
    """Its console calls are 404, so it tells neither version nor namespaces."""
    with FakeNacos("2.2.4") as server:
        server.configs["dev", "APP", "a.txt"] = b"one"
        hidden = status(404, b"<html>not here")
        with server.fault("/v1/console/server/state", hidden), server.fault("/v1/console/namespaces", hidden):
            mounted = mount_fake(mount, server, namespaces="dev:public")
            assert sorted(os.listdir(mounted.path)) == ["dev", "public"]
            assert os.listdir(mounted.path / "dev" / "APP") == ["a.txt"]
            assert (mounted.path / "dev" / "APP" / "a.txt").read_bytes() == b"one"
            (mounted.path / "dev" / "APP" / "a.txt").write_text("two")
            assert server.configs["dev", "APP", "a.txt"] == b"two"


def test_public_namespace_is_named_as_the_generation_wants(server, mounted):
    reads(mounted, "a.txt")
    lists(mounted.path, BOTH)
    name = {"3.1.0": "namespaceId", "2.2.4": "tenant"}[server.generation]
    for request in server.asked(GET[server.generation]) + server.asked(LIST[server.generation]):
        if request.parameters.get("group", request.parameters.get("groupName")) == "APP":
            assert request.parameters.get(name, "") == {"3.1.0": "public", "2.2.4": ""}[server.generation]
