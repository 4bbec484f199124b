"""The schedule by seconds; what it is by steps is in test_loop.py."""

import pytest

from m2m.training.schedule import LoopConfig, Schedule, learning_rate


class Clock:
    """Shows what it is set to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("schedule", ["trapezoid", "halving"])
def test_seconds_stretch_the_schedule_of_steps(schedule: str) -> None:
    config = LoopConfig.model_validate(
        {"steps": 100, "time_limit": 50, "warmup": 10, "halve_every": 30, "schedule": schedule}
    )
    clock = Clock()
    stretched = Schedule(config, clock=clock)
    stretched.begin()
    for second in range(50):
        clock.now = 1000.0 + second
        assert stretched.rate(7) == learning_rate(2 * second, config)  # whichever step it is
        assert not stretched.over(10**6)
    clock.now = 1050.0
    assert stretched.over(3)
    assert stretched.rate(3) >= 0


def test_earlier_tries_count() -> None:
    clock = Clock()
    schedule = Schedule(LoopConfig(time_limit=50), 30.0, clock)
    assert schedule.seconds == 30.0
    clock.now += 5  # what is loaded before is not counted
    schedule.begin()
    clock.now += 15
    assert schedule.seconds == 45.0
    assert schedule.total(9) == schedule.left(9, 0.1) == 5.0
    clock.now += 5
    assert schedule.over(9)


def test_without_a_limit_the_clock_does_not_matter() -> None:
    clock = Clock()
    schedule = Schedule(LoopConfig(steps=10), 30.0, clock)
    schedule.begin()
    clock.now += 1e6
    assert schedule.seconds == 0.0
    assert not schedule.over(9)
    assert schedule.over(10)
    assert schedule.left(4, 0.5) == 3.0
