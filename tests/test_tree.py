"""Directories and names: what is shown, under which number, how soon, and what may be made and removed."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.mounts import Space
from harness.proxy import TcpProxy
from harness.waiting import wait_until

SOON = 2.5  # how long a change made elsewhere may take to show
PASSWORD = "reader-pw-1"

# What does not depend on how a server is spoken to is tested with one.
one_generation = pytest.mark.parametrize("nacos", ["3.1.0"], indirect=True)


def errno_of(function, *arguments):
    """The error that the call ends with, by name; 'OK' if it does not fail."""
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "OK"


def names(path):
    return sorted(os.listdir(path))


@pytest.fixture
def group(space, mount):
    """The mounted group of the test's space."""
    return mount(space.server, space.namespace, space.group).path


@pytest.fixture
def proxied(space, mount):
    """A mounted group behind a proxy: (path, proxy)."""
    with TcpProxy(space.server.port) as proxy:
        yield mount(space.server, space.namespace, space.group, port=proxy.port, timeout=1).path, proxy


# ---------------------------------------------------------------- depths


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_tree_has_the_depth_of_its_source(space, mount, depth):
    space.publish("app.yaml", "a: 1")
    space.server.admin.publish(space.namespace, "OTHER", "other.json", "{}")
    location = (space.namespace, space.group)
    mounted = mount(space.server, *location[:depth], namespaces=space.namespace)
    base = mounted.path.joinpath(*location[depth:])
    assert names(base) == ["app.yaml"]
    assert (base / "app.yaml").read_bytes() == b"a: 1"
    if depth < 2:
        assert names(base.parent) == ["APP", "OTHER"]
        assert (base.parent / "OTHER" / "other.json").read_bytes() == b"{}"
    assert not (mounted.path / "no-such-name").exists()


def test_tree_lists_namespaces_of_the_server(nacos_310, space_of, mount):
    space = space_of(nacos_310)
    listed = names(mount(nacos_310).path)
    assert space.namespace in listed and "public" in listed
    assert names(mount(nacos_310).path / space.namespace) == []


def test_tree_lists_namespaces_for_an_ordinary_user(nacos_310, space_of, mount):
    """Over the console, the only place that tells them."""
    space = space_of(nacos_310)
    with account(space) as user:
        assert space.namespace in names(mount(nacos_310, user=user).path)


def test_tree_shows_the_namespaces_of_the_option(nacos_224, space_of, mount):
    space = space_of(nacos_224)
    space.publish("app.yaml", "a: 1")
    path = mount(nacos_224, namespaces=f"public:{space.namespace}").path
    assert names(path) == sorted(["public", space.namespace])
    assert (path / space.namespace / space.group / "app.yaml").read_bytes() == b"a: 1"


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_tree_has_the_public_namespace(nacos, mount, depth):
    group = f"G{uuid.uuid4().hex[:12]}"
    nacos.admin.publish("public", group, "app.yaml", "a: 1")
    try:
        path = mount(nacos, *("public", group)[:depth]).path.joinpath(*("public", group)[depth:])
        assert names(path) == ["app.yaml"]
        (path / "app.yaml").write_text("a: 2")
        assert nacos.admin.detail("public", group, "app.yaml").content == b"a: 2"
        if depth < 2:
            assert group in names(path.parent)
    finally:
        nacos.admin.delete("public", group, "app.yaml")


# ---------------------------------------------------------------- rights


@contextlib.contextmanager
def account(space, group="*", data_id="*"):
    """(name, password) of an account with a right to read there."""
    admin, name = space.server.admin, f"u{uuid.uuid4().hex[:12]}"
    admin.create_user(name, PASSWORD)
    try:
        admin.add_role(f"r{name}", name)
        admin.grant(f"r{name}", space.namespace, group, data_id, "r")
        user = admin.as_user(name, PASSWORD)
        wait_until(lambda: acts(user, space, group, data_id), 30, "the grant to act", interval=0.5)
        yield name, PASSWORD
    finally:
        admin.delete_user(name)


def acts(user, space, group, data_id):
    try:
        user.get(space.namespace, space.group if group == "*" else group, "any" if data_id == "*" else data_id)
    except Exception as error:
        assert "403" in str(error)
        return False
    return True


