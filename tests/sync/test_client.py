"""The face of the synchronous client."""
from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
import traceback

import pytest

from caproto import CaprotoError
from caproto.sync import client
from tests.harness.ioc_process import clean_environ


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


WRONG = {
    "an unknown PV": lambda pv: client.read("nonsense", timeout=0.1, repeater=False),
    "a type": lambda pv: client.read(pv("double"), data_type="nonsense"),
    "a timeout": lambda pv: client.read(pv("double"), timeout="soon"),
    "a name": lambda pv: client.read(5),
    "a priority": lambda pv: client.read(pv("double"), priority=100),
    "no access": lambda pv: client.read(pv("noaccess")),
    "a value": lambda pv: client.write(pv("double"), "nonsense"),
    "a refusal": lambda pv: client.write(pv("disabled"), 1, notify=True),
    "no reply": lambda pv: client.write(pv("calcout.A"), 1, notify=True, timeout=0.1),
    "a value to write": lambda pv: client.read_write_read(pv("double"), "nonsense"),
    "an unknown PV to watch": lambda pv: client.block(
        client.subscribe("nonsense"), timeout=0.1, repeater=False
    ),
    "a mask": lambda pv: client.subscribe(pv("double"), mask="nonsense"),
    "a name to watch": lambda pv: client.subscribe(5),
}


@pytest.mark.ioc
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_tracebacks_end_at_the_call(ioc, call):
    """Three frames of ours at most, of chained errors, too."""
    with pytest.raises(CaprotoError) as caught:
        call(ioc.pv)
    error: BaseException | None = caught.value
    while error is not None:
        frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        ours = frames[frames.index("<lambda>") + 1 :] if "<lambda>" in frames else frames
        assert len(ours) <= 3, ours
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.ioc
def test_ctrl_c_ends_a_read_that_waits_without_end(ioc):
    code = """
        import os, signal, sys, threading
        from caproto.sync.client import read
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            read("nonsense", timeout=None, repeater=False)
        except KeyboardInterrupt:
            print("interrupted")
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=clean_environ(**ioc.environ), capture_output=True, text=True, timeout=30,
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
