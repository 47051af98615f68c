"""Classes of widgets, made in a fraction of the time: what a class inherits is not gathered anew for each."""

from __future__ import annotations

from typing import Any

from textual.binding import BindingsMap
from textual.dom import DOMNode
from textual.reactive import Reactive

_PREFIXES = ("_compute_", "compute_")


def quicken_classes() -> None:
    """Do so for all classes to come; to be called before anything else of Textual is imported.

    For each of 80 classes Textual 8.2.8 looks through all attributes of all that it inherits from, and makes
    all their keys anew: 8 ms of each start.
    """
    DOMNode.__init_subclass__ = classmethod(_prepare)  # type: ignore[assignment, method-assign]


_prepare_slowly: Any = DOMNode.__dict__["__init_subclass__"].__func__


def _prepare(
    cls: type[DOMNode],
    inherit_css: bool = True,
    inherit_bindings: bool = True,
    inherit_component_classes: bool = True,
) -> None:
    parent = cls.__bases__[0]
    if "_reactives" not in vars(parent) or cls.__mro__[1:] != parent.__mro__:  # it inherits from several
        _prepare_slowly(cls, inherit_css, inherit_bindings, inherit_component_classes)
        return
    super(DOMNode, cls).__init_subclass__()
    made: Any = cls
    own = vars(cls)
    made._reactives = vars(parent)["_reactives"] | {
        name: value for name, value in own.items() if isinstance(value, Reactive)
    }
    made._inherit_css = inherit_css
    made._inherit_bindings = inherit_bindings
    made._inherit_component_classes = inherit_component_classes
    made._css_type_name = cls.__name__
    made._css_type_names = frozenset(base.__name__ for base in cls._css_bases(cls))
    made._merged_bindings = _bindings(own.get("BINDINGS", []), parent if inherit_bindings else None)
    computed = [name for name in own if name.startswith(_PREFIXES)]
    made._computes = vars(parent)["_computes"] | {name.lstrip("_")[8:] for name in computed}


def _bindings(own: Any, parent: Any) -> BindingsMap:
    inherited = parent._merged_bindings.key_to_bindings if parent else {}
    keys = {key: list(bindings) for key, bindings in inherited.items()}
    return BindingsMap.from_keys(keys | BindingsMap(own).key_to_bindings)
