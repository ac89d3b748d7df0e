"""Every clock is a line of the beat table, and every line names a task that exists."""

from __future__ import annotations

from marketplace.celery import BEAT, app


def test_every_beat_line_names_a_task_and_every_task_has_a_line():
    app.loader.import_default_modules()
    tasks = {name for name in app.tasks if not name.startswith("celery.")}
    assert tasks == set(BEAT)
