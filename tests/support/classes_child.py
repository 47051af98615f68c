"""`python -m tests.support.classes_child` prints which classes differ from what Textual makes of them."""

from __future__ import annotations

import json

from textual.dom import DOMNode

from lmchat.tui.quirks import classes

_MADE = (
    "_inherit_css",
    "_inherit_bindings",
    "_inherit_component_classes",
    "_css_type_name",
    "_css_type_names",
    "_computes",
)


def _seen(cls: type[DOMNode]) -> dict:
    plain = {name: vars(cls)[name] for name in _MADE}
    bindings = vars(cls)["_merged_bindings"].key_to_bindings
    return plain | {"reactives": list(vars(cls)["_reactives"].items()), "bindings": list(bindings.items())}


def _below(cls: type) -> set[type]:
    return {found for one in cls.__subclasses__() for found in {one, *_below(one)}}


def main() -> dict[str, object]:
    classes.quicken_classes()
    from textual import widgets  # noqa: PLC0415 - after it

    for name in widgets.__all__:
        getattr(widgets, name)
    from textual.widget import Widget  # noqa: PLC0415

    from lmchat.tui.app.lmchat_app import LMChatApp  # noqa: PLC0415
    from lmchat.tui.screens import model_picker  # noqa: F401, PLC0415

    different = []
    every = _below(DOMNode)
    for cls in every:
        ours = _seen(cls)
        classes._prepare_slowly(cls, cls._inherit_css, cls._inherit_bindings, cls._inherit_component_classes)
        if _seen(cls) != ours:
            different.append(cls.__qualname__)
    quick = type("Made", (Widget,), {})
    DOMNode.__init_subclass__ = classmethod(classes._prepare_slowly)
    slow = type("Made", (Widget,), {})
    return {
        "count": len(every),
        "has_app": LMChatApp in every,
        "different": different,
        "lacks": sorted(set(vars(quick)) ^ set(vars(slow))),
    }


if __name__ == "__main__":
    print(json.dumps(main()))  # noqa: T201 - for the test
