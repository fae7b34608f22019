"""Servers behind nginx are replaced one after another under load, and no request fails."""

from pathlib import Path

from operate.servers import Load, environ_of, new_account, servers, used
from support.cluster import free_ports
from support.nginx import needs_nginx, nginx

pytestmark = needs_nginx

CONFIG = """
upstream paygrade {{ {upstream} keepalive 8; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://paygrade;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_next_upstream error timeout non_idempotent;
        proxy_next_upstream_tries 3;
    }}
}}
"""


def test_two_servers_behind_nginx_are_replaced_and_no_request_fails(database_url: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    front = f"http://127.0.0.1:{port}"
    with servers(tmp_path, environ_of(database_url=database_url)) as running:
        upstream = " ".join(f"server {url.removeprefix('http://')} max_fails=0;" for url in running.urls)
        (proxy := tmp_path / "proxy").mkdir()
        with nginx(proxy, CONFIG.format(upstream=upstream, port=port), port=port):
            account = new_account(front, "acme", 1_000_000)
            with Load([front], account, again=False).running() as asking:
                for number in (0, 1):
                    asking.more(25)
                    running.stop(number)
                    asking.more(25)
                    running.start(number)
                asking.more(25)
            assert set(asking.outcomes) == {"allowed"}, asking.outcomes
            assert used(front, account) == len(asking.acknowledged) == asking.outcomes["allowed"]
