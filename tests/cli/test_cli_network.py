"""Commands behind proxies, and with a certificate authority of one's own."""

import contextlib
import ssl
from pathlib import Path

import pytest
import trustme

from support.command_line import Ran, run
from support.web_servers import PROXY_VARIABLES, proxy_that_answers, web_server
from support.world import FEED, World, make_world


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path)
    made.release(["+628120000101"])
    return made


def env(world: World, url: str, **more: str) -> dict[str, str]:
    return {
        "BLOCKLIST_URL": url,
        "BLOCKLIST_FEED": FEED,
        "BLOCKLIST_ROOT": str(world.publisher.root),
        "BLOCKLIST_CACHE_DIR": str(world.directory / "cache"),
        "BLOCKLIST_STATE_DIR": str(world.directory / "state"),
        "BLOCKLIST_REGION": "ID",
        "BLOCKLIST_SINK": (world.directory / "drop").as_uri(),
        **more,
    }


def sync(settings: dict[str, str], *arguments: str) -> Ran:
    return run("sync", "--accept", "1", *arguments, env=settings)


def assert_works_offline(settings: dict[str, str]) -> None:
    """What asks no server does not mind proxies and certificates."""
    assert run("check", "+628120000101", env=settings).code == 1
    assert run("status", env=settings).code == 0
    assert run("enforce", env=settings).code == 0


@pytest.mark.parametrize(
    "no_proxy",
    [
        "127.0.0.1",
        "127.0.0.0/8",
        "127.0.0.1:{port}",
        "localhost,10.0.0.0/8,fd00::/8,127.0.0.1",
        "[::1]:80 [fd00::7] 127.0.0.1",
        ".example, *.example ,127.0.0.1,",
        "::ffff:127.0.0.1",
        "*",
    ],
)
def test_a_server_that_needs_no_proxy(no_proxy: str, world: World) -> None:
    with web_server(world.publisher.directory / "repository") as port, proxy_that_answers("407 No") as proxy:
        more = {"ALL_PROXY": f"http://127.0.0.1:{proxy}", "NO_PROXY": no_proxy.format(port=port)}
        settings = env(world, f"http://127.0.0.1:{port}", **more)
        ran = sync(settings)
        assert ran.code == 0, ran
        assert_works_offline(settings)


@pytest.mark.parametrize(
    ("status", "code", "words"), [(None, 3, "cannot be reached"), ("407 No", 77, "the account in HTTP_PROXY")]
)
def test_a_proxy_that_fails(status: str | None, code: int, words: str, world: World) -> None:
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(web_server(world.publisher.directory / "repository"))
        proxy = 9 if status is None else stack.enter_context(proxy_that_answers(status))
        more = {"HTTP_PROXY": f"http://me:s3cret@127.0.0.1:{proxy}", "NO_PROXY": "fd00::/8"}
        settings = env(world, f"http://127.0.0.1:{served}", **more)
        ran = sync(settings, "--deadline", "5s")
        assert ran.code == code, ran
        assert f"the proxy http://127.0.0.1:{proxy} (HTTP_PROXY)" in ran.err
        assert words in ran.err
        assert "s3cret" not in ran.err
        # The same from a folder, whatever the proxy does.
        settings = env(world, world.url, **more)
        assert sync(settings).code == 0
        assert_works_offline(settings)


def test_an_authority_of_ones_own(world: World, tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = tmp_path / "our-ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with web_server(world.publisher.directory / "repository", context) as port:
        url = f"https://127.0.0.1:{port}"
        ran = sync(env(world, url), "--deadline", "5s")
        assert ran.code not in (0, 1)
        assert all(
            word in ran.err for word in (f"the certificate of {url} was not trusted", "--ca FILE", "BLOCKLIST_CA")
        )
        assert sync(env(world, url), "--ca", str(ca)).code == 0
        assert sync(env(world, url, BLOCKLIST_CA=str(ca))).code == 0
        settings = env(world, url, SSL_CERT_FILE=str(ca))
        assert sync(settings).code == 0
        assert_works_offline(settings)
        ran = sync(env(world, url, SSL_CERT_FILE="/nowhere/ca.pem"))
        assert ran.code == 2
        assert "SSL_CERT_FILE names /nowhere/ca.pem" in ran.err
    settings = env(world, world.url, SSL_CERT_FILE="/nowhere/ca.pem")
    assert sync(settings).code == 0
    assert_works_offline(settings)
