"""The face of the synchronous client."""
from __future__ import annotations

import inspect

from caproto.sync import client


def test_the_arguments_are_those_that_programs_use():
    """Names, order and defaults, as scripts for caproto 1.x rely on them."""
    expected = {
        "read": "pv_name, *, data_type=None, data_count=None, timeout=2.0, priority=0, "
        "notify=True, force_int_enums=False, repeater=True",
        "write": "pv_name, data, *, notify=False, data_type=None, metadata=None, timeout=2.0, "
        "priority=0, repeater=True",
        "subscribe": "pv_name, priority=0, data_type=None, data_count=None, low=0.0, high=0.0, "
        "to=0.0, mask=None",
        "block": "*subscriptions, duration=None, timeout=2.0, force_int_enums=False, "
        "repeater=True",
        "interrupt": "",
        "read_write_read": "pv_name, data, *, data_type=None, metadata=None, timeout=1.0, "
        "priority=0, notify=False, force_int_enums=False, repeater=True, read_data_type=None, "
        "write_data_type=None",
    }
    for name, text in expected.items():
        signature = inspect.signature(getattr(client, name))
        plain = signature.replace(
            parameters=[
                parameter.replace(annotation=inspect.Parameter.empty)
                for parameter in signature.parameters.values()
            ],
            return_annotation=inspect.Signature.empty,
        )
        assert str(plain) == f"({text})", name
