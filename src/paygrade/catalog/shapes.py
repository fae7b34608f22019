"""The kinds of shape that a place of a catalog document has. The grammar is made of them, and said once: a shape reads
its place, writes back what was read, and describes itself as JSON Schema.

Laws: reading what was written gives the same value; the schema of a shape accepts whatever it reads without a mistake;
what cannot stand where it stands is reported once, and read no further; a key that is left out means what the struct
has as its default, and is left out again when that is written.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

from msgspec import NODEFAULT, Struct, structs

from paygrade.catalog.reader import Node
from paygrade.values.text import _KEY, QUANTITY_MAX

T = TypeVar("T")
_Word = TypeVar("_Word", bound=str)
_ValueOf = Callable[[str], Any]
Schema = dict[str, Any]
"""JSON Schema, draft 2020-12. Any: whatever its keywords take."""


class Shape(Struct, Generic[T], frozen=True):
    """What may stand in one place. Reading reports what is wrong, and returns a stand-in."""

    def read(self, node: Node) -> T:
        raise NotImplementedError

    def write(self, value: T) -> object:
        return value

    def schema(self) -> Schema:
        raise NotImplementedError


class Plain(Shape[T], Generic[T], frozen=True):
    """A value that stands for itself."""

    how: Callable[[Node], T]
    described: Schema

    def read(self, node: Node) -> T:
        return self.how(node)

    def schema(self) -> Schema:
        return self.described


def whole(at_least: int, at_most: int = QUANTITY_MAX) -> Shape[int]:
    described = {"type": "integer", "minimum": at_least, "maximum": at_most}
    return Plain(lambda node: node.integer(at_least, at_most), described)


def text(what: str = "a text") -> Shape[str]:
    """A text that is not empty: `what` it is."""
    about = {} if what == "a text" else {"description": f"{what[0].upper()}{what[1:]}."}
    return Plain(lambda node: node.text(what), {**about, "type": "string", "pattern": r"\S"})


def word(words: tuple[_Word, ...]) -> Shape[_Word]:
    return Plain(lambda node: node.choice(words), {"enum": list(words)})


def name(what: str, noun: str, also: str) -> Shape[str]:
    """The key of something that the document defines, a `noun` of it, or the word `also`."""

    def check(node: Node, key: str) -> None:
        if key and key != also and key not in node.defined(noun):
            node.unknown(noun, [*node.defined(noun), also])

    return Via(text(what), check=check)


QUANTITY, POSITIVE = whole(0), whole(1)
FLAG: Shape[bool] = Plain(Node.flag, {"type": "boolean"})
NOTE: Shape[str] = Plain(Node.note, {"type": "string"})


def _same(value: Any) -> Any:
    return value


def _nothing(*_: object) -> Any:
    return ()


class Via(Shape[T], Generic[T], frozen=True):
    """Another shape whose value is kept as something else, or of which more must hold. `check` looks at what was read
    before it is turned `into` that; `law` is as much of it as a schema can say."""

    shape: Shape[Any]
    into: Callable[[Any], T] = _same
    back: Callable[[T], Any] = _same
    check: Callable[[Node, Any], None] = _nothing
    law: Schema = {}

    def read(self, node: Node) -> T:
        value = self.shape.read(node)
        self.check(node, value)
        return self.into(value)

    def write(self, value: T) -> object:
        return self.shape.write(self.back(value))

    def schema(self) -> Schema:
        return {**self.shape.schema(), **self.law}


class Or(Shape[T], Generic[T], frozen=True):
    """One of a few words, each of which means a value, or something else: whatever `other` is for."""

    words: Mapping[str, T]
    other: Shape[T]
    is_other: Callable[[object], bool] = lambda _: True

    def read(self, node: Node) -> T:
        if isinstance(node.value, str) and node.value in self.words:
            return self.words[node.value]
        return self.other.read(node) if self.is_other(node.value) else self.words[node.choice(tuple(self.words))]

    def write(self, value: T) -> object:
        return next((word for word, meant in self.words.items() if meant == value), None) or self.other.write(value)

    def schema(self) -> Schema:
        return {"anyOf": [{"enum": list(self.words)}, self.other.schema()]}


def is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


class Items(Shape[tuple[T, ...]], Generic[T], frozen=True):
    """A list."""

    item: Shape[T]

    def read(self, node: Node) -> tuple[T, ...]:
        return tuple(self.item.read(item) for item in node.items())

    def write(self, value: tuple[T, ...]) -> object:
        return [self.item.write(item) for item in value]

    def schema(self) -> Schema:
        return {"type": "array", "items": self.item.schema()}


class Keyed(Shape[dict[str, T]], Generic[T], frozen=True):
    """A mapping whose keys are chosen by people; `free`: not by ours, so that they look like anything. With a `noun`,
    they are those that the document defines under it, or `also`."""

    value: Shape[T]
    noun: str = ""
    also: str = ""
    free: bool = False

    def read(self, node: Node) -> dict[str, T]:
        read = {}
        for key, entry in (node.named() if self.free else node.entries()).items():
            if self.noun and key != self.also and key not in entry.defined(self.noun):
                entry.unknown(self.noun, entry.defined(self.noun), key=key)
            read[key] = self.value.read(entry)
        return read

    def write(self, value: dict[str, T]) -> object:
        return {key: self.value.write(entry) for key, entry in value.items()}

    def schema(self) -> Schema:
        return keyed(self.value.schema(), text().schema()["pattern"] if self.free else f"^{_KEY.pattern}$")


def keyed(value: Schema, pattern: str = f"^{_KEY.pattern}$") -> Schema:
    return {
        "type": "object",
        "propertyNames": {"type": "string", "pattern": pattern},
        "additionalProperties": value,
    }


class Field(Struct, frozen=True):
    """A key of a mapping, and what it fills.

    `shape` None: what the type of the struct's field says, its words, a flag or a note. `of`: the field of the struct,
    or several for a shape that reads a tuple; empty: the one of the key's own name. `example`: what to write when it is
    missing; None: it may be left out.
    """

    shape: Shape[Any] | None = None  # Any: a mapping has values of all types
    about: str = ""
    of: str | tuple[str, ...] = ""
    example: str | None = None

    def filling(self, key: str, types: Mapping[str, Any]) -> "Field":
        """The same with every word that it leaves to the struct."""
        of = self.of or key
        return Field(self.shape or _by_type(types[str(of)]), self.about, of, self.example)

    def read(self, key: str, node: Node) -> dict[str, Any]:
        assert self.shape is not None
        if (place := _place(key, node, self.example)) is None:
            return {}
        value = self.shape.read(place)
        return {self.of: value} if isinstance(self.of, str) else dict(zip(self.of, value, strict=True))

    def write(self, key: str, value_of: _ValueOf, defaults: Mapping[str, Any]) -> dict[str, Any]:
        assert self.shape is not None
        value, default = _each(self.of, value_of), _each(self.of, defaults.get)
        return {} if self.example is None and value == default else {key: self.shape.write(value)}

    def schema(self, defaults: Mapping[str, Any]) -> Schema:
        assert self.shape is not None
        default = _each(self.of, defaults.get)
        said = {"default": self.shape.write(default)} if isinstance(default, str | int) and default != "" else {}
        return {**self.shape.schema(), **({"description": self.about} if self.about else {}), **said}


class Group(Struct, frozen=True):
    """A key that holds a mapping of its own, whose keys fill fields of the same struct."""

    fields: Mapping[str, Field]
    about: str = ""
    example: str | None = None

    def filling(self, _: str, types: Mapping[str, Any]) -> "Group":
        return Group({key: field.filling(key, types) for key, field in self.fields.items()}, self.about, self.example)

    def read(self, key: str, node: Node) -> dict[str, Any]:
        if (place := _place(key, node, self.example)) is None:
            return {}
        place = place.fields(*self.fields)
        return _merged(field.read(below, place) for below, field in self.fields.items())

    def write(self, key: str, value_of: _ValueOf, defaults: Mapping[str, Any]) -> dict[str, object]:
        nothing = self.example is None and all(
            _each(field.of, value_of) == _each(field.of, defaults.get) for field in self.fields.values()
        )
        return {} if nothing else {key: _written(self.fields, value_of, defaults)}

    def schema(self, defaults: Mapping[str, Any]) -> Schema:
        return {**_described(self.fields, defaults), **({"description": self.about} if self.about else {})}


Fields = Mapping[str, Field | Group]


def need(example: str, shape: Shape[Any] | None = None, about: str = "", *, of: str | tuple[str, ...] = "") -> Field:
    """A mandatory key; in the example, `$key` is the key that people chose for what it is about."""
    return Field(shape, about, of, example)


may = Field
"""A key that may be left out."""


class Law(Struct, frozen=True):
    """What holds between the keys of a mapping, and as much of it as a schema can say.

    `bars` looks before the keys are read: it reports those that cannot stand beside the others, and returns them.
    `holds` looks at what was read, by the struct's fields; it may put that in order.
    """

    schema: Schema = {}
    bars: Callable[[Node], Collection[str]] = _nothing
    holds: Callable[[Node, dict[str, Any]], None] = _nothing


def barred(why: Mapping[str, str], *, where: str, says: str) -> Law:
    """None of these keys stands where the key `where` says this; `why` has what to tell for each."""

    def bars(node: Node) -> Collection[str]:
        if node.raw(where) != says:
            return ()
        for key in filter(node.has, why):
            node.at(key).wrong(why[key])
        return why

    known = {"properties": {where: {"const": says}}, "required": [where]}
    return Law({"if": known, "then": {"properties": dict.fromkeys(why, False)}}, bars)


class Record(Shape[T], Generic[T], frozen=True):
    """A mapping with fixed keys that becomes a struct, or a dict.

    `given`: what the document never says, or means where it says nothing. `keyed`: the struct's first field is the key
    that people chose. `tagged`: the struct's tag is said under its own key. `hints`: what to do about keys one could
    expect here. `instead`: where one of these hinted keys stands, that was the mistake, and nothing else is told.
    The last three follow from the struct.
    """

    make: Callable[..., T]
    fields: Fields
    laws: tuple[Law, ...] = ()
    given: Mapping[str, Any] = {}
    hints: Mapping[str, str] = {}
    instead: tuple[str, ...] = ()
    keyed: bool = False
    tagged: bool = False
    key: str = ""
    tag: Mapping[str, object] = {}
    defaults: Mapping[str, Any] = {}

    def __post_init__(self) -> None:
        struct = self.make if isinstance(self.make, type) and issubclass(self.make, Struct) else None
        told = structs.fields(struct) if struct else ()
        types = {field.name: field.type for field in told}
        plain = {field.name: field.default for field in told if field.default is not NODEFAULT}
        made = {field.name: field.default_factory() for field in told if field.default_factory is not NODEFAULT}
        config = struct.__struct_config__ if struct and self.tagged else None
        for name, value in {
            "fields": {key: field.filling(key, types) for key, field in self.fields.items()},
            "key": told[0].name if self.keyed else "",
            "tag": {config.tag_field: config.tag} if config else {},
            "defaults": {**plain, **made, **self.given},
        }.items():
            structs.force_setattr(self, name, value)

    def read(self, node: Node) -> T:
        node = node.fields(*self.tag, *self.fields, hints=self.hints)
        if any(map(node.has, self.instead)):
            node = node.hushed()
        skipped = {key for law in self.laws for key in law.bars(node)}
        values = _merged(field.read(key, node) for key, field in self.fields.items() if key not in skipped)
        for law in self.laws:
            law.holds(node, values)
        return self.of(node, values)

    def of(self, node: Node, values: Mapping[str, Any]) -> T:
        """Make it of the values that were read."""
        return self.make(**{**({self.key: node.key} if self.key else {}), **self.given, **values})

    def write(self, value: T, *, without: Collection[str] = ()) -> dict[str, object]:
        value_of = value.get if isinstance(value, dict) else lambda of: getattr(value, of)
        fields = {key: field for key, field in self.fields.items() if key not in without}
        return {**self.tag, **_written(fields, value_of, self.defaults)}

    def schema(self) -> Schema:
        laws = [law.schema for law in self.laws if law.schema]
        return {**_described(self.fields, self.defaults, self.tag), **({"allOf": laws} if laws else {})}


class Brief(Shape[T], Generic[T], frozen=True):
    """A mapping, or the value of one of its keys alone where the others have nothing to say."""

    whole: Record[T]
    key: str
    short: Shape[Any]
    never: object = None
    """The one value of the key that is not said without it."""

    def read(self, node: Node) -> T:
        if is_mapping(node.value):
            return self.whole.read(node)
        of, value = self.whole.fields[self.key].of, self.short.read(node)  # type: ignore[union-attr]  # no group
        return self.whole.of(node, dict(zip(of, value, strict=True)))

    def write(self, value: T) -> object:
        written = self.whole.write(value)
        return written if len(written) > 1 or written[self.key] == self.never else written[self.key]

    def schema(self) -> Schema:
        return {"anyOf": [self.short.schema(), self.whole.schema()]}


def _by_type(kind: Any) -> Shape[Any]:  # Any: types are not typed
    kind = next((one for one in get_args(kind) if get_origin(one) is Literal), kind)  # it may be None, too
    if get_origin(kind) is Literal:
        return word(get_args(kind))
    return FLAG if kind is bool else NOTE


def _place(key: str, node: Node, example: str | None) -> Node | None:
    """Where the key's value stands; None: it is left out."""
    if example is not None:
        return node.need(key, example.replace("$key", node.key))
    return node.at(key) if node.has(key) else None


def _each(of: str | tuple[str, ...], value_of: _ValueOf) -> Any:
    return value_of(of) if isinstance(of, str) else tuple(map(value_of, of))


def _merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


def _written(fields: Fields, value_of: _ValueOf, defaults: Mapping[str, Any]) -> dict[str, object]:
    return _merged(field.write(key, value_of, defaults) for key, field in fields.items())


def _described(fields: Fields, defaults: Mapping[str, Any], tag: Mapping[str, object] = {}) -> Schema:
    required = [*tag, *(key for key, field in fields.items() if field.example is not None)]
    fixed = {key: {"const": word} for key, word in tag.items()}
    return {
        "type": "object",
        **({"required": required} if required else {}),
        "additionalProperties": False,
        "properties": {**fixed, **{key: field.schema(defaults) for key, field in fields.items()}},
    }
