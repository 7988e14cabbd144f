"""The command: what it refuses, how it says so, and when a mount counts as done."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness.mounts import BINARY, force_unmount, is_mounted, option_text, run_nacosfs, source_of
from harness.proxy import TcpProxy, free_port
from harness.waiting import wait_until

SECRET = "sw0rdfish-%42"


@pytest.fixture
def directory(mount):
    path = mount.new_directory() / "mnt"
    path.mkdir()
    return path


def refused(directory, *arguments):
    """The one line with which the command refused, and mounted nothing."""
    done = run_nacosfs(*arguments, timeout=20)
    assert done.returncode != 0
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("nacosfs: ")
    assert not is_mounted(directory)
    return lines[0]


def refused_source(mount, directory, source, **options):
    text = option_text({"username": "nacos", "password_file": mount.password_file(), "cache_dir": directory.parent / "cache",
                        **options})
    return refused(directory, source, directory, "-f", "-o", text)


def background(source, directory, options, **kwargs):
    """Mounts without -f; output to a pipe that a daemon must not keep open."""
    return run_nacosfs(source, directory, "-o", option_text(options), **kwargs)


def daemon_of(directory):
    """The process that serves a mount made in the background."""
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            if str(directory).encode() in Path(f"/proc/{int(name)}/cmdline").read_bytes().split(b"\0"):
                return int(name)
    return None


# ---------------------------------------------------------------- bad arguments


@pytest.mark.parametrize("arguments, says", [
    (["nacos://127.0.0.1", "MNT", "-o", "colour=red"], "colour"),
    (["nacos://127.0.0.1", "MNT", "-o", "timeout=soon"], "timeout"),
    (["nacos://127.0.0.1", "MNT", "-o", "timeout=0"], "timeout"),
    (["nacos://127.0.0.1", "MNT", "-o", "umask=999"], "umask"),
    (["nacos://127.0.0.1", "MNT", "-o", "log=loud"], "log"),
    (["nacos://127.0.0.1", "MNT", "-o", "ro=yes"], "ro"),
    (["nacos://127.0.0.1", "MNT", "-o", "username=nacos"], "password_file"),
    (["nacos://127.0.0.1", "MNT", "-o", "password=nacos"], "password"),
    (["nacos://127.0.0.1", "MNT", "-o", "uid=no-such-user"], "uid"),
    (["nacos://127.0.0.1", "MNT", "-o", "tls_cert=/c.pem"], "tls"),
    (["nacos://127.0.0.1", "MNT", "-o", "config=/does/not/exist"], "/does/not/exist"),
    (["nacos://127.0.0.1", "MNT", "-Z"], "Z"),
    (["nacos://127.0.0.1", "MNT", "extra"], "extra"),
    (["nacos://127.0.0.1"], ""),
    ([], ""),
])
def test_mounting_refuses_arguments(directory, arguments, says):
    line = refused(directory, *[str(directory) if a == "MNT" else a for a in arguments])
    assert says in line


@pytest.mark.parametrize("source", [
    "", "127.0.0.1", "http://127.0.0.1", "nacos://", "nacos:///ns", "nacos://h:0", "nacos://h:65536", "nacos://h:x",
    "nacos://h,,i", "nacos://h/ns/group/file", "nacos://h//group", "nacos://h/..", "nacos://h/ns/.",
    "nacos://[::1", "nacos://h/n\n", "nacos://h?x=y",
])
def test_mounting_refuses_source(directory, source):
    assert "source" in refused(directory, source, directory).lower()


def test_mounting_refuses_a_password_in_the_source_without_repeating_it(directory):
    assert SECRET not in refused(directory, f"nacos://nacos:{SECRET}@127.0.0.1:8848", directory)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_mounting_refuses_a_password_file_of_others(nacos_310, mount, directory, mode):
    file = mount.password_file(SECRET, mode)
    line = refused_source(mount, directory, source_of(f"127.0.0.1:{nacos_310.port}"), password_file=file)
    assert str(file) in line and "chmod" in line and SECRET not in line


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_mounting_refuses_an_empty_password_file(nacos_310, mount, directory, content):
    file = mount.password_file()
    file.write_bytes(content)
    line = refused_source(mount, directory, source_of(f"127.0.0.1:{nacos_310.port}"), password_file=file)
    assert str(file) in line


def test_mounting_refuses_a_missing_password_file(nacos_310, mount, directory):
    file = mount.directory / "missing"
    assert str(file) in refused_source(mount, directory, source_of(f"127.0.0.1:{nacos_310.port}"), password_file=file)


@pytest.mark.parametrize("prepare, says", [
    (lambda path: path.rmdir(), "mkdir"),
    (lambda path: (path.rmdir(), path.write_text("x")), "not a directory"),
    (lambda path: (path / "file").write_text("x"), "not empty"),
    (lambda path: (path / "directory").mkdir(), "not empty"),
])
def test_mounting_refuses_mountpoint(nacos_310, mount, directory, prepare, says):
    prepare(directory)
    assert says in refused_source(mount, directory, source_of(f"127.0.0.1:{nacos_310.port}"))


def test_mounting_twice_on_one_directory_is_refused(space, mount):
    mounted = mount(space.server, space.namespace, space.group)
    done = run_nacosfs(mounted.source, mounted.path, "-o",
                       option_text(mount.default_options(space.server, space.namespace)))
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1 and "umount" in done.stderr
    assert is_mounted(mounted.path)


# ---------------------------------------------------------------- bad servers


@contextlib.contextmanager
def listening(accept: bool):
    """A port where connections are accepted but never answered; or not even accepted (queue of one, filled)."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50 if accept else 0)
        fillers = []
        if not accept:
            for _ in range(3):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
                fillers.append(filler)
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


