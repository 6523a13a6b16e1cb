"""Classes: what all numbers of one operator and kind have in common, so that a page needs to say it once."""

import struct
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from numcheck._recycled import NEVER
from numcheck.active import Operator
from numcheck.status import NumberStatus

CLASS = struct.Struct("<I2BBx8s")
UNALLOCATED, INVALID, FIRST_CLASS = 0, 1, 2  # the first two are the kernel's own


class NumberClass(NamedTuple):
    """An operator's mobile numbers, or its others."""

    operator_id: int
    mobile: bool


def pack_classes(
    classes: Iterable[NumberClass],
    operators: Mapping[int, Operator],
    fresh_since: datetime | None,
    agreements: Collection[int] | None = None,
) -> bytes:
    """Return the kernel's class table. The data of operators that is older than `fresh_since` answers nothing.

    Nor does that of operators that are not in `agreements`, if they are given.
    """
    rows = [_pack(0, NumberStatus.UNALLOCATED, NumberStatus.UNALLOCATED), _pack(0, *2 * (NumberStatus.INVALID,))]
    for one in classes:
        statuses = statuses_of(one, operators[one.operator_id], fresh_since)
        if one.mobile and agreements is not None and one.operator_id not in agreements:
            statuses = NumberStatus.UNKNOWN, NumberStatus.UNKNOWN
        rows.append(_pack(one.operator_id, *statuses))
    return b"".join(rows)


def whole_since(operator: Operator, since: int) -> int:
    """Return from which second on the record of an operator's withdrawals is whole, which goes back to `since`; 0:
    there is none."""
    if not since or operator.supplied_since is None:
        return NEVER
    return max(since, int(operator.supplied_since.timestamp()))


def record_bounds(
    classes: Iterable[NumberClass],
    operators: Mapping[int, Operator],
    fresh_since: datetime | None,
    agreements: Collection[int] | None,
    since: int,
) -> "tuple[array[int], bytes]":
    """Return of each class of the kernel from which second on its record is whole, and whether nothing may be told.

    Data that is too old says nothing of today; of numbers of an operator that is not in `agreements`, if they are
    given, and of those that are no mobile ones, nothing is told at all.
    """
    bounds, hidden = array("q", [NEVER, NEVER]), bytearray([False, True])
    for one in classes:
        operator = operators[one.operator_id]
        answers = statuses_of(one, operator, fresh_since) == (NumberStatus.INACTIVE, NumberStatus.ACTIVE)
        bounds.append(whole_since(operator, since) if answers else NEVER)
        hidden.append(not one.mobile or (agreements is not None and one.operator_id not in agreements))
    return bounds, bytes(hidden)


def statuses_of(
    number_class: NumberClass, operator: Operator, fresh_since: datetime | None
) -> tuple[NumberStatus, NumberStatus]:
    """Return the status of a number without its active bit and with it."""
    if not number_class.mobile:
        return NumberStatus.NOT_MOBILE, NumberStatus.NOT_MOBILE
    if operator.data_version == 0 or operator.data_time is None:
        return NumberStatus.UNKNOWN, NumberStatus.UNKNOWN
    if fresh_since is not None and operator.data_time < fresh_since:
        return NumberStatus.UNKNOWN, NumberStatus.UNKNOWN
    return NumberStatus.INACTIVE, NumberStatus.ACTIVE


def _pack(operator_id: int, inactive: NumberStatus, active: NumberStatus) -> bytes:
    varint = _varint(operator_id)
    return CLASS.pack(operator_id, inactive, active, len(varint), varint)


def _varint(value: int) -> bytes:
    """Protobuf's encoding of an unsigned integer."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def number_classes(pairs: Sequence[Sequence[int]]) -> list[NumberClass]:
    """Return the classes as the manifest lists them, from class 2 on."""
    return [NumberClass(operator_id, bool(mobile)) for operator_id, mobile in pairs]
