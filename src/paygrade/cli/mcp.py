"""`paygrade mcp`: an MCP server, with which an assistant reads and changes what the server knows.

Laws: it asks the HTTP API and nothing else, so the key decides what it may; standard output holds the protocol alone;
over HTTP it listens on this machine only.
"""

import asyncio
from socket import create_server, socket
from typing import TYPE_CHECKING

import click

from paygrade.cli.output import as_json, say, show_json
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from mcp.server import MCPServer

HOST = "127.0.0.1"
DEFAULT_PORT = 4712


@click.command()
@click.option(
    "--http", is_flag=True, help="Serve streamable HTTP on this machine instead of standard input and output."
)
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="With --http.")
@click.option("--read-only", is_flag=True, help="Leave out the tools that change something.")
@click.option("--list", "only_list", is_flag=True, help="List the tools and exit.")
@as_json
def mcp(http: bool, port: int, read_only: bool, only_list: bool, as_json: bool) -> None:
    """Run an MCP server for an assistant, over standard input and output.

    It uses the server in PAYGRADE_URL with the key in PAYGRADE_API_KEY, and can do what that key can.
    """
    try:
        from paygrade.cli.mcp_tools import served
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mcp":
            raise
        raise Refused("mcp_missing", "the library `mcp` is missing; run `pip install 'paygrade[mcp]'`") from None
    server = served(read_only=read_only)
    if only_list or as_json:
        _list(server, as_json=as_json)
    elif http:
        _serve(server, port)
    else:
        server.run("stdio")


def _list(server: "MCPServer", *, as_json: bool) -> None:
    tools = asyncio.run(server.list_tools())
    if as_json:
        show_json({"tools": [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]})
        return
    for tool in tools:
        say(f"{tool.name}\t{(tool.description or '').partition('. ')[0].rstrip('.')}")


def _serve(server: "MCPServer", port: int) -> None:
    # Not at the top: only this needs it.
    import uvicorn

    with _opened(port) as opened:
        click.echo(f"MCP server at http://{HOST}:{opened.getsockname()[1]}/mcp", err=True)
        # For this host the library refuses what a web page sends, whatever name it calls this machine by.
        uvicorn.Server(uvicorn.Config(server.streamable_http_app(host=HOST), log_level="warning")).run([opened])


def _opened(port: int) -> socket:
    try:
        return create_server((HOST, port))
    except OSError as error:
        detail = f"cannot listen on {HOST}:{port} ({error.strerror}); choose another port with --port"
        raise Unavailable("server_not_started", detail) from None
