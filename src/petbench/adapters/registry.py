"""The registry of methods: it finds those of petbench and those of other installed packages by itself."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from petbench.adapters.method import Method
from petbench.config.sections import AdapterSpec
from petbench.console import warn
from petbench.errors import UserError, unknown

_REGISTRY: dict[str, Method[Any]] = {}


_BROKEN: dict[str, str] = {}  # entry point -> why it does not load


M = TypeVar("M", bound=type[Method[Any]])


def register(method_class: M) -> M:
    """Class decorator: make a method known under its name. Raises UserError when the name is taken."""
    name = method_class.name
    if name in _REGISTRY and type(_REGISTRY[name]).__module__ != method_class.__module__:
        raise UserError(
            f"two methods are named '{name}': {type(_REGISTRY[name]).__module__} and {method_class.__module__}."
        )
    _REGISTRY[name] = method_class()
    return method_class


@cache
def _load_all() -> None:
    """Import every module of `methods`, the bridge to PEFT and the entry point `petbench.adapters`.

    An entry point that does not load loses only its own methods: a warning says so, and asking for one says why.
    """
    package = importlib.import_module("petbench.adapters.methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"petbench.adapters.methods.{module.name}")
    importlib.import_module("petbench.adapters.peft.method")
    for point in entry_points(group="petbench.adapters"):
        try:
            point.load()
        except (Exception, SystemExit) as error:  # another package's module may raise anything when imported
            said = " ".join(str(error).split()) or "no reason given"
            _BROKEN[point.name] = f"{point.value}: {type(error).__name__}: {said}"
            warn(f"plug-in {point.name} does not load and is left out ({_BROKEN[point.name]}).")


def methods() -> Mapping[str, Method[Any]]:
    """All methods by name, sorted."""
    _load_all()
    return dict(sorted(_REGISTRY.items()))


def method_named(name: str) -> Method[Any]:
    """The method of that name. Raises UserError, with the nearest name, when there is none."""
    known = methods()
    if name not in known:
        broken = "".join(f" The plug-in {point} does not load ({why})." for point, why in _BROKEN.items())
        raise UserError(f"{unknown('adapter.method', name, known)}{broken}")
    return known[name]


def spec_of(name: str) -> type[AdapterSpec]:
    """The spec class of a method, for `config.parse`."""
    return method_named(name).Spec