def test_tree_for_a_user_of_one_config(space, mount):
    space.publish("mine.yaml", "a: 1")
    space.publish("other.yaml", "b: 2")
    with account(space, space.group, "mine.yaml") as user:
        mounted = mount(space.server, space.namespace, space.group, user=user)
        assert (mounted.path / "mine.yaml").stat().st_size == 4
        assert (mounted.path / "mine.yaml").read_bytes() == b"a: 1"
        assert errno_of(os.listdir, mounted.path) == "EACCES"
        assert errno_of((mounted.path / "other.yaml").read_bytes) in ("EACCES", "ENOENT")
        assert (mounted.path / "mine.yaml").read_bytes() == b"a: 1"
        from_above = mount(space.server, space.namespace, user=user).path
        assert errno_of(os.listdir, from_above) == "EACCES"
        assert (from_above / space.group / "mine.yaml").read_bytes() == b"a: 1"


def test_tree_for_a_user_of_one_group(space, mount):
    space.publish("mine.yaml", "a: 1")
    space.server.admin.publish(space.namespace, "OTHER", "other.yaml", "b: 2")
    with account(space, space.group) as user:
        path = mount(space.server, space.namespace, user=user).path
        assert errno_of(os.listdir, path) == "EACCES"
        assert names(path / space.group) == ["mine.yaml"]
        assert (path / space.group / "mine.yaml").read_bytes() == b"a: 1"
        assert errno_of((path / "OTHER" / "other.yaml").read_bytes) in ("EACCES", "ENOENT")
        assert errno_of((path / space.group / "mine.yaml").write_text, "a: 2") == "EACCES"
        assert space.get("mine.yaml") == b"a: 1"


# ---------------------------------------------------------------- attributes


def test_tree_shows_true_sizes_and_times(space, group):
    contents = {"one.txt": "x", "text.txt": "Zeile\n" * 100, "wide.txt": "配置😀\n"}
    for name, content in contents.items():
        space.publish(name, content)
    for name, content in contents.items():
        status = (group / name).stat()
        assert status.st_size == len(content.encode())
        assert status.st_mtime_ns // 1_000_000 == space.detail(name).modified_ms
    assert (group / "one.txt").stat().st_nlink == 1


def test_tree_numbers_are_stable_and_never_used_again(space, group):
    space.publish("a.txt", "one")
    space.publish("b.txt", "b")
    first, other = (group / "a.txt").stat(), (group / "b.txt").stat()
    assert first.st_ino != other.st_ino

    space.publish("a.txt", "other")
    changed = wait_until(lambda: (s := (group / "a.txt").stat()).st_size == 5 and s, SOON, "the new size")
    assert changed.st_ino == first.st_ino
    assert changed.st_mtime_ns > first.st_mtime_ns and changed.st_ctime_ns > first.st_ctime_ns

    space.delete("a.txt")
    wait_until(lambda: not (group / "a.txt").exists(), SOON, "the removal to show")
    space.publish("a.txt", "again")
    back = wait_until(lambda: (group / "a.txt").exists() and (group / "a.txt").stat(), SOON, "the config to be back")
    assert back.st_ino not in (first.st_ino, other.st_ino)
    assert (group / "b.txt").stat().st_ino == other.st_ino
    assert (group / "a.txt").read_bytes() == b"again"


def test_tree_numbers_agree_between_listing_and_stat(space, mount):
    for name in ("a.txt", "b.txt"):
        space.publish(name, name)
    path = mount(space.server, space.namespace).path
    for directory in (path, path / space.group):
        listed = {entry.name: entry.inode() for entry in os.scandir(directory)}
        assert listed == {name: (directory / name).stat().st_ino for name in listed}
        assert len(set(listed.values())) == len(listed) > 0


# ---------------------------------------------------------------- changes made elsewhere


def test_tree_follows_changes(space, group):
    space.publish("kept.txt", "kept")
    assert names(group) == ["kept.txt"]
    assert not (group / "new.txt").exists()
    space.publish("new.txt", "one")
    wait_until(lambda: names(group) == ["kept.txt", "new.txt"], SOON, "the new name")
    wait_until((group / "new.txt").exists, SOON, "the new config")
    assert (group / "new.txt").read_bytes() == b"one"
    space.publish("new.txt", "two")
    wait_until(lambda: (group / "new.txt").read_bytes() == b"two", SOON, "the new content")
    space.delete("new.txt")
    wait_until(lambda: not (group / "new.txt").exists(), SOON, "the removal")
    wait_until(lambda: names(group) == ["kept.txt"], SOON, "the name to go")


