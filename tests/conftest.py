from harness.servers import namespace, nacos, nacos_141, nacos_224, nacos_310, nacos_of, own_nacos  # noqa: F401
from harness.mounts import mount, space, space_of  # noqa: F401
