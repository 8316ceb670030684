"""What holds for a task or a pair as a whole: retries, timeouts, cache, hooks, scratch, results, tags.

``TaskOptions`` is how it is written, in one place for every calling form; ``Settings`` is what was read from it. Every
feature is independent of the others, and all of them are off unless asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from os import PathLike
from typing import Any, Final, Literal, TypedDict

from crossdock.combine.caching.recall import Cache, cache_of
from crossdock.combine.hooks import Hook, Hooks, hooks_of
from crossdock.combine.retrying import Delay, RetryOn, RetryPolicy, retry_policy
from crossdock.errors import ConfigError
from crossdock.options import parse_size

__all__ = ["DEFAULTS", "Settings", "TaskOptions", "Timeouts", "settings_of"]

KeepScratch = Literal["never", "on_failure"]


class TaskOptions(TypedDict, total=False):
    """Options of ``task``, ``one_task``, ``combine`` and ``CombinedTask``: one scope for the pair, all of them optional.

    Attributes:
        retries: Further attempts after the first.
        retry_delay: Before each: seconds, a ``timedelta``, a list of them (the last repeats), or a function of the
            number of the attempt that failed.
        backoff: Each delay is this many times the one before.
        jitter: Up to this share of the delay is added at random.
        retry_on: Which errors: classes or a predicate. By default those that may pass: never an error of the program or
            of the data (``ValueError``, ``KeyError``, ``TypeError``, ``FileNotFoundError``, ...), nor one of ours that
            says it is permanent; any other, such as ``OSError``, ``TimeoutError`` or ``RuntimeError``, is.
        timeout: Give up an attempt that made no progress for so long: seconds or a ``timedelta``. Progress is bytes
            that a stream handed over or a sink accepted, an item pulled out of a generator that crosses, or a call of
            ``xd.current().progress()``.
        total_timeout: Give up an attempt that takes longer than this altogether. Either timeout interrupts Python code at
            once; a call into native code (``time.sleep``, a socket) is given ten seconds to return and then left behind.
        cache: Where results are kept by their inputs: ``xd.Cache(...)``, just its URL, or ``True`` for the user's own.
        on_success: Called with the ``Outcome`` after an item succeeded; one function or several, also notifiers such as
            ``xd.slack("env:SLACK_WEBHOOK")``.
        on_failure: The same, after it failed for good.
        on_completion: The same, in either case, and for an item that was cancelled.
        scratch_quota: The most ``xd.current().scratch`` may hold: bytes, or text such as ``"10GiB"``.
        keep_scratch: ``on_failure`` leaves the scratch directory of a failed attempt in place and says where it is.
        allow_large_result: Let a result above 1 MiB out without a warning, and above 16 MiB at all.
        tags: Words to find the task by, in outcomes and logs.
    """

    retries: int
    retry_delay: Delay
    backoff: float
    jitter: float
    retry_on: RetryOn | None
    timeout: float | timedelta | None
    total_timeout: float | timedelta | None
    cache: Cache | str | PathLike[str] | bool | None
    on_success: Hook | Sequence[Hook]
    on_failure: Hook | Sequence[Hook]
    on_completion: Hook | Sequence[Hook]
    scratch_quota: int | str | None
    keep_scratch: KeepScratch
    allow_large_result: bool
    tags: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long an attempt may take, in seconds; ``None`` is as long as it likes."""

    no_progress_s: float | None = None
    total_s: float | None = None

    def __bool__(self) -> bool:
        return self.no_progress_s is not None or self.total_s is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``TaskOptions``, read and checked."""

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    timeouts: Timeouts = field(default_factory=Timeouts)
    cache: Cache | None = None
    hooks: Hooks = field(default_factory=Hooks)
    scratch_quota_bytes: int | None = None
    keep_scratch: KeepScratch = "never"
    allow_large_result: bool = False
    tags: tuple[str, ...] = ()

    @property
    def supervised(self) -> bool:
        """Whether somebody must watch an attempt while it runs."""
        return bool(self.timeouts) or self.scratch_quota_bytes is not None

    def said(self) -> tuple[str, ...]:
        """What was asked for, in the words of ``TaskOptions``: a half of a pair must have asked for nothing."""
        words = {"policy": "retries", "timeouts": "timeout", "scratch_quota_bytes": "scratch_quota"}
        return tuple(
            words.get(each.name, each.name)
            for each in fields(self)
            if getattr(self, each.name) != getattr(DEFAULTS, each.name)
        )


DEFAULTS: Final = Settings()

# What the same thing is called elsewhere; whoever comes from there shall not have to search.
_ELSEWHERE = {
    "max_retries": "retries",
    "retry_delay_seconds": "retry_delay",
    "retry_jitter_factor": "jitter",
    "retry_condition_fn": "retry_on",
    "timeout_seconds": "total_timeout",
    "cache_key_fn": "cache=xd.Cache(key=...)",
    "cache_policy": "cache=xd.Cache(...)",
    "cache_expiration": "cache=xd.Cache(expires=...)",
    "cache_for": "cache=xd.Cache(expires=...)",
    "refresh_cache": "cache=xd.Cache(refresh=True)",
    "result_storage": "cache=xd.Cache(url)",
    "persist_result": "cache=xd.Cache(url)",
    "state_handlers": "on_success, on_failure and on_completion",
    "task_run_name": "name",
    "version": "cache=xd.Cache(version=...)",
    "expires": "cache=xd.Cache(expires=...)",
    "refresh": "cache=xd.Cache(refresh=...)",
}


def settings_of(given: Mapping[str, Any]) -> Settings:
    """Read options.

    Raises:
        ConfigError: A name is unknown (the nearest is named, or what Prefect's name is called here), or a value makes
            no sense.
    """
    if not given:
        return DEFAULTS
    known = TaskOptions.__annotations__
    for name in given:
        if name not in known:
            raise ConfigError(f"unknown task option {name!r}", hint=_nearest(name))
    keep = given.get("keep_scratch", "never")
    if keep not in ("never", "on_failure"):
        raise ConfigError(f"keep_scratch is 'never' or 'on_failure', not {keep!r}")
    retrying = {
        name: given[name]
        for name in ("retries", "retry_delay", "backoff", "jitter", "retry_on")
        if name in given
    }
    return Settings(
        policy=retry_policy(**retrying),
        timeouts=Timeouts(
            no_progress_s=_seconds("timeout", given.get("timeout")),
            total_s=_seconds("total_timeout", given.get("total_timeout")),
        ),
        cache=cache_of(given.get("cache")),
        hooks=hooks_of(
            on_success=given.get("on_success", ()),
            on_failure=given.get("on_failure", ()),
            on_completion=given.get("on_completion", ()),
        ),
        scratch_quota_bytes=_quota(given.get("scratch_quota")),
        keep_scratch=keep,
        allow_large_result=bool(given.get("allow_large_result", False)),
        tags=_tags(given.get("tags", ())),
    )


def updated(settings: Settings, given: Mapping[str, Any]) -> Settings:
    """The same settings but for what is given anew."""
    fresh = settings_of(given)
    changed: dict[str, Any] = {}
    for name in given:
        if name in ("retries", "retry_delay", "backoff", "jitter", "retry_on"):
            before = changed.get("policy", settings.policy)
            changed["policy"] = replace(before, **{name: getattr(fresh.policy, name)})
        elif name in ("timeout", "total_timeout"):
            word = "no_progress_s" if name == "timeout" else "total_s"
            before = changed.get("timeouts", settings.timeouts)
            changed["timeouts"] = replace(before, **{word: getattr(fresh.timeouts, word)})
        elif name in ("on_success", "on_failure", "on_completion"):
            before = changed.get("hooks", settings.hooks)
            changed["hooks"] = replace(before, **{name: getattr(fresh.hooks, name)})
        elif name == "scratch_quota":
            changed["scratch_quota_bytes"] = fresh.scratch_quota_bytes
        else:
            changed[name] = getattr(fresh, name)
    return replace(settings, **changed)


def _nearest(name: str) -> str:
    if name in _ELSEWHERE:
        return f"here it is {_ELSEWHERE[name]}"
    known = TaskOptions.__annotations__
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known options: {', '.join(sorted(known))}"


def _seconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ConfigError(f"{name} takes seconds or a timedelta above 0, not {value!r}")
    return float(seconds)


def _quota(value: Any) -> int | None:
    if value is None:
        return None
    try:
        size = parse_size(value) if isinstance(value, str) else int(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"scratch_quota takes bytes or text such as '10GiB': {error}") from None
    if size < 1:
        raise ConfigError(f"scratch_quota is above 0, not {value!r}")
    return size


def _tags(value: Any) -> tuple[str, ...]:
    tags = (value,) if isinstance(value, str) else tuple(value)
    if any(not isinstance(each, str) for each in tags):
        raise ConfigError(f"tags are words, not {value!r}")
    return tags
