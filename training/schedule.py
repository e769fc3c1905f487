"""How long a run lasts and how its learning rate moves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Steps, minutes, or both: whichever ends first."""

    steps: int | None
    minutes: float | None

    def done(self, step: int, minutes: float) -> float:
        """Share of the run that is over, 0 to 1."""
        shares = [0.0]
        if self.steps is not None:
            shares.append(step / max(self.steps, 1))
        if self.minutes is not None:
            shares.append(minutes / max(self.minutes, 1e-9))
        return min(1.0, max(shares))

    def spent(self, step: int, minutes: float) -> bool:
        """Whether the run is over."""
        return self.done(step, minutes) >= 1.0


def rate_factor(step: int, done: float, warmup_steps: int, decay_from: float) -> float:
    """Trapezoid: up over `warmup_steps`, flat, then down in a straight line to zero from `decay_from` of the run on."""
    warm = min(1.0, (step + 1) / max(warmup_steps, 1))
    return warm * min(1.0, (1.0 - done) / max(1.0 - decay_from, 1e-9))
