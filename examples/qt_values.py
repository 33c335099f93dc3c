"""A window that shows a value and writes another one. Needs the random_walk IOC, and PySide6."""
import sys

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication, QDoubleSpinBox, QFormLayout, QLabel, QWidget

from caproto.threading.client import Context


# begin-value
class Value(QObject):
    """The news of a PV as signals, in the thread of the window.

    If the window is slower than the updates, it gets the latest one each time.
    """

    connected = Signal(bool)
    changed = Signal(object)  # the response
    written = Signal(object)  # the reply to a write, see its status
    _news = Signal()

    def __init__(self, ctx, name, **options):
        super().__init__()
        self._waiting = False
        self._connected = self._told_connected = None
        self._response = self._told_response = None
        self._news.connect(self._tell)
        # Bound methods are held weakly: when nothing refers to this object, the updates end.
        (self._pv,) = ctx.get_pvs(name, connection_state_callback=self._on_state)
        self._subscription = self._pv.subscribe(**options)
        self._token = self._subscription.add_callback(self._on_update)

    def write(self, value):
        """Send *value*; this does not wait if the PV is connected."""
        self._pv.write(value, wait=False, callback=self._on_reply)

    def close(self):
        """End the updates."""
        self._subscription.remove_callback(self._token)

    # In a thread of the client: only note, and emit.

    def _on_state(self, pv, state):
        self._connected = state == "connected"
        self._wake()

    def _on_update(self, response):
        self._response = response
        self._wake()

    def _wake(self):
        if not self._waiting:
            self._waiting = True
            self._news.emit()

    def _on_reply(self, response):
        self.written.emit(response)

    # In the thread of the window, to which Qt has brought the signal.

    def _tell(self):
        self._waiting = False  # first, so that what comes now is emitted again
        connected, response = self._connected, self._response
        if connected is not self._told_connected:
            self._told_connected = connected
            self.connected.emit(connected)
        if response is not self._told_response:
            self._told_response = response
            self.changed.emit(response)
# end-value


# begin-window
class Window(QWidget):
    """A value, and the period of its updates to change."""

    def __init__(self, ctx):
        super().__init__()
        self.setWindowTitle("Random walk")
        self.x, self.dt = Value(ctx, "random_walk:x"), Value(ctx, "random_walk:dt")
        self.label = QLabel("...")
        self.period = QDoubleSpinBox(minimum=0.1, maximum=10.0, singleStep=0.1)
        self.period.setKeyboardTracking(False)
        self.period.setEnabled(False)
        self.status = QLabel()
        form = QFormLayout(self)
        form.addRow("x", self.label)
        form.addRow("seconds per step", self.period)
        form.addRow("last write", self.status)
        self.x.changed.connect(self.show_x)
        self.dt.changed.connect(self.show_dt)
        self.dt.connected.connect(self.period.setEnabled)
        self.dt.written.connect(self.show_status)
        self.period.valueChanged.connect(self.dt.write)

    def show_x(self, response):
        """Show the value of x."""
        self.label.setText(f"{response.value:.3f}")

    def show_dt(self, response):
        """Show the period, without writing it again."""
        self.period.blockSignals(True)
        self.period.setValue(response.value)
        self.period.blockSignals(False)

    def show_status(self, response):
        """Show how a write ended."""
        self.status.setText(response.status.name)

    def closeEvent(self, event):
        """End the updates before the widgets go."""
        self.x.close()
        self.dt.close()
        super().closeEvent(event)
# end-window


# begin-main
def main():
    app = QApplication(sys.argv)
    with Context() as ctx:
        window = Window(ctx)
        window.show()
        return app.exec()


if __name__ == "__main__":
    sys.exit(main())
# end-main
