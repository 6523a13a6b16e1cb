"""Everything that the API names has a comment: a caller reads the .proto files and needs nothing else."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message

PROTO_DIR = Path(__file__).parent.parent / "proto"

# The fields of google.protobuf.*DescriptorProto that hold what has to have a comment.
NAMED = ("service", "method", "message_type", "nested_type", "field", "oneof_decl", "enum_type", "value")
SYNTAX_PATH = (FileDescriptorProto.SYNTAX_FIELD_NUMBER,)


def described(proto_dir: Path, out: Path) -> list[FileDescriptorProto]:
    protos = [str(path.relative_to(proto_dir)) for path in sorted(proto_dir.glob("**/*.proto"))]
    options = [f"-I{proto_dir}", "--include_source_info", f"--descriptor_set_out={out}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options, *protos], check=True)
    return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def named(parent: Message, path: tuple[int, ...] = (), name: str = "") -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield the path, as SourceCodeInfo writes it, and the name of everything named in a descriptor, at any depth."""
    for field in parent.DESCRIPTOR.fields:
        if field.name not in NAMED:
            continue
        for position, child in enumerate(getattr(parent, field.name)):
            if field.name == "nested_type" and child.options.map_entry:
                continue  # what protoc makes of a map field, which has its comment itself
            child_path, child_name = (*path, field.number, position), f"{name}.{child.name}"
            yield child_path, child_name
            yield from named(child, child_path, child_name)


def without_comment(file: FileDescriptorProto) -> list[str]:
    commented = {
        tuple(location.path) for location in file.source_code_info.location if location.leading_comments.strip()
    }
    listed = [(SYNTAX_PATH, ": the file itself"), *named(file)]
    return [f"{file.name}{name}" for path, name in listed if path not in commented]


def test_nothing_in_the_api_is_without_a_comment(tmp_path: Path) -> None:
    files = described(PROTO_DIR, tmp_path / "api.binpb")
    assert files
    assert [name for file in files for name in without_comment(file)] == []


def test_everything_without_a_comment_is_found(tmp_path: Path) -> None:
    (tmp_path / "bare.proto").write_text(
        """syntax = "proto3";
        service S { rpc M(A) returns (A); }
        message A { int32 f = 1; oneof o { int32 g = 2; } enum E { ZERO = 0; } message N { bool h = 1; } }
        // This one has a comment.
        enum T { U = 0; }
        """,
        encoding="utf-8",
    )
    (file,) = described(tmp_path, tmp_path / "bare.binpb")
    bare = {"S", "S.M", "A", "A.f", "A.g", "A.o", "A.E", "A.E.ZERO", "A.N", "A.N.h", "T.U"}
    assert set(without_comment(file)) == {f"bare.proto.{name}" for name in bare} | {"bare.proto: the file itself"}
