"""The place where the page is served, and whether it can be. Imports nothing of the extra `page`."""

from importlib.util import find_spec

from numcheck.config import Settings
from numcheck.door.plain_door import host_and_port
from numcheck.errors import BadConfiguration, BadListenAddress
from numcheck.hosts import is_loopback

NEEDED = ("starlette", "uvicorn")


def page_address(settings: Settings) -> tuple[str, int]:
    """Return where the page listens; BadListenAddress if that is no address, or beyond loopback without TLS."""
    host, port = host_and_port(settings.page_listen or "", anywhere=True)
    if not is_loopback(host) and not settings.tls:
        raise BadListenAddress(
            f"page_listen: {host} is beyond loopback, where the page needs TLS: tls_certificate_file"
        )
    return host, port


def is_over_tls(settings: Settings) -> bool:
    """Return True if the page speaks TLS: wherever it is not on loopback."""
    return not is_loopback(page_address(settings)[0])


def check_page(settings: Settings) -> None:
    """Raise BadListenAddress or BadConfiguration if the page cannot be served by these settings, and this program."""
    page_address(settings)
    if not all(map(find_spec, NEEDED)):
        raise BadConfiguration("page_listen needs the extra page: pip install 'numcheck[page]'")