def test_tree_follows_changes_without_being_listed(space, group):
    assert not (group / "new.txt").exists()
    space.publish("new.txt", "one")
    wait_until(lambda: (group / "new.txt").exists(), SOON, "the new config")


def test_tree_opens_what_it_lists(space, group):
    """Also a name that was absent a moment ago: `for f in *` must not meet a name that is not there."""
    assert not (group / "new.txt").exists()
    space.publish("new.txt", "one")
    assert names(group) == ["new.txt"]
    assert (group / "new.txt").read_bytes() == b"one"


def test_tree_follows_groups(space, mount):
    space.publish("a.txt", "a")
    path = mount(space.server, space.namespace).path
    assert names(path) == [space.group]
    space.server.admin.publish(space.namespace, "NEW", "b.txt", "b")
    wait_until(lambda: names(path) == sorted([space.group, "NEW"]), SOON, "the new group")
    space.server.admin.delete(space.namespace, "NEW", "b.txt")
    wait_until(lambda: names(path) == [space.group], SOON, "the group to go")
    wait_until(lambda: not (path / "NEW").exists(), SOON, "the group to go")


# ---------------------------------------------------------------- large groups


@pytest.fixture
def large_group(nacos):
    """A group of 1,200 configs that the tests of a server share and nobody removes, since both take the server long.

    8 KiB each, so that a server that sends the contents along needs several pages.
    """
    space = Space(nacos, "test-large-group")
    wanted = [f"config-{number:04}.txt" for number in range(1200)]
    missing = set(wanted) - set(space.names())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: space.publish(name, name.ljust(8192, "."), wait=False), missing))
    return space, wanted


def test_tree_lists_large_groups_completely(large_group, mount):
    space, wanted = large_group
    path = mount(space.server, space.namespace, space.group).path
    assert names(path) == wanted
    with os.scandir(path) as entries:
        assert {entry.stat().st_size for entry in list(entries)[::20]} == {8192}


# ---------------------------------------------------------------- outages


@one_generation
def test_tree_never_listed_is_an_error_while_the_server_is_away(space, proxied):
    path, proxy = proxied
    space.publish("a.txt", "one")
    proxy.refuse()
    assert errno_of(os.listdir, path) == "EHOSTUNREACH"
    assert errno_of(os.stat, path / "a.txt") == "EHOSTUNREACH"
    proxy.resume()
    assert names(path) == ["a.txt"]


@one_generation
def test_tree_never_listed_is_an_error_while_the_server_hangs(space, proxied):
    path, proxy = proxied
    space.publish("a.txt", "one")
    proxy.stall()
    started = time.monotonic()
    assert errno_of(os.listdir, path) == "ETIMEDOUT"
    assert time.monotonic() - started < 3
    proxy.resume()
    assert names(path) == ["a.txt"]


@one_generation
def test_tree_of_groups_never_listed_is_an_error_while_the_server_is_away(space, mount):
    space.publish("a.txt", "one")
    with TcpProxy(space.server.port) as proxy:
        path = mount(space.server, space.namespace, port=proxy.port, timeout=2).path
        proxy.refuse()
        assert errno_of(os.listdir, path) == "EHOSTUNREACH"
        proxy.resume()
        assert names(path) == [space.group]


def test_tree_of_namespaces_is_no_empty_directory_while_the_server_is_away(nacos_310, mount):
    with TcpProxy(nacos_310.port) as proxy:
        path = mount(nacos_310, port=proxy.port, timeout=2, console=f"http://127.0.0.1:{proxy.port}").path
        proxy.refuse()
        try:
            assert "public" in names(path)  # what it knew
        except OSError as error:
            assert error.errno == errno.EHOSTUNREACH
        proxy.resume()
        assert "public" in names(path)