@contextlib.contextmanager
def web_server(answer):
    """answer(handler) writes the answer to any request."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def answer_with(status, body, **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_mounting_without_a_server_is_refused(mount, directory):
    started = time.monotonic()
    line = refused_source(mount, directory, source_of(f"127.0.0.1:{free_port()}"), console="http://127.0.0.1:1")
    assert "127.0.0.1" in line
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("accept", [True, False])
def test_mounting_from_a_server_that_never_answers_ends_in_time(mount, directory, accept):
    with listening(accept) as port:
        started = time.monotonic()
        refused_source(mount, directory, source_of(f"127.0.0.1:{port}"), timeout=2)
        assert 1 < time.monotonic() - started < 4


def test_mounting_of_an_unknown_host_is_refused(mount, directory):
    assert "no-such-host.invalid" in refused_source(mount, directory, "nacos://no-such-host.invalid")


@pytest.mark.parametrize("answer", [
    answer_with(404, b"<html>not found</html>", Server="other"),
    answer_with(200, b"<html>welcome</html>"),
    answer_with(200, b""),
    answer_with(200, b"{}"),
    answer_with(200, b'{"version": "3"}'),
    answer_with(302, b"", Location="http://127.0.0.1:1/"),
    answer_with(401, b"who are you?"),
    answer_with(403, b"no"),
    answer_with(500, b"broken"),
    answer_with(503, b"later"),
    answer_with(200, b"\0\xff garbage"),
], ids=["404", "html", "empty", "object", "no-version", "redirect", "401", "403", "500", "503", "garbage"])
def test_mounting_what_is_not_nacos_is_refused(mount, directory, answer):
    with web_server(answer) as port:
        line = refused_source(mount, directory, source_of(f"127.0.0.1:{port}"))
        assert "garbage" not in line and "welcome" not in line


def test_mounting_from_a_server_that_speaks_no_http_is_refused(mount, directory):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def greet():
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as connection:
                        connection.sendall(b"220 mail ESMTP\r\n")

        threading.Thread(target=greet, daemon=True).start()
        refused_source(mount, directory, source_of(f"127.0.0.1:{listener.getsockname()[1]}"))


def test_mounting_with_a_wrong_password_is_refused(nacos, mount, directory):
    line = refused_source(mount, directory, source_of(f"127.0.0.1:{nacos.port}", "public"),
                          password_file=mount.password_file(SECRET))
    assert "nacos" in line and "password" in line and SECRET not in line


def test_mounting_without_a_login_says_what_is_needed(nacos, directory):
    line = refused(directory, source_of(f"127.0.0.1:{nacos.port}", "public"), directory)
    assert "username=" in line and "password_file=" in line


def test_mounting_all_namespaces_where_none_can_be_listed_says_what_to_set(nacos_224, mount, directory):
    assert "namespaces=" in refused_source(mount, directory, source_of(f"127.0.0.1:{nacos_224.port}"))


# ---------------------------------------------------------------- several hosts


@pytest.mark.parametrize("depth", [0, 2])
def test_mounting_with_the_first_host_down(space, mount, depth):
    space.publish("a.txt", "one")
    server = space.server
    names = (space.namespace, space.group)[:depth]
    mounted = mount.mount(source_of(f"127.0.0.1:{free_port()},127.0.0.1:{server.port}", *names),
                          {**mount.default_options(server), "namespaces": space.namespace})
    rest = "/".join((space.namespace, space.group, "a.txt")[depth:])
    assert (mounted.path / rest).read_bytes() == b"one"


@pytest.mark.parametrize("nacos", ["3.1.0"], indirect=True)
def test_mounting_with_the_first_host_hanging(space, mount):
    space.publish("a.txt", "one")
    with listening(accept=True) as port:
        mounted = mount.mount(source_of(f"127.0.0.1:{port},127.0.0.1:{space.server.port}", space.namespace, space.group),
                              {**mount.default_options(space.server, space.namespace), "timeout": 3})
        assert (mounted.path / "a.txt").read_bytes() == b"one"


def test_mounting_with_all_hosts_down_is_refused(mount, directory):
    ports = {free_port(), free_port()}
    refused_source(mount, directory, source_of(",".join(f"127.0.0.1:{port}" for port in ports)))


def test_mounted_host_that_goes_away_is_replaced(space, mount):
    space.publish("a.txt", "one")
    with TcpProxy(space.server.port) as proxy:
        mounted = mount.mount(source_of(f"127.0.0.1:{proxy.port},127.0.0.1:{space.server.port}", space.namespace,
                                        space.group), mount.default_options(space.server, space.namespace))
        assert (mounted.path / "a.txt").read_bytes() == b"one"
        proxy.refuse()
        space.publish("b.txt", "two")
        assert (mounted.path / "b.txt").read_bytes() == b"two"


# ---------------------------------------------------------------- done right


def test_mounting_in_the_background_returns_when_usable(space, mount, directory):
    space.publish("a.txt", "one")
    options = {**mount.default_options(space.server, space.namespace), "log": "debug"}
    done = background(source_of(f"127.0.0.1:{space.server.port}", space.namespace, space.group), directory, options)
    assert (done.returncode, done.stdout) == (0, "")
    assert (directory / "a.txt").read_bytes() == b"one"
    pid = daemon_of(directory)
    assert pid
    # It holds nothing of the terminal or the directory that it was started from.
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
    subprocess.run(["umount", directory], check=True)
    wait_until(lambda: not Path(f"/proc/{pid}/cmdline").exists(), 20, "the end of the daemon")
    assert not is_mounted(directory)


@pytest.mark.parametrize("nacos", ["3.1.0"], indirect=True)
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_mounted_daemon_ends_at_signals(space, mount, end):
    mounted = mount(space.server, space.namespace)
    mounted.process.send_signal(end)
    assert mounted.process.wait(20) == 0
    assert not is_mounted(mounted.path)


@pytest.mark.parametrize("nacos", ["3.1.0"], indirect=True)
def test_nobody_waits_for_a_log_that_nobody_reads(space, mount, directory):
    space.publish("a.txt", "one")
    options = {**mount.default_options(space.server, space.namespace), "log": "debug"}
    source = source_of(f"127.0.0.1:{space.server.port}", space.namespace, space.group)
    unread, full = os.pipe()
    os.set_blocking(full, False)
    daemon = subprocess.Popen([BINARY, source, directory, "-f", "-o", option_text(options)], stderr=full)
    try:
        wait_until(lambda: is_mounted(directory), 20, "the mount")
        with contextlib.suppress(BlockingIOError):
            while os.write(full, b"x"):
                pass
        os.set_blocking(full, True)  # it is one open file for both
        for number in range(20):
            space.publish(f"{number}.txt", "two")
            assert (directory / f"{number}.txt").read_bytes() == b"two"
        daemon.terminate()
        assert daemon.wait(10) == 0
    finally:
        os.close(unread)  # sets one free that waits
        os.close(full)
        daemon.kill()
        daemon.wait()
        force_unmount(directory)


def test_mounting_over_what_a_killed_daemon_left(space, mount):
    space.publish("a.txt", "one")
    mounted = mount(space.server, space.namespace, space.group)
    mounted.process.kill()
    mounted.process.wait()
    assert is_mounted(mounted.path)
    options = mount.default_options(space.server, space.namespace)
    done = background(mounted.source, mounted.path, options)
    assert done.returncode == 0, done.stderr
    assert (mounted.path / "a.txt").read_bytes() == b"one"
    force_unmount(mounted.path)


def test_mounting_with_a_config_file(space, mount, directory):
    space.publish("a.txt", "one")
    etc = directory.parent / "etc"
    etc.mkdir()
    password = mount.password_file()
    password.rename(etc / "password")
    (etc / "nacosfs.conf").write_text("# our servers\n\nusername = nacos\npassword_file = password\n"
                                      "ro\ntimeout = 5\nlog = warning\n")
    mounted = mount.mount(source_of(f"127.0.0.1:{space.server.port}", space.namespace, space.group),
                          {"config": etc / "nacosfs.conf", "log": "info"})
    assert (mounted.path / "a.txt").read_bytes() == b"one"
    assert os.statvfs(mounted.path)
    with pytest.raises(OSError, match="Read-only"):
        (mounted.path / "a.txt").write_text("two")
    assert "is mounted on" in mounted.log_text()  # the command line wins over the file


@pytest.mark.parametrize("line, says", [("colour = red", "colour"), ("ro\nro", "ro"), ("timeout = soon", "timeout"),
                                        ("password = x", "password"), ("= x", "")])
def test_mounting_refuses_config_file(mount, directory, line, says):
    file = directory.parent / "nacosfs.conf"
    file.write_text(f"# comment\n{line}\n")
    assert says in refused(directory, "nacos://127.0.0.1", directory, "-o", f"config={file}")


def test_mounting_never_shows_the_password(space, mount):
    user = f"u{space.namespace[5:]}"
    space.publish("a.txt", "one")
    with account(space.server, user, space.namespace):
        mounted = mount(space.server, space.namespace, space.group, user=(user, SECRET), log="debug")
        wait_until(lambda: reads(mounted.path / "a.txt"), 30, "the grant to act", interval=0.5)
        shown = b"".join(Path(f"/proc/{file}").read_bytes() for file in (
            f"{mounted.pid}/cmdline", f"{mounted.pid}/environ", "self/mountinfo")).decode()
        mounted.unmount()
        shown += mounted.log_text()
        token = space.server.admin.token_of(user, SECRET)
    assert "debug: POST" in shown
    for secret in (SECRET, SECRET.replace("%", "%25"), token[:20], "Bearer"):
        assert secret not in shown


@contextlib.contextmanager
def account(server, user, namespace):
    """An account that may read the namespace; the server takes up to 15 s to know it."""
    server.admin.create_user(user, SECRET)
    try:
        server.admin.add_role(f"r{user}", user)
        server.admin.grant(f"r{user}", namespace)
        yield
    finally:
        server.admin.delete_user(user)


def reads(path):
    with contextlib.suppress(PermissionError, FileNotFoundError):
        return path.read_bytes()
    return None


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_every_option(option):
    done = run_nacosfs(option)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("config=", "username=", "password_file=", "console=", "namespaces=", "ro", "noxattr", "allow_other",
                 "uid=", "gid=", "umask=", "timeout=", "refresh=", "log=", "tls_ca="):
        assert f"\n  {name}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option):
    done = run_nacosfs(option)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nacosfs ") and done.stdout.count("\n") == 1


def run_as_mount_helper(*arguments):
    return subprocess.run(["mount.nacosfs", *map(str, arguments)], executable=BINARY, capture_output=True, text=True,
                          timeout=30)


def test_mounting_as_mount_helper(space, mount, directory):
    """As mount(8) calls it for `mount -t nacosfs`, for fstab and for systemd."""
    space.publish("a.txt", "one")
    options = option_text(mount.default_options(space.server, space.namespace))
    source = source_of(f"127.0.0.1:{space.server.port}", space.namespace, space.group)
    mount_arguments = [source, directory, "-n", "-v", "-t", "nacosfs", "-o", f"rw,nosuid,_netdev,nofail,x-y.z=1,{options}"]
    checked = run_as_mount_helper(*mount_arguments[:2], "-f", *mount_arguments[2:])
    assert checked.returncode == 0, checked.stderr
    assert not is_mounted(directory)
    done = run_as_mount_helper(*mount_arguments)
    assert done.returncode == 0, done.stderr
    assert (directory / "a.txt").read_bytes() == b"one"
    row = next(r for r in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in r)
    assert " fuse.nacosfs " in row and "nosuid" in row and source in row
    force_unmount(directory)


def test_mounting_as_mount_helper_refuses_too(directory):
    done = run_as_mount_helper("nacos://127.0.0.1", directory, "-o", "colour=red")
    assert done.returncode != 0
    assert "colour" in done.stderr and done.stderr.count("\n") == 1


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A CA of our own and a certificate for 127.0.0.1."""
    directory = tmp_path_factory.mktemp("tls")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    (directory / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=test authority")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=nacos")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "extensions", "-out", "server.pem")
    return directory


@pytest.fixture
def tls_port(nacos, authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    with TcpProxy(nacos.port, tls=context) as proxy:
        yield proxy.port


def test_mounting_over_tls(space, mount, authority, tls_port):
    space.publish("a.txt", "one")
    mounted = mount.mount(source_of(f"127.0.0.1:{tls_port}", space.namespace, space.group, "https"),
                          {**mount.default_options(space.server, space.namespace), "tls_ca": authority / "ca.pem"})
    assert (mounted.path / "a.txt").read_bytes() == b"one"


def test_mounting_over_tls_refuses_an_unknown_authority(mount, directory, tls_port):
    line = refused_source(mount, directory, source_of(f"127.0.0.1:{tls_port}", "public", scheme="https"))
    assert "certificate" in line.lower() or "tls" in line.lower()


def test_mounting_over_tls_from_a_plain_server_is_refused(nacos, mount, directory):
    refused_source(mount, directory, source_of(f"127.0.0.1:{nacos.port}", "public", scheme="https"))


def test_mounting_plainly_from_a_tls_server_is_refused(mount, directory, tls_port):
    refused_source(mount, directory, source_of(f"127.0.0.1:{tls_port}", "public"))
