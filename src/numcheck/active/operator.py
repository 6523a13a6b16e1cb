"""An operator as this installation knows it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator and the head of its active set.

    `operator_id` is assigned by the installation, small, and never given to another operator. `data_version` is 0
    and `data_time` None until the operator has supplied data; `synthetic` says that its data was made up.
    `supplied_since` is when the first of the versions that the head follows came in: what was withdrawn from then on is
    in the record of withdrawals.
    """

    operator_id: int
    display_name: str
    tax_id: str | None = None
    data_version: int = 0
    data_time: datetime | None = None
    synthetic: bool = False
    supplied_since: datetime | None = None
