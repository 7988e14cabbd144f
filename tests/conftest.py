import pytest

pytest.register_assert_rewrite("harness.tools")

from harness.mounts import DEFAULT_CACHES, kept_by_default
from harness.servers import namespace, nacos, nacos_141, nacos_224, nacos_310, nacos_of, own_nacos  # noqa: F401
from harness.mounts import mount, space, space_of  # noqa: F401
from harness.tools import bench, place  # noqa: F401


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_outside():
    """Tests write nothing but what is in their own directories: a test of a default has a place of its own for it."""
    before = set().union(*(directory.iterdir() for directory in DEFAULT_CACHES if directory.is_dir()))
    yield
    left = kept_by_default() - before
    assert not left, "tests wrote to " + ", ".join(map(str, left))
