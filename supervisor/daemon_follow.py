"""Whether a store is followed. What does that is loaded where it is configured, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisor.config.settings import Settings
    from supervisor.daemon_audit import Accounts
    from supervisor.daemon_following import Following
    from supervisor.engine.loop import Engine, Step


class Follow:
    """Switches it on and off, as the configuration says by now."""

    def __init__(self, engine: Engine, accounts: Accounts) -> None:
        self._engine = engine
        self._accounts = accounts
        self._following: Following | None = None
        self._configured: tuple[str, str] | None = None

    def as_configured(self, settings: Settings, *, recalled: bool = False) -> None:
        """From now on. Raises nothing.

        `recalled`: the service has begun with another release than `current` leads to, for that is in quarantine.
        """
        store = settings.launch.store
        wanted = None if store is None or settings.follow is None else (settings.follow, store.root)
        if wanted == self._configured:
            return
        self._configured = wanted
        if self._following is not None:
            self._following.end()
            self._following = None
        if wanted is not None:
            from supervisor.daemon_following import Following  # noqa: PLC0415 - loads what watches files

            self._following = Following(self._engine, self._accounts, *wanted, recalled=recalled)

    def told(self, step: Step) -> None:
        """A step was taken."""
        if self._following is not None:
            self._following.told(step)

    def document(self) -> dict[str, Any] | None:
        """What is followed, and why it is not; None: nothing is to be."""
        return None if self._following is None else self._following.document()
