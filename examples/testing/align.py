"""The code under test: find the position of a motor at which a detector reads most."""
from caproto.threading.client import Context


class DetectorAlarm(Exception):
    """The detector cannot be trusted."""


def align(motor, detector, positions, timeout=60):
    """Move *motor* through *positions*, and leave it at the best one, which is returned."""
    readings = {}
    for position in positions:
        motor.write(position, timeout=timeout)  # waits until the motor has arrived
        response = detector.read(data_type="status")
        if response.metadata.severity:
            raise DetectorAlarm(f"{detector.name} is in alarm at {position}")
        readings[position] = response.value
    best = max(readings, key=readings.get)
    motor.write(best, timeout=timeout)
    return best


def main():
    with Context() as ctx:
        motor, detector = ctx.get_pvs("line:motor", "line:detector")
        print("aligned at", align(motor, detector, range(-5, 6)))


if __name__ == "__main__":
    main()
