"""Generates docs/api.md, every method, message, field and value of the API, from proto/: `make reference`.

protoc describes the .proto files with their comments, the table of methods says who may call what;
tests/docs/test_docs.py writes the page again and compares.
"""

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from numcheck.access import ANYBODY, METHODS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/api.md"
PACKAGE = ".numcheck.v1."
SYNTAX = (FileDescriptorProto.SYNTAX_FIELD_NUMBER,)
TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}
HEAD = """\
# The API

Every service, method, message, field and value, from the comments of [proto/numcheck/v1](../proto/numcheck/v1):
`make reference` writes this page. [errors.md](errors.md) has each reason of an error with what to do about it.
"""


class Commented(NamedTuple):
    """A .proto file and the comment of each thing in it, by its path as SourceCodeInfo has it."""

    file: FileDescriptorProto
    comments: dict[tuple[int, ...], str]

    @property
    def says(self) -> str:
        """The comment of the file itself."""
        return self.comments[SYNTAX]


def described() -> list[Commented]:
    """Return the .proto files with their comments, by name."""
    names = sorted(str(path.relative_to(ROOT / "proto")) for path in ROOT.glob("proto/**/*.proto"))
    with TemporaryDirectory() as scratch:
        out = Path(scratch) / "api.binpb"
        options = ["-Iproto", "--include_source_info", f"--descriptor_set_out={out}"]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options, *names], cwd=ROOT, check=True)
        files = FileDescriptorSet.FromString(out.read_bytes()).file
    return [
        Commented(
            file, {tuple(one.path): textwrap.dedent(one.leading_comments) for one in file.source_code_info.location}
        )
        for file in files
    ]


def anchor(title: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def type_of(field: FieldDescriptorProto, maps: dict[str, DescriptorProto]) -> str:
    """Return a field's type as its .proto file writes it, with a link to what is on the page."""
    if field.type_name in maps:
        key, value = maps[field.type_name].field
        return f"map of {type_of(key, {})} to {type_of(value, {})}"
    name = TYPES[field.type]
    if field.type_name:
        name = field.type_name.removeprefix(PACKAGE).removeprefix(".")
        name = f"[{name}](#{anchor(name)})" if field.type_name.startswith(PACKAGE) else name
    return f"repeated {name}" if field.label == FieldDescriptorProto.LABEL_REPEATED else name


def cell(comment: str) -> str:
    """Return a comment as the cell of a table."""
    paragraphs = [" ".join(part.split()) for part in comment.strip().split("\n\n")]
    return "<br>".join(paragraphs).replace("|", r"\|")


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """Return a table, or nothing of no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines]) if lines else ""


def presence(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    """Return which oneof a field is of, or that it may be unset."""
    if field.proto3_optional:
        return ", optional"
    return f", one of `{message.oneof_decl[field.oneof_index].name}`" if field.HasField("oneof_index") else ""


def message_parts(one: Commented, message: DescriptorProto, path: tuple[int, ...], name: str) -> Iterator[str]:
    """Yield the heading, the comment and the fields of a message, and then those of the ones in it."""
    maps = {f"{PACKAGE}{name}.{inner.name}": inner for inner in message.nested_type if inner.options.map_entry}
    fields = DescriptorProto.FIELD_FIELD_NUMBER
    yield f"### {name}"
    yield one.comments[path].strip()
    yield table(
        ("field", "type", "what it says"),
        (
            (
                f"`{field.name}` = {field.number}",
                type_of(field, maps) + presence(field, message),
                cell(one.comments[(*path, fields, place)]),
            )
            for place, field in enumerate(message.field)
        ),
    )
    for place, inner in enumerate(message.nested_type):
        if not inner.options.map_entry:
            inner_path = (*path, DescriptorProto.NESTED_TYPE_FIELD_NUMBER, place)
            yield from message_parts(one, inner, inner_path, f"{name}.{inner.name}")
    for place, values in enumerate(message.enum_type):
        enum_path = (*path, DescriptorProto.ENUM_TYPE_FIELD_NUMBER, place)
        yield from enum_parts(one, values, enum_path, f"{name}.{values.name}")


def enum_parts(one: Commented, values: EnumDescriptorProto, path: tuple[int, ...], name: str) -> Iterator[str]:
    """Yield the heading, the comment and the values of an enum."""
    at = EnumDescriptorProto.VALUE_FIELD_NUMBER
    yield f"### {name}"
    yield one.comments[path].strip()
    comments = [one.comments[(*path, at, place)] for place in range(len(values.value))]
    named = zip(values.value, comments, strict=True)
    yield table(("value", "means"), ((f"`{value.name}` = {value.number}", cell(says)) for value, says in named))


def method_parts(service: str, method: MethodDescriptorProto, comment: str) -> Iterator[str]:
    """Yield the heading, the shape, the callers and the comment of a method."""
    row = METHODS.get(f"/{PACKAGE[1:]}{service}/{method.name}")
    roles = "the node: an operator serves it" if row is None else ", ".join(sorted(row.roles))
    callers = "every caller" if row is not None and row.roles == ANYBODY else roles
    asked, answered = (
        f"{'stream of ' if streams else ''}[{name}](#{anchor(name)})"
        for name, streams in (
            (method.input_type.removeprefix(PACKAGE), method.client_streaming),
            (method.output_type.removeprefix(PACKAGE), method.server_streaming),
        )
    )
    yield f"### {method.name}"
    yield f"{asked} → {answered}; called by {callers}"
    yield comment.strip()


def service_parts(one: Commented, service: ServiceDescriptorProto, path: tuple[int, ...]) -> Iterator[str]:
    """Yield the heading and the comment of a service, and its methods."""
    yield f"## {service.name}"
    yield one.comments[path].strip()
    for place, method in enumerate(service.method):
        comment = one.comments[(*path, ServiceDescriptorProto.METHOD_FIELD_NUMBER, place)]
        yield from method_parts(service.name, method, comment)


def parts(files: Sequence[Commented]) -> Iterator[str]:
    """Yield the page's parts: the services of every file first, then the messages and the enums."""
    yield HEAD.strip()
    for one in files:
        for place, service in enumerate(one.file.service):
            yield from service_parts(one, service, (FileDescriptorProto.SERVICE_FIELD_NUMBER, place))
    for one in files:
        yield f"## Messages of {Path(one.file.name).name}"
        yield one.says.strip()
        for place, message in enumerate(one.file.message_type):
            yield from message_parts(one, message, (FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER, place), message.name)
        for place, values in enumerate(one.file.enum_type):
            yield from enum_parts(one, values, (FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, place), values.name)


def page() -> str:
    """Return the page of the whole API."""
    return "\n\n".join(part for part in parts(described()) if part) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
