"""A browser of the console as tests need it: a person's session, pages that are parsed, and forms that are sent."""

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit
from uuid import uuid4

import httpx2

from support.server_process import Api

_VOID = frozenset({"meta", "link", "input", "br", "img", "hr", "use", "rect", "path", "circle"})


class Node:
    """An element."""

    def __init__(self, tag: str, attributes: dict[str, str], parent: "Node | None") -> None:
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.parts: list[Node | str] = []

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    def get(self, name: str, default: str = "") -> str:
        return self.attributes.get(name, default)

    @property
    def classes(self) -> list[str]:
        return self.get("class").split()

    def walk(self) -> Iterator["Node"]:
        for part in self.parts:
            if isinstance(part, Node):
                yield part
                yield from part.walk()

    def every(self, tag: str, **attributes: str) -> list["Node"]:
        """All elements below with this tag and these attributes; `class_` names one of its classes."""
        class_ = attributes.pop("class_", None)
        return [
            node
            for node in self.walk()
            if node.tag == tag
            and all(node.get(name.replace("_", "-")) == value for name, value in attributes.items())
            and (class_ is None or class_ in node.classes)
        ]

    def one(self, tag: str, **attributes: str) -> "Node":
        found = self.every(tag, **attributes)
        assert found, f"no <{tag}> with {attributes} in:\n{self.text}"
        return found[0]

    @property
    def text(self) -> str:
        """What one reads, with its spaces as one."""
        told = [part if isinstance(part, str) else f" {part.text} " for part in self.parts]
        return " ".join("".join(told).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = self.at = Node("", {}, None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, self.at)
        self.at.parts.append(node)
        if tag not in _VOID:
            self.at = node

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.at.parts.append(Node(tag, {name: value or "" for name, value in attrs}, self.at))

    def handle_endtag(self, tag: str) -> None:
        node: Node | None = self.at
        while node is not None and node.tag != tag:
            node = node.parent  # <option>, <dt> and their like may be left open
        if node is not None and node.parent is not None:
            self.at = node.parent

    def handle_data(self, data: str) -> None:
        self.at.parts.append(data)


def parsed(html: str) -> Node:
    """The document."""
    reader = _Reader()
    reader.feed(html)
    return reader.root


class Browser(httpx2.Client):
    """Somebody who looks at pages of a server, follows what leads on, and sends forms."""

    def __init__(self, url: str) -> None:
        super().__init__(base_url=url, headers={"origin": url}, trust_env=False, verify=False, timeout=30)
        self.url = url

    def send(self, request: httpx2.Request, *, stream: bool = False, **more: Any) -> httpx2.Response:
        """Of an answer that goes on for ever, the beginning."""
        answer = super().send(request, stream=True, **more)
        if answer.headers.get("content-type", "").startswith("text/event-stream") and not stream:
            answer._content = next(answer.iter_raw())  # what `read` would keep
            answer.close()
        elif not stream:
            answer.read()
        return answer

    def page(self, path: str, status: int = 200) -> Node:
        """A page that must be answered with this status."""
        answer = self.get(path)
        assert answer.status_code == status, (path, answer.status_code, answer.headers.get("location"), answer.text)
        return parsed(answer.text)

    def send_form(self, page: Node, action: str, status: int = 303, **fields: Any) -> httpx2.Response:
        """Send the form of a page whose action begins so, with what stands in it and these fields: of several the
        first that has them, and a button that says so."""
        forms = [node for node in page.every("form") if node.get("action").startswith(action)]
        form = next((node for node in forms if _fits(node, fields)), forms[0])
        said: dict[str, Any] = {}
        for node in form.walk():
            if node.tag == "input" and node.get("name"):
                if node.get("type") in ("checkbox", "radio") and "checked" not in node.attributes:
                    continue
                said[node["name"]] = node.get("value", "on" if node.get("type") == "checkbox" else "")
            elif node.tag == "textarea":
                said[node["name"]] = node.text
            elif node.tag == "select":
                options = node.every("option")
                chosen = next((each for each in options if "selected" in each.attributes), options[0])
                said[node["name"]] = chosen.get("value", chosen.text)
        unknown = fields.keys() - said.keys() - {node.get("name") for node in form.walk()}
        assert not unknown, f"the form has no field {unknown}"
        answer = self.post(form["action"], data=said | fields)
        assert answer.status_code == status, (action, answer.status_code, parsed(answer.text).text)
        return answer

    def follow(self, answer: httpx2.Response) -> Node:
        """The page that an answer leads to."""
        where = urlsplit(urljoin(self.url, answer.headers["location"]))
        return self.page(where.path + (f"?{where.query}" if where.query else ""))


def _fits(form: Node, fields: dict[str, Any]) -> bool:
    buttons = {(node.get("name"), node.get("value")) for node in form.every("button")}
    named = {node.get("name") for node in form.walk() if node.tag != "button"}
    return all(name in named or (name, value) in buttons for name, value in fields.items())


class Browsers:
    """Somebody who has logged in, once, and has whatever role is asked for: `browsers["support"]`."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._browser = Browser(api.url)

    def __enter__(self) -> "Browsers":
        email = f"{uuid4().hex}@example.com"
        person = self._api.ok("POST", "/v1/people", json={"email": email, "name": "Dana", "role": "viewer"})
        said = {"email": email, "password": person["password"]}
        assert self._browser.post("/console/login", data=said).status_code == 303
        self._id = person["id"]
        return self

    def __getitem__(self, role: str) -> Browser:
        self._api.ok("PUT", f"/v1/people/{self._id}/role", json={"role": role})
        return self._browser

    def __exit__(self, *_: object) -> None:
        self._browser.close()
