"""Checkpoints written beside the training.

Owns the thread in which files become a checkpoint, by far the longer part of it: they have to be flushed to the disk and hashed. The
training waits only until they are filled. What makes a checkpoint whole is `checkpoint_files`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread

from finetune.checkpoint_files import fill_checkpoint, keep_checkpoints, seal_checkpoint


class CheckpointWriter:
    """Writes the checkpoints of one training, one after the other."""

    def __init__(self, folder: Path, keep: int) -> None:
        """Write into `folder`, and keep the last `keep` checkpoints beside those that they need."""
        self.folder, self.keep = folder, keep
        self.thread: Thread | None = None
        self.failure: Exception | None = None

    def write(self, step: int, fill: Callable[[Path], None], needs: Sequence[int] = ()) -> None:
        """Have `fill` write the files of a checkpoint, and go on while it becomes whole and older ones are removed.

        Raises:
            StorageError: the disk is full or failed, now or for the checkpoint before.
        """
        self.wait()
        beside = fill_checkpoint(self.folder, step, fill)
        # One that must not keep a program from ending that is to end at once; half a checkpoint does no harm.
        self.thread = Thread(target=self._finish, args=(beside, step, needs), daemon=True)
        self.thread.start()

    def wait(self) -> None:
        """Wait until the last checkpoint is whole.

        Raises:
            StorageError: it isn't and won't be.
        """
        if self.thread is not None:
            self.thread.join()
            self.thread = None
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def _finish(self, beside: Path, step: int, needs: Sequence[int]) -> None:
        try:
            seal_checkpoint(beside, step, needs)
            keep_checkpoints(self.folder, step, self.keep)
        except Exception as error:
            self.failure = error