@one_generation
@pytest.mark.parametrize("fault", ["refuse", "stall"])
def test_tree_listed_before_stays_while_the_server_is_away(space, proxied, fault):
    path, proxy = proxied
    space.publish("a.txt", "one")
    space.publish("b.txt", "two")
    wait_until(lambda: names(path) == ["a.txt", "b.txt"], SOON, "the names")
    getattr(proxy, fault)()
    time.sleep(1.1)  # what was fetched is fresh no more
    assert names(path) == ["a.txt", "b.txt"]
    assert errno_of(os.stat, path / "no-such-name") in ("EHOSTUNREACH", "ETIMEDOUT")
    proxy.resume()
    space.publish("c.txt", "three")
    wait_until(lambda: names(path) == ["a.txt", "b.txt", "c.txt"], 6, "the new name after the outage")


# ---------------------------------------------------------------- names

ODD_NAMES = ["a:b", "a_b", "a-b", "a.b.c", "..a", "...", "-", "_", ":", "--help", "n" * 255, "A.YAML", "a.yaml",
             "0", "CON", ".hidden", ".a.swp", "4913", "a.bak", "a.tmp", "a.swp", "a.orig", "a.new", "tmp.AbCdEf1234",
             "sedAbCd12", "a.dpkg-new", "app.yaml.1234567", "app.yamlX3fQ9a", "cipher", "unsaved"]


def test_tree_shows_every_name_that_the_server_can_hold(space, group):
    wanted = list(ODD_NAMES)
    if space.server.generation == "2.2.4":
        wanted += ["配置.yaml", "ключ", "é" * 60]
    for name in wanted:
        space.publish(name, f"content of {name}", wait=False)
    wait_until(lambda: space.get(wanted[-1]), SOON, "the last one to be served")
    assert names(group) == sorted(wanted)
    for name in wanted:
        assert (group / name).read_text() == f"content of {name}"
        assert (group / name).stat().st_size == len(f"content of {name}".encode())


def test_tree_finds_odd_names_without_listing(space, group):
    for name in ODD_NAMES:
        space.publish(name, f"content of {name}")
        assert (group / name).read_text() == f"content of {name}"


@pytest.mark.parametrize("bad", [".", ".."])
def test_tree_leaves_out_names_of_directories(space, mount, bad):
    space.publish("a.txt", "one")
    try:
        space.publish(bad, "x", wait=False)
    except Exception as error:
        pytest.skip(f"the server does not store it: {error}")
    mounted = mount(space.server, space.namespace, space.group)
    assert names(mounted.path) == ["a.txt"]
    assert os.stat(mounted.path / bad).st_mode & 0o40000
    assert "left out" in mounted.log_text()


@pytest.mark.parametrize("name", ["a b", " a", "a@b", "a%41", "a+b", "a\\b", "a'b", "a*", "a\n", "a~b", "a😀", b"\xff\xfe"])
def test_tree_refuses_names_that_the_server_refuses(space, group, name):
    path = os.fsencode(group) + b"/" + os.fsencode(name)
    assert not os.path.exists(path)
    expected = "EINVAL"
    if name == " a" and space.server.generation == "2.2.4":
        expected = "OK"  # that server takes blanks around a name
    assert errno_of(lambda: open(path, "x").close()) == expected


def test_tree_refuses_names_that_are_too_long(group):
    assert errno_of((group / ("n" * 256)).touch) in ("ENAMETOOLONG", "EINVAL")
    assert errno_of(os.stat, group / ("n" * 256)) in ("ENAMETOOLONG", "ENOENT")


def test_tree_asks_nobody_for_impossible_names(space, mount):
    mounted = mount(space.server, space.namespace, space.group, log="debug")
    before = mounted.server_request_count()
    for name in ("a b", "a@b", "a*", "a+b"):
        assert not os.path.lexists(mounted.path / name)
    assert mounted.server_request_count() == before


# ---------------------------------------------------------------- mkdir and rmdir


def test_tree_group_is_made_and_removed(space, mount):
    path = mount(space.server, space.namespace).path
    (path / "NEW").mkdir()
    assert names(path) == ["NEW"] and names(path / "NEW") == []
    assert errno_of((path / "NEW").mkdir) == "EEXIST"
    (path / "NEW" / "a.txt").write_text("one")
    assert space.server.admin.detail(space.namespace, "NEW", "a.txt").content == b"one"
    assert errno_of((path / "NEW").rmdir) == "ENOTEMPTY"
    assert space.server.admin.detail(space.namespace, "NEW", "a.txt")
    (path / "NEW" / "a.txt").unlink()
    (path / "NEW").rmdir()
    wait_until(lambda: names(path) == [], SOON, "the group to go")
    assert not (path / "NEW").exists()


