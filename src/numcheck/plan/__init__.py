"""The numbering plan: reading the regulator's registry files, ranges, the operators that hold them. Rules only."""

from numcheck.plan.allotments import Allotment, plan_of
from numcheck.plan.bundled import BUNDLED_DATE, bundled_source
from numcheck.plan.changing import changes_too_much
from numcheck.plan.country import RUSSIA, Country, country_of
from numcheck.plan.dating import Dated, dated, moment_of_day
from numcheck.plan.diff import Change, HolderDiff, PlanDiff, diff
from numcheck.plan.model import Holder, NumberingPlan, Range, fold_name
from numcheck.plan.plain import text_fault
from numcheck.plan.problems import Note, Problem, Reason, RefusedRegistryFile
from numcheck.plan.reading import Reading, Source, read_files, read_registry

__all__ = [
    "BUNDLED_DATE",
    "RUSSIA",
    "Allotment",
    "Change",
    "Country",
    "Dated",
    "Holder",
    "HolderDiff",
    "Note",
    "NumberingPlan",
    "PlanDiff",
    "Problem",
    "Range",
    "Reading",
    "Reason",
    "RefusedRegistryFile",
    "Source",
    "bundled_source",
    "changes_too_much",
    "country_of",
    "dated",
    "diff",
    "fold_name",
    "moment_of_day",
    "plan_of",
    "read_files",
    "read_registry",
    "text_fault",
]
