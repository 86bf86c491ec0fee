"""What a score must be for `finetune evaluate --require`: read from text, and held against a report.

Owns the grammar `metric[.low|.high][@slice] operator number` and the sentence on each requirement. Measures nothing, and imports no
torch.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from finetune.errors import RequirementError, UsageError, suggest
from finetune.metrics import METRICS
from finetune.records import Report
from finetune.scores import pick
from finetune.wording import count_of, format_score_value, main_predictor, metric_title, name_predictor, plain, shorten

FIELDS: Final = ("value", "low", "high")
"""What of a score may be required: itself, or an end of its interval."""
OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
EXAMPLE: Final = "matthews_correlation.low>=0.40"
# The last operator counts: the name of a slice may hold one too.
_SHAPE = re.compile(r"(?P<score>.*)(?P<operator>>=|<=|>|<)(?P<bound>[^<>]*)", re.DOTALL)


@dataclass(frozen=True)
class Requirement:
    """A bound on a score.

    Attributes:
        field: one of FIELDS.
        operator: a key of OPERATORS.
        bound_text: the bound as the user wrote it.
    """

    metric: str
    slice: str
    field: str
    operator: str
    bound: float
    bound_text: str


@dataclass(frozen=True)
class Finding:
    """What came of a requirement.

    Attributes:
        text: the score beside its bound, such as `Accuracy low 0.612 >= 0.6`.
    """

    is_met: bool
    text: str

    @property
    def sentence(self) -> str:
        """The text with its verdict before it."""
        return f"{'met' if self.is_met else 'not met'}: {self.text}"


def parse_requirement(text: str) -> Requirement:
    """Return the requirement that a text such as `accuracy.low@in-domain>=0.6` states.

    Raises:
        UsageError: it states none; the message says which part is wrong and what is allowed.
    """
    grammar = f"write metric[.low|.high][@slice] and a bound, such as {EXAMPLE}"
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise _refusal(text, f"no operator, allowed are {' '.join(OPERATORS)}; {grammar}")
    name, at, slice_name = (part.strip() for part in shape["score"].partition("@"))
    if at and not slice_name:
        raise _refusal(text, f"no slice behind the @; {grammar}")
    metric, dot, field = (part.strip() for part in name.partition("."))
    if metric not in METRICS:
        # The whole list would bury the one name that was meant.
        hint = suggest(metric, list(METRICS)) or f", known are {', '.join(METRICS)}"
        raise _refusal(text, f"no metric is called {_quote(metric)}{hint}")
    if dot and not field:
        raise _refusal(text, f"nothing behind the dot; {grammar}")
    if dot and field not in FIELDS:
        raise _refusal(text, f"a score has no {_quote(field)}, allowed are {', '.join(FIELDS)}{suggest(field, FIELDS)}")
    try:
        bound = float(shape["bound"])
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise _refusal(text, f"{_quote(shape['bound'])} is no number; {grammar}")
    return Requirement(
        metric,
        slice_name or "all",
        field or "value",
        shape["operator"],
        bound,
        shape["bound"].strip(),
    )


def refuse_other_metrics(requirements: Sequence[Requirement], report: Report) -> None:
    """Refuse what a run was not measured by, before it is measured again.

    Raises:
        UsageError: a requirement is on a metric that the report of the run lacks.
    """
    for requirement in requirements:
        if pick(report.scores, requirement.metric) is None:
            raise _refusal_of_missing(requirement, report, main_predictor(report))


def check_requirements(requirements: Sequence[Requirement], report: Report) -> list[Finding]:
    """Return what is found of each requirement; of several seeds their ensemble is held against it.

    Raises:
        UsageError: the report has no such metric or slice.
    """
    return [_check(requirement, report) for requirement in requirements]


def refuse_unmet(findings: Sequence[Finding]) -> None:
    """Accept findings that are all met.

    Raises:
        RequirementError: one is not.
    """
    unmet = [finding.text for finding in findings if not finding.is_met]
    if unmet:
        whole = f"{len(unmet)} of {count_of(len(findings), 'requirement')}"
        raise RequirementError(f"{whole} {'is' if len(unmet) == 1 else 'are'} not met: {'; '.join(unmet)}")


def _refusal(text: str, what: str) -> UsageError:
    return UsageError(f"--require {_quote(text)}: {what}")


def _quote(text: str) -> str:
    """Return what a user wrote on one line, and no more of it than tells which it was."""
    return f"'{shorten(plain(text), 60)}'"


def _check(requirement: Requirement, report: Report) -> Finding:
    predictor = main_predictor(report)
    score = pick(report.scores, requirement.metric, requirement.slice, predictor)
    if score is None:
        raise _refusal_of_missing(requirement, report, predictor)
    value: float | None = getattr(score, requirement.field)
    field = "" if requirement.field == "value" else f" {requirement.field}"
    where = "" if requirement.slice == "all" else f" on {plain(requirement.slice)}"
    whose = "" if predictor == "model" else f" of {name_predictor(predictor)}"
    subject = f"{metric_title(requirement.metric)}{field}{whose}{where}"
    if value is None:
        reason = f" ({plain(score.reason)})" if score.reason else ""
        return Finding(False, f"{subject} is undefined{reason}")
    is_met = OPERATORS[requirement.operator](value, requirement.bound)
    return Finding(
        is_met, f"{subject} {_write_beside(value, requirement)} {requirement.operator} {requirement.bound_text}"
    )


def _write_beside(value: float, requirement: Requirement) -> str:
    """Return the value with the decimals of its metric, or as many more as it takes to stand on the right side of the bound."""
    compare = OPERATORS[requirement.operator]
    is_met = compare(value, requirement.bound)
    shown = format_score_value(value, requirement.metric).replace(",", "")
    texts = [shown, *(f"{value:.{decimals}f}" for decimals in range(4, 17))]
    return next((text for text in texts if compare(float(text), requirement.bound) == is_met), repr(value))


def _refusal_of_missing(requirement: Requirement, report: Report, predictor: str) -> UsageError:
    """Return what to say of a metric or slice that was not measured."""
    own = [score for score in report.scores if score.predictor == predictor]
    metrics = list(dict.fromkeys(score.name for score in own))
    if requirement.metric not in metrics:
        return UsageError(
            f"--require: {requirement.metric} was not measured, in the report are {', '.join(metrics)}"
            f"{suggest(requirement.metric, metrics)}"
        )
    slices = [score.slice for score in own if score.name == requirement.metric]
    return UsageError(
        f"--require: no slice is called {_quote(requirement.slice)}, in the report are {plain(', '.join(slices))}"
        f"{suggest(requirement.slice, slices)}"
    )
