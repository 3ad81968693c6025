"""Continual learning: streams of tasks, and ways to learn them."""

from neurosleep.continual.learning import Checkpoint, History, Nights, evaluate, learn, learn_jointly
from neurosleep.continual.stream import Stream, Task, class_incremental, task_order
from neurosleep.continual.together import learn_together

__all__ = [
    "Checkpoint",
    "History",
    "Nights",
    "Stream",
    "Task",
    "class_incremental",
    "evaluate",
    "learn",
    "learn_jointly",
    "learn_together",
    "task_order",
]