def test_tree_group_with_configs_of_others_is_not_removed(space, mount):
    path = mount(space.server, space.namespace).path
    (path / "NEW").mkdir()
    space.server.admin.publish(space.namespace, "NEW", "a.txt", "one")
    assert errno_of((path / "NEW").rmdir) == "ENOTEMPTY"
    assert space.server.admin.get(space.namespace, "NEW", "a.txt") == b"one"


def test_tree_group_names_are_checked(space, mount):
    path = mount(space.server, space.namespace).path
    for name in ("a b", "a@b", "n" * 129):
        assert errno_of((path / name).mkdir) == "EINVAL", name


def test_tree_has_no_directories_below_a_group(space, mount):
    path = mount(space.server, space.namespace).path
    space.publish("a.txt", "one")
    assert errno_of((path / space.group / "sub").mkdir) == "EPERM"
    assert errno_of((path / space.group / "a.txt" / "sub").mkdir) == "ENOTDIR"


def test_tree_holds_no_files_above_groups(nacos_310, space_of, mount):
    space = space_of(nacos_310)
    path = mount(nacos_310).path
    assert errno_of((path / "file.txt").touch) in ("EPERM", "EACCES")
    assert errno_of((path / space.namespace / "file.txt").touch) in ("EPERM", "EACCES")


def test_tree_namespace_is_made_and_removed(nacos_310, mount):
    path = mount(nacos_310).path
    made = path / f"test-{uuid.uuid4().hex[:12]}"
    space = Space(nacos_310, made.name)
    made.mkdir()
    assert made.name in names(path) and names(made) == []
    assert made.name in names(mount(nacos_310).path)
    assert errno_of(made.mkdir) == "EEXIST"
    space.publish("a.txt", "one")
    assert errno_of(made.rmdir) == "ENOTEMPTY"
    assert space.get("a.txt") == b"one"
    space.delete("a.txt")
    wait_until(lambda: errno_of(made.rmdir) == "OK", SOON, "the namespace to be empty")
    assert made.name not in names(path)
    assert made.name not in names(mount(nacos_310).path)


def test_tree_namespace_is_made_by_admins_only(nacos_310, space_of, mount):
    space = space_of(nacos_310)
    with account(space) as user:
        path = mount(nacos_310, user=user).path
        name = f"test-{uuid.uuid4().hex[:12]}"
        assert errno_of((path / name).mkdir) == "EACCES"
        assert name not in names(path)


def test_tree_namespace_is_not_made_where_the_server_has_no_call_for_it(nacos_224, mount):
    path = mount(nacos_224).path
    assert errno_of((path / "test-new").mkdir) in ("ENOTSUP", "EPERM")
    assert names(path) == ["public"]


def test_tree_public_namespace_stays(nacos, mount):
    path = mount(nacos).path
    assert errno_of((path / "public").rmdir) in ("EPERM", "ENOTEMPTY", "EBUSY")
    assert "public" in names(path)


@one_generation
def test_tree_takes_nothing_but_files(space, group):
    space.publish("a.txt", "one")
    assert errno_of(os.link, group / "a.txt", group / "b.txt") == "EPERM"
    assert errno_of(os.mkfifo, group / "fifo") == "EPERM"
    assert errno_of(os.mknod, group / "device", 0o20600, os.makedev(1, 3)) == "EPERM"
    assert errno_of(os.symlink, "a.txt", group / "link") == "EPERM"
    with socket.socket(socket.AF_UNIX) as unix, contextlib.chdir(group):
        assert errno_of(unix.bind, "socket") == "EPERM"
    assert names(group) == ["a.txt"]


def test_tree_of_a_read_only_mount_takes_nothing(space, mount):
    space.publish("a.txt", "one")
    path = mount(space.server, space.namespace, ro=True).path
    for change in ((path / "NEW").mkdir, (path / space.group / "b.txt").touch, (path / space.group / "a.txt").unlink,
                   lambda: (path / space.group / "a.txt").write_text("two")):
        assert errno_of(change) == "EROFS"
    assert space.get("a.txt") == b"one"
