"""One file per task; the file name is the task name with `_` for `-`. CONTRIBUTING.md shows how to add one."""
